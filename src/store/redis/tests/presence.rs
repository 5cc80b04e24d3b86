//! Who is in a room, over two nodes.

use super::{hear, listen, stores};
use crate::{
    event::{Event, Person},
    message::RoomName,
    store::{
        feed::{FeedItem, FeedListener},
        log::MessageLog,
        presence::{Presence, PresenceReport, Present},
        redis::keys::Keys,
        suite::fresh_room,
    },
};
use support::{eventually, redis::Redis};

fn unnamed(user: &str, sockets: usize) -> Present {
    Present { person: Person::unnamed(user.into()), sockets }
}

fn named(user: &str, name: &str, sockets: usize) -> Present {
    Present { person: Person { user: user.into(), name: Some(name.into()) }, sockets }
}

/// The next join or leave.
fn hear_event(listener: &mut dyn FeedListener) -> Event {
    match hear(listener) {
        FeedItem::Event { event, .. } => event,
        _ => panic!("something else is heard"),
    }
}

/// Announces changes in a room.
fn tell(presence: &dyn Presence, room: &RoomName, changes: &[Present]) {
    let report = PresenceReport { room: room.clone(), changes: changes.to_vec(), over: Vec::new(), again: false };
    presence.tell(&[report]).remove(0).unwrap();
}

/// Removes claims that are over, until none is left.
fn mend(presence: &dyn Presence, room: &RoomName) {
    eventually("what is over is found", || {
        let over = presence.look(std::slice::from_ref(room)).unwrap().remove(0).over;
        let report = PresenceReport { room: room.clone(), changes: Vec::new(), over: over.clone(), again: false };
        presence.tell(&[report]).remove(0).unwrap();
        !over.is_empty()
    });
}

#[test]
fn who_is_here_is_told_once_over_all_nodes() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = one.log.feed().unwrap();
    let (here, there) = (feed.presence(), other.log.feed().unwrap().presence());
    let mut listener = feed.listen();
    hear(&mut *listener);
    let room = fresh_room();
    tell(&*here, &room, &[unnamed("alice", 2), unnamed("bob", 1)]);
    tell(&*there, &room, &[unnamed("alice", 1)]);
    assert_eq!(there.everybody(&room).unwrap(), [unnamed("alice", 3), unnamed("bob", 1)]);
    assert_eq!(there.sockets(&room).unwrap(), 4);
    tell(&*here, &room, &[unnamed("alice", 0)]);
    let seen = here.look(std::slice::from_ref(&room)).unwrap().remove(0);
    assert_eq!((seen.own, seen.users), (vec![unnamed("bob", 1)], vec![unnamed("alice", 1), unnamed("bob", 1)]));
    assert!(!seen.fades && seen.over.is_empty());
    tell(&*there, &room, &[unnamed("alice", 0)]);
    let user = |name: &str| Person::unnamed(name.into());
    for expected in [Event::Joined(user("alice")), Event::Joined(user("bob")), Event::Left(user("alice"))] {
        assert_eq!(hear_event(&mut *listener), expected);
    }
    assert_eq!(here.everybody(&room).unwrap(), [unnamed("bob", 1)]);
}

#[test]
fn a_node_whose_lease_is_over_has_claimed_nothing() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = one.log.feed().unwrap();
    let (here, there) = (feed.presence(), other.log.feed().unwrap().presence());
    let room = fresh_room();
    tell(&*here, &room, &[unnamed("alice", 1)]);
    tell(&*there, &room, &[unnamed("bob", 1), unnamed("alice", 1)]);
    let mut listener = feed.listen();
    hear(&mut *listener);
    there.leave().unwrap();
    eventually("its claims don't count", || here.everybody(&room).unwrap() == [unnamed("alice", 1)]);
    mend(&*here, &room);
    assert_eq!(hear_event(&mut *listener), Event::Left(Person::unnamed("bob".into())));
    assert_eq!(here.everybody(&room).unwrap(), [unnamed("alice", 1)]);
    let report =
        PresenceReport { room: room.clone(), changes: vec![unnamed("bob", 1)], over: Vec::new(), again: false };
    assert!(there.tell(&[report]).remove(0).is_err(), "it has left");
}

#[test]
fn what_comes_late_from_an_epoch_that_is_over_changes_nothing() {
    let redis = Redis::start();
    let node = stores(&redis);
    let presence = node.log.feed().unwrap().presence();
    let room = fresh_room();
    tell(&*presence, &room, &[unnamed("alice", 1)]);
    let mut get = redis::cmd("HGET");
    get.arg(Keys(&room).here()).arg("alice");
    let claims: String = redis.ask(get).unwrap();
    let mut late = redis::cmd("HSET");
    late.arg(Keys(&room).here()).arg("ghost").arg("n00000000000000f=1");
    late.arg("alice").arg(format!("{claims} n00000000000000f=3"));
    redis.ask::<usize>(late).unwrap();
    eventually("nobody believes it", || presence.everybody(&room).unwrap() == [unnamed("alice", 1)]);
}

#[test]
fn what_was_only_lost_is_told_again_without_a_word() {
    let redis = Redis::start();
    let node = stores(&redis);
    let feed = node.log.feed().unwrap();
    let presence = feed.presence();
    let room = fresh_room();
    tell(&*presence, &room, &[unnamed("alice", 1)]);
    let mut delete = redis::cmd("DEL");
    delete.arg(Keys(&room).here());
    redis.ask::<usize>(delete).unwrap();
    let mut listener = feed.listen();
    hear(&mut *listener);
    let again =
        PresenceReport { room: room.clone(), changes: vec![unnamed("alice", 1)], over: Vec::new(), again: true };
    presence.tell(&[again]).remove(0).unwrap();
    tell(&*presence, &room, &[unnamed("bob", 1)]);
    assert_eq!(hear_event(&mut *listener), Event::Joined(Person::unnamed("bob".into())));
    assert_eq!(presence.everybody(&room).unwrap(), [unnamed("alice", 1), unnamed("bob", 1)]);
}

