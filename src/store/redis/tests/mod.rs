//! The store suite against a real Redis, and tests for Redis alone.

mod feed;
mod import;
mod names;
mod presence;
mod version;

use super::{RedisStores, address::Deployment, ledger::RedisLedger, log::RedisLog, server::ANSWER};
use crate::{
    entry::NewChangeKind,
    message::{Draft, MessageId, RoomName},
    store::{
        feed::{FeedItem, FeedListener, Stored},
        ledger::{Ledger, SignedPart},
        log::{Appended, MessageLog},
        suite::{self, entry_texts, fresh_room, say, texts},
    },
};
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use support::{PATIENCE, eventually, redis::Redis};

/// A store with its own Redis.
struct Opened<S> {
    store: Arc<S>,
    redis: Redis,
}

impl<S> Deref for Opened<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

fn stores(redis: &Redis) -> RedisStores {
    ready(&redis.url(), None)
}

fn open(url: &str, history_max: Option<u64>) -> RedisStores {
    RedisStores::open(Deployment::parse(url).unwrap(), history_max, Duration::MAX, PATIENCE).unwrap()
}

/// Stores that can be used. On a busy machine even the first answer of Redis may come too late for the first try.
pub(in crate::store) fn ready(url: &str, history_max: Option<u64>) -> RedisStores {
    let stores = open(url, history_max);
    eventually("Redis can be used", || stores.log.probe().is_ok());
    stores
}

fn log() -> Opened<RedisLog> {
    let redis = Redis::start();
    Opened { store: stores(&redis).log, redis }
}

fn ledger() -> Opened<RedisLedger> {
    let redis = Redis::start();
    Opened { store: stores(&redis).ledger, redis }
}

suite::ledger!(ledger);
suite::message_log!(log);

fn draft(room: &RoomName, text: &str) -> Draft {
    suite::draft(room, text)
}

// Seen to fail when each deletion made the copy start again: it ends only when hardly anything is left to copy.
#[test]
fn a_room_in_which_messages_are_deleted_all_the_time_is_rewritten_all_the_same() {
    let log = log();
    let room = fresh_room();
    let ids: Vec<_> = (0..10).flat_map(|_| say(&*log, &room, &["a message"; 400])).collect();
    let is_done = AtomicBool::new(false);
    let deleted = thread::scope(|scope| {
        let deletes = scope.spawn(|| {
            let one = |id: &&MessageId| {
                let delete = suite::change(&room, **id, "alice@propromo.example", NewChangeKind::Delete);
                suite::make(&*log, delete).unwrap();
                !is_done.load(Relaxed)
            };
            ids[1..].iter().take_while(one).count()
        });
        log.scrub(std::slice::from_ref(&room)).unwrap();
        is_done.store(true, Relaxed);
        deletes.join().unwrap()
    });
    assert!(deleted < ids.len() / 2, "{deleted}");
    let kept = log.history(&room, None, usize::MAX).unwrap();
    assert_eq!(kept.first().map(|message| message.id), Some(ids[0]));
}

fn soon() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

/// Listens to the feed of a node, which wants this room. Returns when it is heard.
fn listen(log: &RedisLog, room: &RoomName) -> Box<dyn FeedListener> {
    let feed = log.feed().unwrap();
    feed.want(room);
    let mut listener = feed.listen();
    assert!(matches!(hear(&mut *listener), FeedItem::Subscribed));
    feed.wait_for(room).unwrap();
    listener
}

/// The next item that is not `Nothing`.
fn hear(listener: &mut dyn FeedListener) -> FeedItem {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing is heard");
        match listener.next(&|_| true, false) {
            FeedItem::Nothing => {}
            heard => return heard,
        }
    }
}

fn hear_messages(listener: &mut dyn FeedListener) -> Stored {
    match hear(listener) {
        FeedItem::Stored(stored) => stored,
        _ => panic!("something else is heard"),
    }
}

#[test]
fn what_one_node_stores_every_node_hears_in_order() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    let room = fresh_room();
    let (mut here, mut there) = (listen(&one.log, &room), listen(&other.log, &room));
    let first = say(&*one.log, &room, &["a", "b"]);
    let second = say(&*other.log, &room, &["c"]);
    for listener in [&mut *here, &mut *there] {
        let heard = hear_messages(listener);
        assert_eq!((entry_texts(&heard.entries), heard.before), (vec!["a", "b"], MessageId::BEFORE_ALL));
        let heard = hear_messages(listener);
        assert_eq!((entry_texts(&heard.entries), heard.before), (vec!["c"], first[1]));
        assert_eq!(heard.entries[0].id(), second[0]);
    }
}

#[test]
fn a_repeated_message_is_not_heard_again() {
    let opened = log();
    let room = fresh_room();
    let mut listener = listen(&opened, &room);
    let marked = Draft { reference: Some("r".into()), ..draft(&room, "once") };
    suite::append(&*opened.store, [marked.clone(), marked.clone()]);
    suite::append(&*opened.store, [marked]);
    say(&*opened.store, &room, &["next"]);
    assert_eq!(entry_texts(&hear_messages(&mut *listener).entries), ["once"]);
    assert_eq!(entry_texts(&hear_messages(&mut *listener).entries), ["next"]);
}

#[test]
fn a_message_that_is_not_kept_is_heard_and_leaves_no_trace() {
    let opened = log();
    let (feed, room) = (opened.feed().unwrap(), fresh_room());
    let mut listener = listen(&opened, &room);
    let passing = Draft { kept: false, ..draft(&room, "passing") };
    let appended = suite::append(&*opened.store, [passing]);
    let Appended::Stored(id) = appended[0] else { panic!("it is new") };
    assert_eq!(hear_messages(&mut *listener).entries[0].id(), id);
    assert!(opened.history(&room, None, 10).unwrap().is_empty());
    assert_eq!(feed.newest(&[room, fresh_room()]).unwrap(), [id, MessageId::BEFORE_ALL]);
}

