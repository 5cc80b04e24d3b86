//! A failover to a replica that was cut off: chat goes on at once, and no id is given out twice.

use crate::several::{Nodes, hear_type, say_until_stored};
use std::time::{Duration, Instant, SystemTime};
use support::{Client, eventually, lossy::LossyWay, redis::Redis};

/// The ids of what this client hears, up to this text.
#[track_caller]
fn ids_up_to(client: &mut Client, last: &str) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let heard = hear_type(client, "message");
        ids.push(heard["id"].as_str().expect("an id").to_owned());
        if heard["text"] == last {
            return ids;
        }
    }
}

// Seen to fail with `room::feed` dropping what is not above its position, and no floor for new ids: `after` is heard by nobody.
#[test]
fn chat_goes_on_at_once_on_a_replica_that_lacks_the_last_messages_and_would_give_their_ids_out_again() {
    let master = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    // As it is where its clock was set back: its ids go on from the last one, since that is ahead of it.
    let ahead =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later") + Duration::from_secs(600);
    let mut last = redis::cmd("HSET");
    last.arg("propromo:{channel:back}:head").arg("last").arg(format!("{}-0", ahead.as_millis()));
    master.ask::<()>(last).expect("the master takes it");
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let way = LossyWay::to(master.port);
    let nodes = Nodes::start(2, &format!("redis://127.0.0.1:{}", way.port));
    let (mut alice, mut bob) = (nodes.join(0, "back", "alice"), nodes.join(1, "back", "bob"));
    say_until_stored(&mut alice, "kept");
    replica.has_all_of(&master);
    // Cut off, it is promoted as it is.
    replica.follow("NO", "ONE");
    // In this room nobody says anything afterwards.
    let (mut quiet, mut hears) = (nodes.join(0, "quiet", "carol"), nodes.join(0, "quiet", "dora"));
    say_until_stored(&mut quiet, "lost");
    // Not by who said it: that one may have heard it before it was known to be stored.
    ids_up_to(&mut hears, "lost");
    let mut shown = ids_up_to(&mut bob, "kept");
    for n in 0..20 {
        say_until_stored(&mut alice, &format!("lost {n}"));
    }
    shown.extend(ids_up_to(&mut bob, "lost 19"));
    drop(master);
    way.turn_to(replica.port);
    say_until_stored(&mut alice, "after");
    let said = Instant::now();
    shown.extend(ids_up_to(&mut bob, "after"));
    assert!(said.elapsed() < Duration::from_secs(30), "{:?}", said.elapsed());
    say_until_stored(&mut alice, "more");
    shown.extend(ids_up_to(&mut bob, "more"));
    assert!(shown.is_sorted_by(|a, b| a < b), "an id comes twice, or out of order: {shown:?}");
    assert_eq!(shown.len(), 23);
    say_until_stored(&mut bob, "to alice");
    ids_up_to(&mut alice, "to alice");
    // Who was away meanwhile, and names a message that is gone.
    let path = nodes.path("back", "carol");
    let mut carol = Client::open(nodes.servers[1].address, &format!("{path}&since={}", shown[20]));
    assert_eq!(hear_type(&mut carol, "error")["code"], "reload");
    // The first that notices sees to it.
    eventually("it is noticed", || nodes.servers.iter().any(|server| server.log().contains("the log went back")));
}
