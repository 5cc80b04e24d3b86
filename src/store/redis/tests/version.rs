//! Nodes of different versions on one Redis.

use super::{draft, hear_messages, listen, open, stores};
use crate::{
    message::RoomName,
    store::{
        log::MessageLog,
        redis::{id::Tail, keys::Keys, wire},
        suite::{entry_texts, fresh_room, say, texts},
    },
};
use std::error::Error;
use support::{eventually, redis::Redis};

/// Appends a message as a node does that knows neither floors nor versions.
fn append_as_before(redis: &Redis, room: &RoomName, text: &str) {
    let keys = Keys(room);
    let mut body = Vec::new();
    wire::write_body(&draft(room, text), &mut body);
    let mut append = redis::cmd("EVAL");
    append.arg(include_str!("append-without-floor.lua")).arg(6);
    append.arg(keys.log()).arg(keys.head()).arg(keys.changes()).arg(keys.became()).arg(keys.changed());
    append.arg(keys.outcome("0123456789abcdef", 0));
    append.arg(i64::from(u32::MAX) * 1000).arg("propromo:feed:0").arg(room.as_str()).arg(0).arg(60);
    append.arg(&Tail::of(room).to_bytes()[..]).arg("1").arg(&7u64.to_be_bytes()[..]).arg(60).arg("keep").arg(body);
    let answer: Vec<u8> = redis.ask(append).unwrap();
    assert_eq!((answer.len(), answer[0]), (9, 0), "it is stored");
}

#[test]
fn a_node_of_the_version_before_and_one_of_now_hear_each_other() {
    let redis = Redis::start();
    let now = stores(&redis);
    let room = fresh_room();
    let mut listener = listen(&now.log, &room);
    let first = say(&*now.log, &room, &["of now"]);
    hear_messages(&mut *listener);
    append_as_before(&redis, &room, "of before");
    let heard = hear_messages(&mut *listener);
    assert_eq!((entry_texts(&heard.entries), heard.before), (vec!["of before"], first[0]));
    say(&*now.log, &room, &["of now again"]);
    let last = hear_messages(&mut *listener);
    assert_eq!(last.before, heard.entries[0].id());
    assert_eq!(texts(&now.log.history(&room, None, 9).unwrap()), ["of now", "of before", "of now again"]);
}

/// Adds a node that understands and speaks these versions of the wire, until that time.
fn another(redis: &Redis, word: &str) {
    let mut note = redis::cmd("HSET");
    note.arg("propromo:{nodes}:wire").arg("another").arg(word);
    redis.ask::<()>(note).unwrap();
}

#[test]
fn a_node_that_others_would_not_understand_does_nothing_and_says_why_until_they_are_gone() {
    for (word, why) in [("9 9", "too old to run beside it"), ("0 0", "speaks version 0 of the wire")] {
        let redis = Redis::start();
        another(&redis, &format!("{word} 99999999999999"));
        let log = open(&redis.url(), None).log;
        eventually("it says why", || {
            let error = log.probe().unwrap_err();
            error.source().is_some_and(|cause| cause.to_string().contains(why))
        });
        let mut nodes = redis::cmd("HKEYS");
        nodes.arg("propromo:{nodes}:wire");
        assert_eq!(redis.ask::<Vec<String>>(nodes.clone()).unwrap(), ["another"]);
        // The other node has not reported for a while.
        another(&redis, &format!("{word} 1"));
        eventually("Redis is used", || log.probe().is_ok());
        assert_eq!(redis.ask::<Vec<String>>(nodes).unwrap().len(), 1);
    }
}

#[test]
fn nodes_whose_versions_overlap_are_there_together() {
    let redis = Redis::start();
    another(&redis, "1 2 99999999999999 and more");
    stores(&redis).log.probe().unwrap();
}