#[test]
fn what_was_missed_can_be_read() {
    let opened = log();
    let room = fresh_room();
    let ids = say(&*opened.store, &room, &["a", "b", "c"]);
    let feed = opened.feed().unwrap();
    assert_eq!(entry_texts(&feed.missed(&room, ids[0], 10).unwrap()), ["b", "c"]);
    assert_eq!(entry_texts(&feed.missed(&room, MessageId::BEFORE_ALL, 2).unwrap()), ["a", "b"]);
}

#[test]
fn about_as_many_messages_are_kept_as_the_setting_says() {
    let redis = Redis::start();
    let stores = ready(&redis.url(), Some(200));
    let room = fresh_room();
    for _ in 0..20 {
        say(&*stores.log, &room, &["m"; 50]);
    }
    let kept = stores.log.history(&room, None, 10_000).unwrap().len();
    assert!((200..400).contains(&kept), "{kept}");
}

#[test]
fn ids_grow_though_only_the_stream_is_left_to_tell() {
    let opened = log();
    let room = fresh_room();
    let before = say(&*opened.store, &room, &["a"; 3]);
    let mut delete = redis::cmd("DEL");
    delete.arg(super::keys::Keys(&room).head());
    opened.redis.ask::<()>(delete).unwrap();
    assert!(say(&*opened.store, &room, &["b"])[0] > before[2]);
}

#[test]
fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let opened = log();
    let (here, there) = (fresh_room(), fresh_room());
    say(&*opened.store, &here, &["a"]);
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    opened.redis.ask::<()>(flush).unwrap();
    let appended = suite::append(&*opened.store, [draft(&here, "b"), draft(&there, "c"), draft(&here, "d")]);
    assert!(appended.iter().all(|outcome| matches!(outcome, Appended::Stored(_))));
    assert_eq!(texts(&opened.history(&here, None, 10).unwrap()), ["a", "b", "d"]);
}

#[test]
fn a_redis_that_was_killed_is_used_again_when_it_is_back() {
    let mut opened = log();
    let room = fresh_room();
    say(&*opened.store, &room, &["before"]);
    opened.redis.kill();
    eventually("nothing is stored", || opened.store.append(&[draft(&room, "lost").into()]).is_err());
    eventually("it is known to be away", || opened.probe().is_err());
    opened.redis.run();
    eventually("messages are stored again", || opened.store.append(&[draft(&room, "after").into()]).is_ok());
    assert_eq!(texts(&opened.history(&room, None, 10).unwrap()), ["before", "after"]);
}

#[test]
fn after_the_first_time_out_nobody_waits_for_another() {
    let opened = log();
    let room = fresh_room();
    opened.redis.pause();
    opened.store.append(&[draft(&room, "slow").into()]).unwrap_err();
    let start = Instant::now();
    for _ in 0..100 {
        opened.store.append(&[draft(&room, "fast").into()]).unwrap_err();
    }
    assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
    opened.redis.go_on();
    eventually("messages are stored again", || opened.store.append(&[draft(&room, "after").into()]).is_ok());
    // What had waited in the paused server's socket was not stored late.
    assert_eq!(texts(&opened.history(&room, None, 10).unwrap()), ["after"]);
}

#[test]
fn a_token_that_could_not_be_checked_is_not_spent_later() {
    let opened = ledger();
    let token = SignedPart([5; 32]);
    opened.redis.pause();
    opened.spend(&token, soon()).unwrap_err();
    opened.redis.go_on();
    eventually("the ledger can be used", || opened.probe().is_ok());
    assert!(opened.spend(&token, soon()).unwrap());
    assert!(!opened.spend(&token, soon()).unwrap());
}

#[test]
fn a_read_only_replica_is_not_used() {
    let master = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let log = open(&replica.url(), None).log;
    log.probe().unwrap_err();
    log.append(&[draft(&fresh_room(), "no").into()]).unwrap_err();
    let mut promote = redis::cmd("REPLICAOF");
    promote.arg("NO").arg("ONE");
    replica.ask::<()>(promote).unwrap();
    eventually("it is used when it becomes the master", || log.probe().is_ok());
}

#[test]
fn users_acls_and_databases_are_respected() {
    let redis = Redis::start();
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", "chat", "on", ">p@ss/word", "~propromo:*", "&propromo:*", "+@all", "-@admin", "-@dangerous"]);
    redis.ask::<()>(acl).unwrap();
    let url = format!("redis://chat:p%40ss%2Fword@127.0.0.1:{}/3", redis.port);
    let stores = ready(&url, None);
    let room = fresh_room();
    let mut listener = listen(&stores.log, &room);
    say(&*stores.log, &room, &["hi"]);
    assert_eq!(entry_texts(&hear_messages(&mut *listener).entries), ["hi"]);
    let keys: usize = redis.ask(redis::cmd("DBSIZE")).unwrap();
    assert_eq!(keys, 0, "in database 0");
}

#[test]
fn a_password_is_in_no_error() {
    let redis = Redis::start();
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("right");
    redis.ask::<()>(password).unwrap();
    let url = format!("redis://:wrong-secret@127.0.0.1:{}", redis.port);
    let stores = open(&url, None);
    let error = stores.log.probe().unwrap_err();
    assert!(!format!("{error:?}").contains("wrong-secret"));
}
