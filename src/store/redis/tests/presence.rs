//! Who is in a room, over two nodes.

use super::{hear, stores};
use crate::{
    event::{Event, Person},
    message::RoomName,
    store::{
        feed::{Ear, Heard},
        log::MessageLog,
        presence::{Known, Present},
        redis::{RedisStores, keys::Keys},
        suite::fresh_room,
    },
};
use support::redis::Redis;

fn unnamed(user: &str, sockets: usize) -> Present {
    Present { person: Person::unnamed(user.into()), sockets }
}

fn named(user: &str, name: &str, sockets: usize) -> Present {
    Present { person: Person { user: user.into(), name: Some(name.into()) }, sockets }
}

/// The next coming or going that is heard.
fn hear_event(ear: &mut dyn Ear) -> Event {
    match hear(ear) {
        Heard::Event { event, .. } => event,
        _ => panic!("something else is heard"),
    }
}

/// As if this node had not told anything for half a minute.
fn expire(redis: &Redis, room: &RoomName, node: &RedisStores) {
    let mut expire = redis::cmd("HSET");
    expire.arg(Keys(room).nodes()).arg(node.names.node()).arg(1);
    redis.ask::<()>(expire).unwrap();
}

#[test]
fn who_is_here_is_told_once_over_all_nodes() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = one.log.feed().unwrap();
    let (here, there) = (feed.presence(), other.log.feed().unwrap().presence());
    let mut ear = feed.listen();
    hear(&mut *ear);
    let room = fresh_room();
    assert_eq!(here.tell(&room, &[unnamed("alice", 2), unnamed("bob", 1)]).unwrap(), Known::Anew);
    there.tell(&room, &[unnamed("alice", 1)]).unwrap();
    assert_eq!(there.everybody(&room).unwrap(), [unnamed("alice", 3), unnamed("bob", 1)]);
    assert_eq!(there.sockets(&room).unwrap(), 4);
    here.tell(&room, &[unnamed("alice", 0)]).unwrap();
    assert_eq!(here.tell(&room, &[]).unwrap(), Known::Before);
    there.tell(&room, &[unnamed("alice", 0)]).unwrap();
    let user = |name: &str| Person::unnamed(name.into());
    for expected in [Event::Joined(user("alice")), Event::Joined(user("bob")), Event::Left(user("alice"))] {
        assert_eq!(hear_event(&mut *ear), expected);
    }
    assert_eq!(here.everybody(&room).unwrap(), [unnamed("bob", 1)]);
}

#[test]
fn a_node_that_died_is_forgotten_and_its_users_have_left() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = one.log.feed().unwrap();
    let (here, there) = (feed.presence(), other.log.feed().unwrap().presence());
    let room = fresh_room();
    here.tell(&room, &[unnamed("alice", 1)]).unwrap();
    there.tell(&room, &[unnamed("bob", 1)]).unwrap();
    let mut ear = feed.listen();
    hear(&mut *ear);
    expire(&redis, &room, &other);
    here.tell(&room, &[]).unwrap();
    assert_eq!(hear_event(&mut *ear), Event::Left(Person::unnamed("bob".into())));
    assert_eq!(here.everybody(&room).unwrap(), [unnamed("alice", 1)]);
    assert_eq!(there.tell(&room, &[]).unwrap(), Known::Anew, "it has to tell its users anew");
}

#[test]
fn names_are_told_with_comings_and_goings_and_kept_with_who_is_here() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let feed = other.log.feed().unwrap();
    let (here, there) = (one.log.feed().unwrap().presence(), feed.presence());
    let mut ear = feed.listen();
    hear(&mut *ear);
    let room = fresh_room();
    // Whatever a name holds, it is no other user and no other node.
    let names = ["Älice \u{1f600}", "a=1 b=2 ~c", "%d\n\"}"];
    for (user, name) in ["alice", "bob", "carol"].into_iter().zip(names) {
        here.tell(&room, &[named(user, name, 1)]).unwrap();
        assert_eq!(hear_event(&mut *ear), Event::Joined(named(user, name, 1).person));
    }
    there.tell(&room, &[named("alice", "Alice now", 2)]).unwrap();
    assert_eq!(
        there.everybody(&room).unwrap(),
        [named("alice", "Alice now", 3), named("bob", names[1], 1), named("carol", names[2], 1)]
    );
    here.tell(&room, &[named("alice", names[0], 0), named("bob", names[1], 0)]).unwrap();
    assert_eq!(hear_event(&mut *ear), Event::Left(named("bob", names[1], 0).person));
    expire(&redis, &room, &one);
    there.tell(&room, &[]).unwrap();
    assert_eq!(hear_event(&mut *ear), Event::Left(named("carol", names[2], 0).person), "of a node that has died");
    let typing = Event::Typing(named("alice", "Alice now", 1).person);
    one.log.feed().unwrap().announce(&room, &typing);
    assert_eq!(hear_event(&mut *ear), typing);
}

#[test]
fn nodes_that_know_no_names_and_nodes_that_do_understand_each_other() {
    let redis = Redis::start();
    let node = stores(&redis);
    let feed = node.log.feed().unwrap();
    let presence = feed.presence();
    let mut ear = feed.listen();
    hear(&mut *ear);
    let room = fresh_room();
    let keys = Keys(&room);
    // A node of the version before tells of a user.
    let old = |user: &str, sockets: usize| {
        let mut tell = redis::cmd("EVAL");
        tell.arg(include_str!("presence-without-names.lua")).arg(2).arg(keys.nodes()).arg(keys.here());
        tell.arg("00000000000000ff").arg(30_000).arg("propromo:feed:0").arg(room.as_str()).arg(user).arg(sockets);
        redis.ask::<i64>(tell).unwrap();
    };
    // And reads how many sockets a user has.
    let read_by_old = |user: &str| -> usize {
        let mut get = redis::cmd("HGET");
        get.arg(keys.here()).arg(user);
        let nodes: String = redis.ask(get).unwrap();
        nodes.split(' ').filter_map(|node| node.split_once('=')?.1.parse::<usize>().ok()).sum()
    };
    old("alice", 1);
    assert_eq!(hear_event(&mut *ear), Event::Joined(Person::unnamed("alice".into())));
    presence.tell(&room, &[named("alice", "Alice = 7", 2), named("bob", "Bob", 1)]).unwrap();
    assert_eq!(hear_event(&mut *ear), Event::Joined(named("bob", "Bob", 1).person));
    assert_eq!((read_by_old("alice"), read_by_old("bob")), (3, 1));
    old("bob", 4);
    old("alice", 0);
    assert_eq!(presence.everybody(&room).unwrap(), [unnamed("alice", 2), unnamed("bob", 5)], "it knows no names");
    presence.tell(&room, &[named("bob", "Bob", 0), named("alice", "Alice = 7", 0)]).unwrap();
    assert_eq!(hear_event(&mut *ear), Event::Left(named("alice", "Alice = 7", 0).person));
    old("bob", 0);
    assert_eq!(hear_event(&mut *ear), Event::Left(Person::unnamed("bob".into())));
}
