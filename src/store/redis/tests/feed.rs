//! Which rooms a node hears, and when.

use super::{hear, hear_messages, listen, ready, stores};
use crate::{
    event::{Event, Person},
    message::{MessageId, RoomName},
    store::{
        feed::{FeedItem, FeedListener},
        log::MessageLog,
        redis::{RedisStores, address::Deployment, channels::Channels, keys::Keys},
        suite::{entry_texts, fresh_room, say},
    },
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use support::{
    PATIENCE, eventually,
    redis::{Cluster, Redis},
};

fn channels(redis: &Redis) -> Channels {
    Channels::of(&Deployment::parse(&redis.url()).unwrap())
}

/// How many connections listen to this channel.
fn listeners(redis: &Redis, command: &str, channel: &str) -> usize {
    let mut count = redis::cmd("PUBSUB");
    count.arg(command).arg(channel);
    let (_, listeners): (String, usize) = redis.ask(count).unwrap();
    listeners
}

/// Subscribes to these channels over a connection of its own, and hands it out.
fn subscriber(redis: &Redis, channels: &[&str]) -> redis::Connection {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut subscribe = redis::cmd("SUBSCRIBE");
    subscribe.arg(channels);
    connection.send_packed_command(&subscribe.get_packed_command()).unwrap();
    for _ in channels {
        connection.recv_response().unwrap();
    }
    connection
}

/// Listens on, in a thread, and puts what is heard into the list that is returned.
fn in_background(mut listener: Box<dyn FeedListener>) -> Arc<parking_lot::Mutex<Vec<FeedItem>>> {
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let list = Arc::downgrade(&heard);
    thread::spawn(move || {
        while let Some(list) = list.upgrade() {
            let item = listener.next(&|_| true, false);
            if !matches!(item, FeedItem::Nothing) {
                list.lock().push(item);
            }
        }
    });
    heard
}

fn texts_of(items: &[FeedItem]) -> Vec<String> {
    let stored = items.iter().filter_map(|item| match item {
        FeedItem::Stored(stored) => Some(entry_texts(&stored.entries)),
        _ => None,
    });
    stored.flatten().map(Into::into).collect()
}

#[test]
fn only_those_hear_a_room_who_want_it() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let (theirs, mine) = (fresh_room(), fresh_room());
    let mut listener = listen(&one.log, &mine);
    let _other = listen(&other.log, &theirs);
    let channels = channels(&redis);
    assert_eq!(listeners(&redis, "NUMSUB", &channels.room(&theirs)), 1);
    say(&*other.log, &theirs, &["theirs"]);
    one.log.feed().unwrap().announce(Some(&theirs), &Event::Typing(Person::unnamed("alice".into())));
    say(&*other.log, &mine, &["mine"]);
    assert_eq!(entry_texts(&hear_messages(&mut *listener).entries), ["mine"]);
}

#[test]
fn a_room_is_heard_by_the_time_that_was_waited_for_and_until_a_while_after_it_was_wanted() {
    let redis = Redis::start();
    let (node, channels) = (stores(&redis), channels(&redis));
    let (first, second) = (fresh_room(), fresh_room());
    let heard = in_background(listen(&node.log, &first));
    let feed = node.log.feed().unwrap();
    for n in 0..50 {
        let room = fresh_room();
        feed.want(&room);
        feed.wait_for(&room).unwrap();
        say(&*node.log, &room, &[&n.to_string()]);
    }
    feed.want(&second);
    feed.wait_for(&second).unwrap();
    let all: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    eventually("all are heard", || texts_of(&heard.lock()) == all);
    feed.unwant(&second);
    assert_eq!(listeners(&redis, "NUMSUB", &channels.room(&second)), 1);
    let ended = |room: &RoomName| heard.lock().iter().any(|item| matches!(item, FeedItem::Ended(r) if r == room));
    eventually("it is let go of", || ended(&second) && listeners(&redis, "NUMSUB", &channels.room(&second)) == 0);
    assert!(!ended(&first));
}

#[test]
fn what_was_wanted_is_heard_again_after_a_break() {
    let mut redis = Redis::start();
    let (node, room) = (stores(&redis), fresh_room());
    let heard = in_background(listen(&node.log, &room));
    redis.kill();
    redis.run();
    let is_subscribed = |item: &FeedItem| matches!(item, FeedItem::Subscribed);
    eventually("it subscribes again", || heard.lock().iter().any(is_subscribed));
    node.log.feed().unwrap().wait_for(&room).unwrap();
    eventually("it can be used", || node.log.probe().is_ok());
    say(&*node.log, &room, &["after"]);
    eventually("it is heard", || texts_of(&heard.lock()) == ["after"]);
}

