//! Names over two nodes.

use super::stores;
use crate::store::{
    log::MessageLog,
    names::{Claim, Named, SharedNames},
    redis::names::RedisNames,
};
use support::{eventually, redis::Redis};

fn claim(name: &str, number: u64) -> Claim {
    let named = Named { name: name.into(), color: "red".into(), last_activity: 7 };
    Claim { key: name.to_lowercase().into(), number, named }
}

fn names_in(names: &RedisNames, room: i64) -> Vec<String> {
    names.users(&[room]).unwrap()[0].iter().map(|named| named.name.to_string()).collect()
}

fn take(names: &RedisNames, room: i64, claim: &Claim) -> bool {
    names.take(&[(room, vec![claim.clone()])]).unwrap() == [[true]]
}

#[test]
fn a_name_is_one_nodes_at_a_time() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis).names, stores(&redis).names);
    assert!(take(&one, 1, &claim("Ann", 1)));
    assert!(!take(&other, 1, &claim("ANN", 2)));
    assert!(take(&other, 2, &claim("Ann", 3)), "in another room");
    assert_eq!(other.users(&[1, 3]).unwrap(), [vec![claim("Ann", 1).named], vec![]]);
    assert_eq!(one.own(&[1, 2]).unwrap(), [vec![1], vec![]]);
    one.give_back(1, &claim("Ann", 1)).unwrap();
    assert!(take(&other, 1, &claim("Ann", 4)));
}

#[test]
fn giving_back_an_earlier_claim_leaves_the_later_one() {
    let redis = Redis::start();
    let names = stores(&redis).names;
    assert!(take(&names, 1, &claim("Ann", 1)) && take(&names, 1, &claim("Ann", 2)));
    names.give_back(1, &claim("Ann", 1)).unwrap();
    assert_eq!(names_in(&names, 1), ["Ann"]);
}

#[test]
fn claims_of_a_node_whose_lease_is_over_are_anothers_to_take() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis), stores(&redis));
    assert!(take(&one.names, 1, &claim("Ann", 1)) && take(&one.names, 1, &claim("Bob", 2)));
    assert_eq!(one.names.sure(), Some(one.names.standing().epoch));
    one.log.feed().unwrap().presence().leave().unwrap();
    assert_eq!(one.names.sure(), None);
    eventually("that is known", || names_in(&other.names, 1).is_empty());
    assert!(take(&other.names, 1, &claim("Ann", 3)));
    assert_eq!(names_in(&other.names, 1), ["Ann"]);
}

#[test]
fn nodes_without_leases_and_this_one_give_no_name_twice() {
    let redis = Redis::start();
    let names = stores(&redis).names;
    let keys = ["propromo:{chitchat:1}:name-nodes", "propromo:{chitchat:1}:names"];
    // The answer of a node of the version before: whether it had claims here, and whether the name is its own.
    let old = |action: &str, name: &str| -> Vec<u8> {
        let mut tell = redis::cmd("EVAL");
        tell.arg(include_str!("names-without-leases.lua")).arg(2).arg(&keys).arg(i64::MAX).arg("00000000000000ff");
        tell.arg(30_000).arg(action).arg(name.to_lowercase()).arg("\0\0\0\0\0\0\0\u{7}");
        tell.arg(&[&7i64.to_be_bytes()[..], &[0, name.len() as u8], name.as_bytes(), b"red"].concat()[..]);
        redis.ask(tell).unwrap()
    };
    let read_by_old = || -> usize {
        let mut read = redis::cmd("EVAL");
        read.arg(include_str!("named-without-leases.lua")).arg(2).arg(&keys);
        redis.ask::<Vec<Vec<u8>>>(read).unwrap().len()
    };
    assert!(take(&names, 1, &claim("Ann", 1)));
    assert_eq!((old("take", "Ann"), old("take", "Bob")), (vec![0, 0], vec![1, 1]));
    assert!(!take(&names, 1, &claim("Bob", 2)));
    assert_eq!((names_in(&names, 1), read_by_old()), (vec!["Ann".to_owned(), "Bob".to_owned()], 2));
    old("drop", "Bob");
    assert!(take(&names, 1, &claim("Bob", 3)));
    old("take", "Carol");
    // As if it had died half a minute before.
    let mut expire = redis::cmd("HSET");
    expire.arg(keys[0]).arg("00000000000000ff").arg(1);
    redis.ask::<()>(expire).unwrap();
    assert!(take(&names, 1, &claim("Carol", 4)));
}
