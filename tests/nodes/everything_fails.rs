//! One failure after the other, while people log in and talk; then the whole log of all nodes is read.

use crate::several::node;
use serde_json::Value;
use std::collections::HashMap;
use support::{
    ALICE, BOB, Client, DEMO, Server, eventually, forge,
    postgres::{Cluster, Database},
    redis::Redis,
};

const TEXT: &str = "whispered";
const WRONG_PASSWORD: &str = "a-password-mistyped";

/// What each node is poked with during each failure: messages, and requests of each kind. A request may take as long as
/// a node waits for PostgreSQL.
const MESSAGES: usize = 30;
const REQUESTS: usize = 3;

/// Two nodes, somebody in a room of each, and all that must be in no log.
struct Town {
    servers: Vec<Server>,
    members: Vec<Client>,
    /// A genuine token, from which others are forged.
    token: String,
    /// Every token that was shown to a node.
    shown: Vec<String>,
    said: usize,
    /// Requests that may each have a line of their own: they were refused.
    refused: usize,
}

impl Town {
    fn start(redis: &Redis, database: &Database<'_>) -> Town {
        let setup = || node(&redis.url(), Some(&database.url())).env("LOG_FORMAT", "json");
        // Nobody reads while requests wait for their time-outs, so nobody answers pings.
        let start = || {
            let setup = setup().env("PING_INTERVAL", "600").env("PONG_TIMEOUT", "1200");
            setup.env("TOKEN_TTL", "3600").start()
        };
        let servers = vec![start(), start()];
        let token = servers[0].token(ALICE);
        let mut town = Town { members: Vec::new(), shown: vec![token.clone()], token, said: 0, refused: 0, servers };
        for n in 0..town.servers.len() {
            let path = town.path();
            town.members.push(Client::open(town.servers[n].address, &path));
        }
        town
    }

    /// A way into the room with a token that nobody has used.
    fn path(&mut self) -> String {
        let token = forge(&self.token, |_| {});
        let path = format!("/chat/{DEMO}?auth={token}");
        self.shown.push(token);
        path
    }

    /// Does all that people do, whether or not it works.
    fn poke(&mut self) {
        for n in 0..self.servers.len() {
            for _ in 0..MESSAGES {
                self.said += 1;
                self.members[n].say(format!("{TEXT} {}", self.said));
            }
            for _ in 0..REQUESTS {
                let path = self.path();
                let (server, refused) = (&self.servers[n], &mut self.refused);
                for _ in 0..2 {
                    // The second time the token is spent, if it was worth anything.
                    *refused += usize::from(Client::try_open(server.address, &path, &[]).is_err());
                }
                *refused += usize::from(server.login(ALICE).status != 200);
                *refused += usize::from(server.log_in_as(BOB.email, WRONG_PASSWORD).status != 200);
                *refused += usize::from(server.get("/readyz").status != 200);
                *refused += usize::from(server.get("/chats").status != 200);
            }
        }
    }

    /// Waits until all works again on every node.
    fn recovers(&mut self) {
        for n in 0..self.servers.len() {
            eventually("the node is ready", || self.servers[n].get("/readyz").status == 200);
            eventually("a login works", || {
                let works = self.servers[n].login(ALICE).status == 200;
                self.refused += usize::from(!works);
                works
            });
            eventually("a token works", || {
                let path = self.path();
                let works = Client::try_open(self.servers[n].address, &path, &[]).is_ok();
                self.refused += usize::from(!works);
                works
            });
            eventually("a message is stored", || {
                self.said += 1;
                let text = format!("{TEXT} {}", self.said);
                self.members[n].say(text.as_str());
                loop {
                    let frame: Value = serde_json::from_str(&self.members[n].hear()).expect("frames are JSON");
                    match (frame["text"].as_str(), frame["success"].as_bool()) {
                        (Some(heard), _) if heard == text => return true,
                        (None, Some(false)) => return false,
                        _ => {}
                    }
                }
            });
        }
    }
}

#[test]
fn whatever_fails_the_log_tells_it_once_and_no_secret() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut redis = Redis::start();
    let mut town = Town::start(&redis, &database);
    town.poke();

    // Killed.
    redis.kill();
    town.poke();
    redis.run();
    town.recovers();
    // Standing still.
    redis.pause();
    town.poke();
    redis.go_on();
    town.recovers();
    // Restarted empty.
    redis.kill();
    redis.wipe();
    redis.run();
    town.poke();
    town.recovers();
    // Read-only, as a master is that was demoted.
    redis.follow("127.0.0.1", "1");
    town.poke();
    redis.follow("NO", "ONE");
    town.recovers();
    // Without the replicas that it shall have.
    redis.configure("min-replicas-to-write", "1");
    town.poke();
    redis.configure("min-replicas-to-write", "0");
    town.recovers();
    // Out of memory.
    redis.configure("maxmemory", "1");
    town.poke();
    redis.configure("maxmemory", "0");
    town.recovers();
    // PostgreSQL away, then standing still.
    cluster.stop();
    town.poke();
    cluster.run();
    town.recovers();
    cluster.pause();
    town.poke();
    cluster.resume();
    town.recovers();

    let logs: Vec<String> = town.servers.iter().map(Server::log).collect();
    for log in &logs {
        no_secret_is_in(log, &town.shown);
        each_event_is_a_line(log);
    }
    let refusals = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains("\"reason\"")).count();
    assert!(refusals <= town.refused, "{refusals} lines for {} refusals", town.refused);
}

fn no_secret_is_in(log: &str, tokens: &[String]) {
    assert!(!log.contains(TEXT), "a message is in the log");
    for password in [ALICE.password, BOB.password, WRONG_PASSWORD, support::postgres::PASSWORD] {
        assert!(!log.contains(password), "{password} is in the log");
    }
    for token in tokens {
        // The header is the same in all, and says nothing.
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "a part of a token is in the log");
        }
    }
}

/// Eight failures, of which each may be noticed by more than one part of a node, but by none of them often.
fn each_event_is_a_line(log: &str) {
    const MOST: usize = 30;
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of the log is JSON");
        // A refusal has a line of its own.
        if line["reason"].is_null() {
            *kinds.entry(format!("{} {}", line["level"], line["message"])).or_default() += 1;
        }
    }
    for (kind, lines) in &kinds {
        assert!(*lines <= MOST, "{lines} lines of {kind}:\n{log}");
    }
    for told in ["Redis can't be used", "Redis can be used again", "PostgreSQL database can't be reached"] {
        assert!(kinds.keys().any(|kind| kind.contains(told)), "nothing is told of {told}: {kinds:?}");
    }
}