#[test]
fn everybody_is_told_while_a_node_is_there_that_knows_no_other_channel() {
    let redis = Redis::start();
    let (node, room, channels) = (stores(&redis), fresh_room(), channels(&redis));
    let mut listener = listen(&node.log, &room);
    let mut old = subscriber(&redis, &[&channels.everybody]);
    // Frames that hold this text, until then.
    let mut hears = |text: &str| {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(redis::Value::Array(parts)) = old.recv_response()
                && let Some(redis::Value::BulkString(frame)) = parts.get(2)
                && frame.windows(text.len()).any(|at| at == text.as_bytes())
            {
                return true;
            }
        }
        false
    };
    eventually("it is noticed", || node.log.redis.health.audience().earlier);
    say(&*node.log, &room, &["to all"]);
    assert!(hears("to all"));
    // This node is told once.
    let first = hear_messages(&mut *listener);
    say(&*node.log, &room, &["again"]);
    let second = hear_messages(&mut *listener);
    assert_eq!([entry_texts(&first.entries), entry_texts(&second.entries)], [["to all"], ["again"]]);
    drop(old);
    eventually("it is gone", || !node.log.redis.health.audience().earlier);
    say(&*node.log, &room, &["to the room"]);
    assert_eq!(entry_texts(&hear_messages(&mut *listener).entries), ["to the room"]);
    let mut late = subscriber(&redis, &[&channels.room(&room)]);
    say(&*node.log, &room, &["late"]);
    late.recv_response().unwrap();
}

#[test]
fn a_node_of_now_is_no_reason_to_tell_everybody() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let _listening = [listen(&one.log, &fresh_room()), listen(&other.log, &fresh_room())];
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(!one.log.redis.health.audience().earlier);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_wants_to_know_of_all_rooms_is_told_where_something_was_stored() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let mut listener = listen(&one.log, &fresh_room());
    let mut next = || {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing is heard");
            match listener.next(&|_| false, true) {
                FeedItem::Nothing => {}
                item => return item,
            }
        }
    };
    assert!(matches!(next(), FeedItem::OfAll));
    eventually("others notice", || other.log.redis.health.audience().wants_news);
    let room = fresh_room();
    let ids = say(&*other.log, &room, &["a", "b"]);
    assert!(matches!(next(), FeedItem::Noted { room: r, last, by } if r == room && last == ids[1] && by.len() == 1));
}

fn cluster_stores(cluster: &Cluster) -> RedisStores {
    ready(&cluster.url(), None)
}

#[test]
fn a_subscription_follows_its_slot_through_a_cluster() {
    let cluster = Cluster::start();
    let (node, other) = (cluster_stores(&cluster), cluster_stores(&cluster));
    let (room, stays) = (fresh_room(), fresh_room());
    let feed = node.log.feed().unwrap();
    feed.want(&stays);
    let heard = in_background(listen(&node.log, &room));
    say(&*other.log, &room, &["before"]);
    eventually("it is heard", || texts_of(&heard.lock()) == ["before"]);
    let moving = cluster.begin_to_move(&Keys(&room).head());
    cluster.end_move(moving);
    // Something may have been missed, until it is heard again.
    let is_back =
        |item: &FeedItem| matches!(item, FeedItem::Subscribed) || matches!(item, FeedItem::Back(back) if *back == room);
    eventually("it is back", || heard.lock().iter().any(is_back));
    eventually("it can be said", || {
        feed.newest(std::slice::from_ref(&room)).is_ok_and(|newest| newest[0] > MessageId::BEFORE_ALL)
    });
    say(&*other.log, &room, &["after"]);
    say(&*other.log, &stays, &["elsewhere"]);
    eventually("both are heard", || {
        let mut texts = texts_of(&heard.lock());
        texts.sort_unstable();
        texts == ["after", "before", "elsewhere"]
    });
    // Who comes later finds the slot too.
    let late = cluster_stores(&cluster);
    let mut listener = listen(&late.log, &room);
    say(&*other.log, &room, &["late"]);
    loop {
        if let FeedItem::Stored(stored) = hear(&mut *listener) {
            assert_eq!(entry_texts(&stored.entries), ["late"]);
            break;
        }
    }
}

// What a node does that has many rooms when it or Redis starts again.
#[test]
fn thousands_of_rooms_are_heard_again_after_a_break() {
    const ROOMS: usize = 5000;
    let redis = Redis::start();
    let node = stores(&redis);
    let feed = node.log.feed().unwrap();
    let rooms: Vec<RoomName> = (0..ROOMS).map(|_| fresh_room()).collect();
    rooms.iter().for_each(|room| feed.want(room));
    let heard = in_background(feed.listen());
    let channels = channels(&redis);
    let wanted: BTreeSet<String> = rooms.iter().map(|room| channels.room(room)).collect();
    let subscribed = || {
        let mut list = redis::cmd("PUBSUB");
        list.arg("CHANNELS").arg("propromo:{*");
        let list: BTreeSet<String> = redis.ask(list).unwrap();
        wanted.is_subset(&list)
    };
    let begun = || heard.lock().iter().filter(|item| matches!(item, FeedItem::Subscribed)).count();
    eventually("it has begun", || begun() == 1);
    assert!(subscribed());
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    redis.ask::<usize>(kill).unwrap();
    eventually("it has begun again", || begun() == 2);
    assert!(subscribed());
    feed.wait_for(&rooms[0]).unwrap();
    eventually("it can be used", || node.log.probe().is_ok());
    say(&*node.log, &rooms[ROOMS - 1], &["after"]);
    eventually("it is heard", || texts_of(&heard.lock()) == ["after"]);
}