#[test]
fn names_are_told_with_comings_and_goings_and_kept_with_who_is_here() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = other.log.feed().unwrap();
    let (here, there) = (one.log.feed().unwrap().presence(), feed.presence());
    let room = fresh_room();
    let mut listener = listen(&other.log, &room);
    // Whatever a name contains, it is never read as another user or another node.
    let names = ["Älice \u{1f600}", "a=1 b=2 ~c", "%d\n\"}"];
    for (user, name) in ["alice", "bob", "carol"].into_iter().zip(names) {
        tell(&*here, &room, &[named(user, name, 1)]);
        assert_eq!(hear_event(&mut *listener), Event::Joined(named(user, name, 1).person));
    }
    tell(&*there, &room, &[named("alice", "Alice now", 2)]);
    assert_eq!(
        there.everybody(&room).unwrap(),
        [named("alice", "Alice now", 3), named("bob", names[1], 1), named("carol", names[2], 1)]
    );
    tell(&*here, &room, &[named("alice", names[0], 0), named("bob", names[1], 0)]);
    assert_eq!(hear_event(&mut *listener), Event::Left(named("bob", names[1], 0).person));
    here.leave().unwrap();
    mend(&*there, &room);
    assert_eq!(hear_event(&mut *listener), Event::Left(named("carol", names[2], 0).person), "of a node that has died");
    let typing = Event::Typing(named("alice", "Alice now", 1).person);
    one.log.feed().unwrap().announce(Some(&room), &typing);
    assert_eq!(hear_event(&mut *listener), typing);
}

/// Runs the script of a node of an earlier version.
fn old_node(redis: &Redis, script: &str, room: &RoomName, more: &[&str]) {
    let keys = Keys(room);
    let mut tell = redis::cmd("EVAL");
    tell.arg(script).arg(2).arg(keys.nodes()).arg(keys.here());
    tell.arg("00000000000000ff").arg(30_000).arg("propromo:feed:0").arg(room.as_str()).arg(more);
    redis.ask::<i64>(tell).unwrap();
}

#[test]
fn nodes_of_versions_before_and_this_one_understand_each_other() {
    const WITHOUT_NAMES: &str = include_str!("presence-without-names.lua");
    const WITHOUT_LEASES: &str = include_str!("presence-without-leases.lua");
    for (script, knows_names) in [(WITHOUT_NAMES, false), (WITHOUT_LEASES, true)] {
        let redis = Redis::start();
        let node = stores(&redis);
        let feed = node.log.feed().unwrap();
        let presence = feed.presence();
        let mut listener = feed.listen();
        hear(&mut *listener);
        let room = fresh_room();
        let old = |user: &str, sockets: &str| {
            let change: &[&str] = if knows_names { &[user, sockets, ""] } else { &[user, sockets] };
            old_node(&redis, script, &room, change);
        };
        // As it reads how many sockets a user has.
        let read_by_old = |user: &str| -> usize {
            let mut get = redis::cmd("HGET");
            get.arg(Keys(&room).here()).arg(user);
            let nodes: String = redis.ask(get).unwrap();
            nodes.split(' ').filter_map(|node| node.split_once('=')?.1.parse::<usize>().ok()).sum()
        };
        old("alice", "1");
        assert_eq!(hear_event(&mut *listener), Event::Joined(Person::unnamed("alice".into())));
        tell(&*presence, &room, &[named("alice", "Alice = 7", 2), named("bob", "Bob", 1)]);
        assert_eq!(hear_event(&mut *listener), Event::Joined(named("bob", "Bob", 1).person));
        assert_eq!((read_by_old("alice"), read_by_old("bob")), (3, 1));
        // It renews its claims, and forgets the nodes that did not; the node with a lease need not.
        old_node(&redis, script, &room, &[]);
        assert_eq!((read_by_old("alice"), read_by_old("bob")), (3, 1));
        old("bob", "4");
        old("alice", "0");
        let seen = presence.look(std::slice::from_ref(&room)).unwrap().remove(0);
        let (alice, bob) = match knows_names {
            true => (named("alice", "Alice = 7", 2), named("bob", "Bob", 5)),
            // It left the names out.
            false => (unnamed("alice", 2), unnamed("bob", 5)),
        };
        assert_eq!(seen.users, [alice, bob]);
        assert!(seen.fades, "the older node lets what is claimed expire with its own");
        tell(&*presence, &room, &[named("bob", "Bob", 0), named("alice", "Alice = 7", 0)]);
        assert_eq!(hear_event(&mut *listener), Event::Left(named("alice", "Alice = 7", 0).person));
        // As if it had died half a minute before.
        let mut expire = redis::cmd("HSET");
        expire.arg(Keys(&room).nodes()).arg("00000000000000ff").arg(1);
        redis.ask::<()>(expire).unwrap();
        assert!(presence.everybody(&room).unwrap().is_empty());
        tell(&*presence, &room, &[]);
        let Event::Left(bob) = hear_event(&mut *listener) else { panic!("nobody leaves") };
        assert_eq!(&*bob.user, "bob");
    }
}
