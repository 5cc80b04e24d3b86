//! What a store of tasks must do.

use crate::{
    message::RoomName,
    store::erasure::{Standing, Task, Tasks},
};

pub(crate) fn a_task_waits_until_it_is_done_and_nothing_is_kept_of_whom_it_was_about(tasks: &dyn Tasks) {
    let of_ann = Task::Sender("ann@example.org".into());
    let of_room = Task::SetAside(RoomName::monitor("$2y$12$a/b"));
    let first = tasks.ask(&of_ann).unwrap();
    let second = tasks.ask(&of_room).unwrap();
    let third = tasks.ask(&Task::Room(RoomName::channel("x"))).unwrap();
    let waiting: Vec<_> = tasks.waiting().unwrap().into_iter().map(|asked| (asked.id, asked.task)).collect();
    let room = Task::Room(RoomName::channel("x"));
    assert_eq!(waiting, [(first, of_ann), (second, of_room.clone()), (third, room)]);
    assert_eq!(tasks.standing(first).unwrap(), Some(Standing { erased: 0, done: false }));
    tasks.note(first, Standing { erased: 7, done: false }).unwrap();
    assert_eq!(tasks.standing(first).unwrap(), Some(Standing { erased: 7, done: false }));
    assert_eq!(tasks.waiting().unwrap().len(), 3);
    tasks.note(first, Standing { erased: 9, done: true }).unwrap();
    assert_eq!(tasks.standing(first).unwrap(), Some(Standing { erased: 9, done: true }));
    assert_eq!(tasks.waiting().unwrap()[0].task, of_room);
    tasks.note(second, Standing { erased: 0, done: true }).unwrap();
    // Whoever asked has seen it long ago.
    assert_eq!(tasks.standing(first).unwrap(), None);
    assert_eq!(tasks.standing(second).unwrap(), Some(Standing { erased: 0, done: true }));
    assert!(tasks.waiting().unwrap()[0].since > 1_700_000_000);
}
