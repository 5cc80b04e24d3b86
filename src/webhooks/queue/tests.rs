//! Tests of turns, failures, comings and goings.

use super::{
    state::{GATHER, MANY_FAILURES, MAX_COMINGS, delay},
    *,
};
use std::{collections::HashSet, sync::mpsc, thread};
use uuid::Uuid;

fn leading() -> Queue {
    let queue = Queue::default();
    queue.lead(Instant::now() + Duration::from_secs(60));
    assert!(queue.wants_look(), "who begins to lead looks at the log");
    queue
}

fn room(name: &str) -> RoomName {
    RoomName::channel(name)
}

fn id(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

fn by() -> Arc<str> {
    "somebody".into()
}

/// The next turn, if there is one as soon as events have gathered.
fn turn(queue: &Queue) -> Option<Turn> {
    queue.state.lock().next(Instant::now() + GATHER).ok()
}

fn failed() -> Outcome {
    Outcome::Failed { since: unix_millis(), pause: None }
}

#[test]
fn a_room_is_in_one_hand_at_a_time() {
    let queue = leading();
    queue.stored(&room("a"), id(1), &by());
    let first = turn(&queue).unwrap();
    queue.stored(&room("a"), id(2), &by());
    assert!(turn(&queue).is_none());
    queue.done(first, &Outcome::Told { more: false });
    let again = turn(&queue).expect("something came in meanwhile");
    queue.done(again, &Outcome::Told { more: false });
    assert!(turn(&queue).is_none());
    assert_eq!(queue.metrics().rooms, 0);
}

#[test]
fn a_room_that_fails_waits_while_others_go_on() {
    let queue = leading();
    queue.stored(&room("a"), id(1), &by());
    queue.done(turn(&queue).unwrap(), &failed());
    assert!(turn(&queue).is_none());
    queue.stored(&room("b"), id(2), &by());
    assert_eq!(turn(&queue).unwrap().room, room("b"));
}

#[test]
fn an_endpoint_that_is_down_is_tried_by_one_at_a_time() {
    let queue = leading();
    for n in 0..MANY_FAILURES + 5 {
        queue.stored(&room(&n.to_string()), id(n.into()), &by());
    }
    for _ in 0..MANY_FAILURES {
        queue.done(turn(&queue).expect("not many have failed"), &failed());
    }
    assert!(turn(&queue).is_none(), "the endpoint is down");
    queue.state.lock().gate.opens = Some(Instant::now());
    let one = turn(&queue).expect("it is tried again");
    assert!(turn(&queue).is_none(), "but by one only");
    queue.worked(Some(id(9)));
    queue.done(one, &Outcome::Told { more: false });
    let mut others = 0;
    while turn(&queue).is_some() {
        others += 1;
    }
    assert_eq!(others, MANY_FAILURES + 4, "and then by all at once");
}

#[test]
fn one_room_that_fails_for_ever_does_not_make_the_endpoint_down() {
    let queue = leading();
    queue.stored(&room("bad"), id(1), &by());
    for _ in 0..100 {
        queue.done(turn(&queue).expect("its turn"), &failed());
        let mut state = queue.state.lock();
        state.hurry(Instant::now());
    }
    queue.stored(&room("good"), id(2), &by());
    assert!(queue.state.lock().gate.opens.is_none());
}

#[test]
fn an_endpoint_that_is_gone_is_not_tried_until_it_is_said() {
    let queue = leading();
    queue.stored(&room("a"), id(1), &by());
    queue.done(turn(&queue).unwrap(), &Outcome::Gone);
    queue.stored(&room("b"), id(2), &by());
    assert!(turn(&queue).is_none() && queue.metrics().gone);
    assert!(queue.resume() && !queue.metrics().gone);
    assert!(turn(&queue).is_some() && turn(&queue).is_some());
}

#[test]
fn all_is_told_only_up_to_what_was_heard_of() {
    let queue = leading();
    assert_eq!(queue.all_told(), None);
    queue.stored(&room("a"), id(5), &by());
    let a = turn(&queue).unwrap();
    // It was read from the log before its turn was known: another room may have something older that is not known
    // either.
    queue.worked(Some(id(8)));
    assert_eq!(queue.all_told(), None, "a room is in work");
    queue.done(a, &Outcome::Told { more: false });
    assert_eq!(queue.all_told(), Some(id(5)));
    queue.missed();
    assert_eq!(queue.all_told(), None, "the log is to be looked at first");
}

#[test]
fn who_comes_and_goes_before_it_is_told_makes_no_event() {
    let queue = leading();
    let (alice, bob) = ("alice".into(), "bob".into());
    queue.came(&room("a"), &alice, true);
    queue.came(&room("a"), &bob, true);
    queue.came(&room("a"), &alice, false);
    queue.came(&room("a"), &"".into(), true);
    let comings = turn(&queue).unwrap().comings;
    assert_eq!(comings.iter().map(|coming| &*coming.user).collect::<Vec<_>>(), ["bob"]);
}

#[test]
fn who_comes_or_goes_is_told_behind_what_was_stored_before() {
    let queue = leading();
    queue.came(&room("a"), &"alice".into(), true);
    queue.stored(&room("a"), id(5), &by());
    queue.came(&room("a"), &"bob".into(), false);
    let comings = turn(&queue).unwrap().comings;
    assert_eq!(comings.iter().map(|coming| coming.after).collect::<Vec<_>>(), [None, Some(id(5))]);
}

#[test]
fn comings_and_rooms_are_bounded() {
    let queue = leading();
    for n in 0..MAX_COMINGS + 7 {
        queue.came(&room("a"), &n.to_string().into(), true);
    }
    assert_eq!(queue.metrics().dropped, 7);
    for n in 0..MAX_ROOMS + 7 {
        queue.stored(&room(&n.to_string()), id(n as u128), &by());
    }
    assert_eq!(queue.metrics().rooms, MAX_ROOMS);
    assert!(!queue.wants_look(), "there is no room for more yet");
    assert!(queue.state.lock().more);
}

#[test]
fn who_does_not_lead_sends_and_keeps_nothing() {
    let queue = leading();
    queue.stored(&room("a"), id(1), &by());
    queue.follow();
    queue.stored(&room("b"), id(2), &by());
    assert!(turn(&queue).is_none());
    assert_eq!(queue.metrics().rooms, 0);
    queue.lead(Instant::now() + Duration::from_secs(60));
    assert!(queue.wants_look());
}

// Seen to fail where what came into a room in work stayed there but was not counted: the next turn counted below zero, and
// the room was sent by who did not lead.
#[test]
fn who_follows_keeps_nothing_of_the_rooms_in_work_either() {
    let queue = leading();
    let lead = || queue.lead(Instant::now() + Duration::from_secs(60));
    for leads_again_before_the_end in [false, true] {
        queue.stored(&room("a"), id(1), &by());
        let in_work = turn(&queue).unwrap();
        queue.came(&room("a"), &"alice".into(), true);
        queue.follow();
        if leads_again_before_the_end {
            lead();
            queue.came(&room("a"), &"bob".into(), true);
            queue.done(in_work, &Outcome::Told { more: false });
        } else {
            queue.done(in_work, &Outcome::Told { more: true });
            assert_eq!(queue.metrics().rooms, 0);
            lead();
            queue.came(&room("a"), &"bob".into(), true);
        }
        let mut again = turn(&queue).unwrap();
        let users: Vec<_> = again.comings.drain(..).map(|coming| coming.user).collect();
        assert_eq!(users, [Arc::<str>::from("bob")]);
        assert_eq!(queue.state.lock().comings, 0);
        queue.done(again, &Outcome::Told { more: false });
    }
}

#[test]
fn delays_grow_up_to_five_minutes() {
    for (failures, seconds) in [(1, 1.0), (2, 2.0), (5, 16.0), (20, 300.0), (u32::MAX, 300.0)] {
        let delay = delay(failures).as_secs_f64();
        assert!((0.8 * seconds..=1.2 * seconds).contains(&delay), "{failures}: {delay}");
    }
}

#[test]
fn what_happens_within_a_moment_is_due_together_and_wakes_one_sender() {
    let queue = leading();
    let mut state = queue.state.lock();
    assert!(state.news(&room("a"), &by()), "nobody watches what is due");
    let (&(due, _), _) = state.due.first_key_value().unwrap();
    assert!(due > Instant::now() && due <= Instant::now() + GATHER);
    state.watched = Some(due);
    assert!(!state.news(&room("b"), &by()));
    assert!(state.due.keys().all(|(at, _)| *at == due), "{:?}", state.due);
    // A sender that watches for something later is woken.
    state.watched = Some(due + GATHER);
    assert!(state.news(&room("c"), &by()));
}

#[test]
fn one_sender_goes_on_and_another_joins_it_after_a_moment() {
    let queue = leading();
    let mut state = queue.state.lock();
    for name in ["a", "b", "c"] {
        state.news(&room(name), &by());
    }
    let now = Instant::now() + GATHER;
    assert!(state.next_of(true, now).is_ok());
    assert_eq!(state.next_of(true, now).err(), Some(Some(now + GATHER)));
    assert!(state.next_of(false, now).is_ok(), "who has had a turn goes on");
    assert!(state.next_of(true, now + GATHER).is_ok());
    assert_eq!(state.next_of(true, now + 2 * GATHER).err(), Some(None), "nothing is left");
}

#[test]
fn senders_that_are_held_up_are_joined_by_all_others() {
    const SENDERS: usize = 8;
    let queue = leading();
    let (took, turns) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            // Never ends its turn.
            scope.spawn(|| took.send(queue.turn().map(|turn| turn.room)));
        }
        for n in 0..SENDERS {
            queue.stored(&room(&n.to_string()), id(n as u128), &by());
        }
        let taken = (0..SENDERS).map_while(|_| turns.recv_timeout(Duration::from_secs(30)).ok().flatten());
        let taken: HashSet<_> = taken.collect();
        queue.stop();
        assert_eq!(taken.len(), SENDERS);
    });
}

