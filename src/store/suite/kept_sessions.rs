//! What a store of sessions must do. The account number 1 is there.

use crate::store::{
    accounts::UserId,
    sessions::{Digest, Session, Sessions, Spent},
};

fn digest() -> Digest {
    rand::random()
}

/// A session of this account, which began and was used at this second.
pub(crate) fn new_session(account: i64, at: i64) -> Session {
    Session {
        id: digest(),
        account: UserId(account),
        epoch: "epoch".into(),
        begun: at,
        used: at,
        current: digest(),
        spent: Vec::new(),
    }
}

pub(crate) fn a_session_is_kept_as_it_began(sessions: &dyn Sessions) {
    let spent = (0..3).map(|at| Spent { secret: digest(), salt: rand::random(), at }).collect();
    let session = Session { used: 120, spent, ..new_session(1, 100) };
    assert_eq!(sessions.find(&session.id).unwrap(), None);
    assert_eq!(sessions.begin(&session, 10, 0).unwrap(), 0);
    assert_eq!(sessions.find(&session.id).unwrap(), Some(session.clone()));
    assert_eq!(sessions.of_account(UserId(1)).unwrap(), [session]);
    assert_eq!(sessions.of_account(UserId(2)).unwrap(), []);
}

pub(crate) fn a_session_goes_on_from_its_present_cookie_only(sessions: &dyn Sessions) {
    let session = new_session(1, 100);
    sessions.begin(&session, 10, 0).unwrap();
    let next = Session { used: 200, current: digest(), ..session.clone() };
    let other = Session { used: 300, current: digest(), ..session.clone() };
    assert!(!sessions.advance(&digest(), &next).unwrap());
    assert!(sessions.advance(&session.current, &next).unwrap());
    assert!(!sessions.advance(&session.current, &other).unwrap());
    assert_eq!(sessions.find(&session.id).unwrap(), Some(next));
    assert!(!sessions.advance(&session.current, &new_session(1, 100)).unwrap(), "there is no such session");
}

pub(crate) fn of_many_who_renew_a_session_at_once_one_does(sessions: &dyn Sessions) {
    let session = new_session(1, 100);
    sessions.begin(&session, 10, 0).unwrap();
    let renewed = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let next = Session { current: digest(), ..session.clone() };
                let from = session.current;
                scope.spawn(move || sessions.advance(&from, &next).unwrap())
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|done| *done).count()
    });
    assert_eq!(renewed, 1);
}

pub(crate) fn an_ended_session_is_gone(sessions: &dyn Sessions) {
    let (one, other) = (new_session(1, 100), new_session(1, 101));
    sessions.begin(&one, 10, 0).unwrap();
    sessions.begin(&other, 10, 0).unwrap();
    assert!(sessions.end(&one.id).unwrap());
    assert!(!sessions.end(&one.id).unwrap());
    assert_eq!(sessions.find(&one.id).unwrap(), None);
    assert_eq!(sessions.of_account(UserId(1)).unwrap(), [other]);
}

pub(crate) fn all_sessions_of_one_account_end_together(sessions: &dyn Sessions) {
    for (account, at) in [(1, 100), (1, 101), (2, 102)] {
        sessions.begin(&new_session(account, at), 10, 0).unwrap();
    }
    assert_eq!(sessions.end_all(UserId(1)).unwrap(), 2);
    assert_eq!(sessions.end_all(UserId(1)).unwrap(), 0);
    assert_eq!(sessions.of_account(UserId(2)).unwrap().len(), 1);
}

pub(crate) fn an_account_has_so_many_sessions_and_the_longest_unused_gives_way(sessions: &dyn Sessions) {
    let begin = |at: i64| {
        let session = new_session(1, at);
        (sessions.begin(&session, 3, 0).unwrap(), session.id)
    };
    sessions.begin(&new_session(2, 1), 3, 0).unwrap();
    let [(_, a), (_, b), (_, c)] = [begin(100), begin(300), begin(200)];
    let (gone, d) = begin(50);
    assert_eq!(gone, 1);
    let left: Vec<Digest> = sessions.of_account(UserId(1)).unwrap().iter().map(|session| session.id).collect();
    assert_eq!(left, [b, c, d], "{a:?} was unused for longest, and a new one stays whatever its clock says");
    assert_eq!(sessions.of_account(UserId(2)).unwrap().len(), 1);
}

pub(crate) fn what_was_not_used_for_long_is_forgotten_when_somebody_logs_in(sessions: &dyn Sessions) {
    let (old, new) = (new_session(2, 100), new_session(2, 101));
    sessions.begin(&old, 10, 0).unwrap();
    sessions.begin(&new, 10, 0).unwrap();
    sessions.begin(&new_session(1, 500), 10, 100).unwrap();
    assert_eq!(sessions.of_account(UserId(2)).unwrap(), [new]);
}
