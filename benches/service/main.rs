//! The running server over real sockets, beside the least that could do the same:
//! `cargo bench --bench service`, or `cargo bench --bench service -- ticket` for one group.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{ALICE, BOB, Client, Server, eventually, http};

/// Clients at a time, each with one connection that it keeps.
const CLIENTS: u64 = 16;

/// Logins at a time, of which as many hashes are computed at once as the server allows: half the cores.
const LOGINS: u64 = 4;

criterion_group!(service, ticket, login);

criterion_main!(service, latency_beside_logins);

/// `/ws_ticket`: reads the head, checks the access token, signs a ticket, through the gateway; beside a bare tiny_http that
/// answers the same bytes to whatever comes.
fn ticket(c: &mut Criterion) {
    let server = start();
    let bearer = format!("Bearer {}", server.access(ALICE));
    let request = http::get("/ws_ticket", &[("Authorization", &bearer)]);
    let answer = server.connect().send(&request).response();
    assert_eq!(answer.status, 200);
    let bare = bare(answer.text().to_owned());

    let mut group = c.benchmark_group("ticket");
    group.throughput(Throughput::Elements(1));
    for (name, address) in [("propromo-chat", server.address), ("bare tiny_http", bare)] {
        group.bench_function(name, |b| b.iter_custom(|times| exchanges(address, request.as_bytes(), CLIENTS, times)));
    }
    group.finish();
}

/// `POST /login`, beside nothing but the hash in as many threads as the server gives it.
fn login(c: &mut Criterion) {
    let server = start();
    let hash = bcrypt::hash(ALICE.password, 12).expect("a hash");
    let at_once = (thread::available_parallelism().map_or(1, usize::from) / 2).max(1);

    let mut group = c.benchmark_group("login");
    group.sample_size(10).measurement_time(Duration::from_secs(15)).throughput(Throughput::Elements(1));
    group.bench_function("propromo-chat", |b| {
        b.iter_custom(|times| exchanges(server.address, &login_request(), LOGINS, times));
    });
    group.bench_function("the hash alone", |b| {
        b.iter_custom(|times| {
            let check = |_: &mut ()| assert!(bcrypt::verify(ALICE.password, &hash).expect("a hash"));
            shared(&mut vec![(); at_once], times, check)
        });
    });
    group.finish();
}

/// What a message's way takes while as many log in as can; prints, since this is about the slowest of a hundred.
fn latency_beside_logins() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let server = start();
    let (mut alice, mut bob) = (server.join(ALICE, "demo"), server.join(BOB, "demo"));
    let quiet = latencies(&mut alice, &mut bob);
    let (enough, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let crowd: Vec<_> = (0..LOGINS)
        .map(|_| {
            let (enough, count, address) = (enough.clone(), count.clone(), server.address);
            thread::spawn(move || {
                let mut connection = Kept::open(address);
                while !enough.load(Ordering::Relaxed) {
                    connection.exchange(&login_request());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("the crowd is at work", || count.load(Ordering::Relaxed) >= LOGINS);
    let busy = latencies(&mut alice, &mut bob);
    enough.store(true, Ordering::Relaxed);
    crowd.into_iter().for_each(|client| client.join().expect("a client"));
    for (percent, name) in [(50, "p50"), (99, "p99")] {
        let at = |all: &[Duration]| all[all.len() * percent / 100];
        println!(
            "chat beside logins/{name}: {:?} quiet, {:?} beside {} logins: {:.2} times as long",
            at(&quiet),
            at(&busy),
            count.load(Ordering::Relaxed),
            at(&busy).as_secs_f64() / at(&quiet).as_secs_f64()
        );
    }
}

fn start() -> Server {
    Server::with().env("LOGIN_RATE", "0").env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start()
}

fn login_request() -> Vec<u8> {
    let body = serde_json::json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    http::post("/login", "application/json", body)
}

/// From saying to hearing at the other end, 50 a second for a while; sorted.
fn latencies(alice: &mut Client, bob: &mut Client) -> Vec<Duration> {
    let mut all: Vec<_> = (0..400)
        .map(|n| {
            thread::sleep(Duration::from_millis(20));
            let (text, begin) = (n.to_string(), Instant::now());
            alice.say(text.as_str());
            while bob.hear_message().text != text {}
            begin.elapsed()
        })
        .collect();
    all.sort();
    all
}

/// The least: tiny_http, whose requests are answered on four threads.
fn bare(body: String) -> SocketAddr {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a server"));
    for _ in 0..4 {
        let (server, body) = (server.clone(), body.clone());
        thread::spawn(move || {
            for request in server.incoming_requests() {
                let kind = tiny_http::Header::from_bytes("Content-Type", "application/json").expect("a header");
                // Fails when the bench has ended.
                let _ = request.respond(tiny_http::Response::from_string(body.as_str()).with_header(kind));
            }
        });
    }
    server.server_addr().to_ip().expect("an address")
}

/// How long so many exchanges take, shared by so many clients.
fn exchanges(address: SocketAddr, request: &[u8], clients: u64, times: u64) -> Duration {
    let mut connections: Vec<_> = (0..clients).map(|_| Kept::open(address)).collect();
    shared(&mut connections, times, |connection| connection.exchange(request))
}

/// How long it takes these to do something so often, each on a thread of its own.
fn shared<T: Send>(workers: &mut [T], times: u64, what: impl Fn(&mut T) + Sync) -> Duration {
    let left = AtomicU64::new(times);
    let begin = Instant::now();
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    what(worker);
                }
            });
        }
    });
    begin.elapsed()
}

/// A connection that is kept; reads no more of an answer than where it ends.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn open(address: SocketAddr) -> Kept {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Kept(BufReader::new(stream))
    }

    fn exchange(&mut self, request: &[u8]) {
        self.0.get_ref().write_all(request).expect("a request");
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        std::io::copy(&mut self.0.by_ref().take(length), &mut std::io::sink()).expect("a body");
    }
}
