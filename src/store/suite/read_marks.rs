//! What a store of read marks must do. The accounts number 1 and 2 are there.

use crate::{
    message::{MessageId, RoomName},
    store::{
        accounts::UserId,
        reads::{Mark, Reads},
    },
};
use uuid::Uuid;

fn mark(account: i64, room: &str, id: MessageId) -> Mark {
    Mark { account: UserId(account), room: RoomName::channel(room), id }
}

fn ids<const N: usize>() -> [MessageId; N] {
    std::array::from_fn(|_| MessageId(Uuid::now_v7()))
}

pub(crate) fn a_mark_moves_forward_and_never_back(reads: &dyn Reads) {
    let [first, second, third] = ids();
    assert_eq!(reads.advance(&[mark(1, "a", second)], 10).unwrap(), [true]);
    assert_eq!(reads.advance(&[mark(1, "a", first), mark(1, "b", first)], 10).unwrap(), [false, true]);
    assert_eq!(reads.advance(&[mark(1, "a", second)], 10).unwrap(), [false]);
    let (a, b) = (RoomName::channel("a"), RoomName::channel("b"));
    assert_eq!(reads.of_account(UserId(1)).unwrap(), [(a.clone(), second), (b.clone(), first)]);
    assert_eq!(reads.advance(&[mark(1, "a", third)], 10).unwrap(), [true]);
    assert_eq!(reads.of_account(UserId(1)).unwrap(), [(a, third), (b, first)]);
}

pub(crate) fn marks_are_each_accounts_own(reads: &dyn Reads) {
    let [first, second] = ids();
    assert_eq!(reads.advance(&[mark(1, "a", second), mark(2, "a", first)], 10).unwrap(), [true, true]);
    assert_eq!(reads.of_account(UserId(2)).unwrap(), [(RoomName::channel("a"), first)]);
    assert_eq!(reads.of_account(UserId(3)).unwrap(), []);
    assert_eq!(reads.advance(&[], 10).unwrap(), [false; 0]);
}

pub(crate) fn an_account_has_so_many_marks_and_the_oldest_give_way(reads: &dyn Reads) {
    let [first, second, third, fourth] = ids();
    reads.advance(&[mark(2, "a", first)], 2).unwrap();
    reads.advance(&[mark(1, "a", third), mark(1, "b", first)], 2).unwrap();
    reads.advance(&[mark(1, "c", second), mark(1, "d", fourth)], 2).unwrap();
    let left = [(RoomName::channel("a"), third), (RoomName::channel("d"), fourth)];
    assert_eq!(reads.of_account(UserId(1)).unwrap(), left);
    assert_eq!(reads.of_account(UserId(2)).unwrap().len(), 1);
}
