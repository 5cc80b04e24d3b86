//! Names over two nodes.

use super::stores;
use crate::store::{
    names::{Claim, Named, SharedNames},
    redis::names::RedisNames,
};
use support::redis::Redis;

fn claim(name: &str, number: u64) -> Claim {
    let named = Named { name: name.into(), color: "red".into(), last_activity: 7 };
    Claim { key: name.to_lowercase().into(), number, named }
}

fn names_in(names: &RedisNames, room: i64) -> Vec<String> {
    names.users(&[room]).unwrap()[0].iter().map(|named| named.name.to_string()).collect()
}

#[test]
fn a_name_is_one_nodes_at_a_time() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis).names, stores(&redis).names);
    assert!(one.take(1, &claim("Ann", 1)).unwrap());
    assert!(!other.take(1, &claim("ANN", 2)).unwrap());
    assert!(other.take(2, &claim("Ann", 3)).unwrap(), "in another room");
    assert_eq!(other.users(&[1, 3]).unwrap(), [vec![claim("Ann", 1).named], vec![]]);
    one.give_back(1, &claim("Ann", 1)).unwrap();
    assert!(other.take(1, &claim("Ann", 4)).unwrap());
}

#[test]
fn giving_back_an_earlier_claim_leaves_the_later_one() {
    let redis = Redis::start();
    let names = stores(&redis).names;
    assert!(names.take(1, &claim("Ann", 1)).unwrap() && names.take(1, &claim("Ann", 2)).unwrap());
    names.give_back(1, &claim("Ann", 1)).unwrap();
    assert_eq!(names_in(&names, 1), ["Ann"]);
}

#[test]
fn claims_that_expired_are_anothers_to_take_and_their_node_learns_of_it() {
    let redis = Redis::start();
    let (one, other) = (stores(&redis).names, stores(&redis).names);
    assert!(one.take(1, &claim("Ann", 1)).unwrap() && one.take(1, &claim("Bob", 2)).unwrap());
    assert_eq!(one.renew(1, &[]).unwrap(), Some(vec![]));
    // As if it had not told anything for half a minute.
    let mut expire = redis::cmd("HSET");
    expire.arg("propromo:{chitchat:1}:name-nodes").arg(one.node()).arg(1);
    redis.ask::<()>(expire).unwrap();
    assert!(names_in(&other, 1).is_empty());
    assert!(other.take(1, &claim("Ann", 3)).unwrap());
    assert_eq!(one.renew(1, &[]).unwrap(), None, "it has to tell its names anew");
    assert_eq!(one.renew(1, &[claim("Ann", 1), claim("Bob", 2)]).unwrap(), Some(vec![claim("Ann", 1)]));
    assert_eq!(names_in(&one, 1), ["Ann", "Bob"]);
}
