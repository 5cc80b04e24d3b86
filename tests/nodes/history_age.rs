//! `HISTORY_MAX_AGE` with Redis and an archive: what is older than so many days is gone from both.

use crate::migrate_archive::{messages, migrate, moved_to};
use serde_json::json;
use support::{
    ALICE,
    api::api_keys,
    eventually,
    faults::{set_clock, with_its_own_clock},
    postgres::Cluster,
    redis::Redis,
};

#[test]
fn what_is_older_than_so_many_days_is_gone_from_redis_and_the_archive() {
    // Redis makes ids by its own clock, so what is old comes from an embedded store whose server had another.
    let (setup, clock) = with_its_own_clock();
    set_clock(&clock, -259_200);
    let mut server = setup.env("MESSAGE_RATE", "0").env("API_KEYS", api_keys()).start();
    let mut alice = server.channel(ALICE, "garden");
    let old: Vec<_> = (0..60).map(|n| alice.post(&format!("Zypresse {n}"))["id"].clone()).collect();
    alice.ask(json!({"type": "edit", "id": old[3], "text": "Zypressenhain"}));
    alice.wait_for("edited");
    server.terminate();
    set_clock(&clock, 0);
    let mut server = server.restart();
    let young = server.channel(ALICE, "garden").post("young")["id"].clone();
    server.terminate();

    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let setup = moved_to(&server.setup().clone().without_demo(), &redis, &database);
    let (done, told) = migrate(&setup);
    assert!(done, "{told}");
    let node = setup.clone().start();
    assert_eq!(messages(&node, "garden").len(), 61, "all of it was moved");
    drop(node);

    let node = setup.env("HISTORY_MAX_AGE", "2").start();
    let ids = || messages(&node, "garden").iter().map(|message| message["id"].clone()).collect::<Vec<_>>();
    eventually("only what is young enough is there", || ids() == [young.clone()]);
    eventually("the archive has nothing else", || {
        let (messages, changes) = ("SELECT count(*) FROM chat.messages", "SELECT count(*) FROM chat.changes");
        database.sql(changes).trim() == "0" && ["0", "1"].contains(&database.sql(messages).trim())
    });
    let stream = redis::cmd("XRANGE").arg("propromo:{channel:garden}:log").arg("-").arg("+").to_owned();
    let entries: Vec<redis::Value> = redis.ask(stream).expect("Redis answers");
    assert_eq!(entries.len(), 1, "{entries:?}");
}