#[test]
fn what_happens_while_senders_are_held_up_or_rest_is_sent() {
    let queue = leading();
    let (took, turns) = mpsc::channel();
    let next = || turns.recv_timeout(Duration::from_secs(30)).ok();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| while queue.turn().is_some_and(|turn| took.send(turn).is_ok()) {});
        }
        let mut held = Vec::new();
        for n in 0..20 {
            queue.stored(&room(&n.to_string()), id(n), &by());
            // Each second time nobody is at work, and all wait without a limit.
            held.extend(next());
            if n % 2 == 1 {
                held.drain(..).for_each(|turn| queue.done(turn, &Outcome::Told { more: false }));
                thread::sleep(if n % 4 == 1 { 3 * GATHER } else { Duration::ZERO });
            }
        }
        queue.stop();
        assert_eq!(turns.try_iter().count() + held.len(), 0);
        assert_eq!(queue.metrics().rooms, 0);
    });
}

/// The order of turns that rooms have that are told at once.
fn order(queue: &Queue) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(turn) = turn(queue) {
        order.push(turn.room.local().to_owned());
        queue.done(turn, &Outcome::Told { more: false });
    }
    order
}

// Seen to fail with turns by room: "hers" is the last but one.
#[test]
fn events_of_one_account_do_not_wait_for_the_many_rooms_of_another() {
    let queue = leading();
    for n in 0..100 {
        queue.stored(&room(&n.to_string()), id(n), &"mallory".into());
    }
    queue.stored(&room("hers"), id(100), &"alice".into());
    // Her other room has events of both.
    queue.stored(&room("shared"), id(101), &"mallory".into());
    queue.stored(&room("shared"), id(102), &"alice".into());
    let order = order(&queue);
    let place = |name: &str| order.iter().position(|room| room == name);
    assert!(place("hers") <= Some(2) && place("shared") <= Some(4), "{order:?}");
    assert_eq!(order.len(), 102, "each room has one turn");
    assert!(queue.state.lock().lines.is_empty());
}

