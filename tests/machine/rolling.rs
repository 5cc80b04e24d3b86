//! Nodes behind HAProxy that never tries a request again are restarted one after the other: nobody notices.

use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use support::{
    ALICE, Client, Connection, Server, eventually, free_address,
    http::{get, post},
    redis::Redis,
    server::Setup,
};

/// HAProxy without a second try: what a node refuses, clients see.
struct Haproxy {
    address: SocketAddr,
    child: Child,
}

impl Haproxy {
    #[track_caller]
    fn start(dir: &Path, nodes: &[Server]) -> Haproxy {
        let address = free_address();
        let nodes: String = nodes
            .iter()
            .enumerate()
            .map(|(n, node)| format!("    server node-{n} {} check inter 200ms fall 2 rise 1\n", node.address))
            .collect();
        let config = format!(
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n    \
             timeout tunnel 30s\n    timeout check 5s\n    retries 0\n    no option redispatch\n\
             frontend chat\n    bind {address}\n    default_backend nodes\n\
             backend nodes\n    option httpchk GET /readyz\n    http-check expect status 200\n    \
             http-response set-header X-Node %s\n{nodes}"
        );
        let file = dir.join("rolling.cfg");
        fs::write(&file, config).expect("the configuration");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Haproxy { address, child: command.spawn().expect("HAProxy is installed; `scripts/install haproxy` does it") }
    }

    /// Whether requests reach this node.
    fn sends_to(&self, node: usize) -> bool {
        let request = get("/healthz", &[("Connection", "close")]);
        let answer =
            Connection::try_open(self.address).and_then(|mut connection| connection.send(request).try_response());
        answer.is_ok_and(|answer| answer.header("x-node") == Some(&format!("node-{node}")))
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended by itself; nothing more can be done about errors here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node(redis: &Redis, setup: Setup) -> Setup {
    setup
        .env("CHAT_STORAGE_URL", redis.url())
        .env("TRUSTED_PROXIES", "127.0.0.1,::1")
        .env("TICKET_RATE", "0")
        // A load balancer that gets little of a busy machine takes some seconds to notice.
        .env("DRAIN_DELAY", "10s")
}

/// Asks for a page, for a ticket, and opens a WebSocket with it; what went wrong, if something did.
fn visit(proxy: SocketAddr, access: &str) -> Result<(), String> {
    let wrong = |what: &str, status: u16| format!("{what}: {status}");
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut connection = Connection::try_open(proxy).map_err(|error| format!("{path}: {error}"))?;
        let answer = connection.send(get(path, headers)).try_response().map_err(|error| format!("{path}: {error}"))?;
        if answer.status == 200 { Ok(answer) } else { Err(wrong(path, answer.status)) }
    };
    ask("/healthz", &[("Connection", "close")])?;
    let authorization = format!("Bearer {access}");
    let answer = ask("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")])?;
    let ticket = answer.json()["ticket"].as_str().unwrap_or_default().to_owned();
    let opened = Client::try_open(proxy, &format!("/channel/rolling?ticket={ticket}"), &[]);
    opened.map(drop).map_err(|answer| wrong("/channel", answer.status))
}

#[test]
fn nobody_is_refused_while_nodes_are_restarted_one_after_the_other() {
    let redis = Redis::start();
    let mut demo = Server::start();
    demo.terminate();
    let accounts = format!("sqlite:{}", demo.data_dir().join("chat.db").display());
    let first = node(&redis, demo.setup().clone().without_demo());
    let second = node(&redis, Server::with().without_demo().env("DATABASE_URL", accounts));
    // Ports that nobody else gets while their nodes are away.
    let mut nodes: Vec<Server> =
        [first, second].map(|node| node.env("LISTEN", free_address().to_string()).start()).into();
    let proxy = Haproxy::start(&demo.setup().path("."), &nodes);
    for n in 0..2 {
        eventually("HAProxy finds the node", || proxy.sends_to(n));
    }
    let body = json!({"user": ALICE.email, "pwd": ALICE.password}).to_string();
    let login = Connection::open(proxy.address).send(post("/auth", "application/json", body)).response();
    let access = login.json()["token"].as_str().expect("a token").to_owned();
    let (stop, visits) = (AtomicBool::new(false), AtomicU64::new(0));
    let failures: Vec<String> = thread::scope(|scope| {
        let visitor = || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                failures.extend(visit(proxy.address, &access).err());
                visits.fetch_add(1, Ordering::Relaxed);
            }
            failures
        };
        let visitors: Vec<_> = (0..4).map(|_| scope.spawn(visitor)).collect();
        for (n, place) in nodes.iter_mut().enumerate() {
            let before = visits.load(Ordering::Relaxed);
            eventually("there is a load", || visits.load(Ordering::Relaxed) > before + 20);
            assert!(place.terminate().success());
            *place = place.setup().clone().env("LISTEN", place.address.to_string()).start();
            eventually("HAProxy finds the node again", || proxy.sends_to(n));
        }
        stop.store(true, Ordering::Relaxed);
        visitors.into_iter().flat_map(|visitor| visitor.join().expect("a visitor")).collect()
    });
    assert!(failures.is_empty(), "of {}: {failures:?}", visits.load(Ordering::Relaxed));
}