#[test]
fn names_that_anybody_may_use_have_one_turn_together() {
    let queue = leading();
    for n in 0..20 {
        queue.stored(&RoomName::from_store(&format!("chitchat:{n}")), id(n), &n.to_string().into());
    }
    queue.stored(&room("hers"), id(100), &"alice".into());
    let order = order(&queue);
    assert!(order.iter().position(|room| room == "hers") <= Some(2), "{order:?}");
}

// Seen to fail where a full queue takes nothing: she is found in the log later, when half of it was sent.
#[test]
fn who_fills_the_queue_makes_place_for_others() {
    let queue = leading();
    for n in 0..MAX_ROOMS {
        queue.stored(&room(&n.to_string()), id(n as u128), &"mallory".into());
    }
    queue.state.lock().others_wait(Instant::now() + GATHER);
    queue.stored(&room("hers"), id(100), &"alice".into());
    queue.came(&room("another of hers"), &"alice".into(), true);
    assert_eq!(queue.metrics().rooms, MAX_ROOMS);
    assert!(queue.state.lock().more, "what made place is found in the log");
    let first = (0..3).filter_map(|_| turn(&queue)).map(|turn| turn.room.local().to_owned()).collect::<Vec<_>>();
    assert!(first.iter().any(|room| room == "hers"), "{first:?}");
}

#[test]
fn what_is_left_of_a_turn_comes_behind_what_others_have() {
    let queue = leading();
    queue.stored(&room("busy"), id(1), &"mallory".into());
    let busy = turn(&queue).unwrap();
    assert!(!queue.others_wait());
    for n in 0..3 {
        queue.stored(&room(&format!("a{n}")), id(2 + n), &"alice".into());
    }
    queue.stored(&room("b"), id(9), &"bob".into());
    assert!(queue.state.lock().others_wait(Instant::now() + GATHER));
    queue.done(busy, &Outcome::Told { more: true });
    let order = order(&queue);
    assert_eq!(order, ["a0", "b", "busy", "a1", "a2"]);
}
