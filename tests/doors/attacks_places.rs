//! Attacks on the places: one address that takes all connections, or all places to say who one is.

use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Instant,
};
use support::{ALICE, Client, Connection, DEMO, PATIENCE, Server, eventually, http::get, ws::handshake};

const SHARE: usize = 20;

/// Connects from another address of this machine, as if it were another client's.
fn connect_from(client: Ipv4Addr, server: SocketAddr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((client, 0)).into()).expect("all of 127.0.0.0/8 is this machine");
    socket.connect(&server.into()).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
    socket.into()
}

fn answer_to(stream: TcpStream, request: &str) -> u16 {
    Connection::over(stream).expect("a socket").send_what_fits(request).response().status
}

// Seen to fail with MAX_CONNECTIONS_PER_ADDRESS=0: the crowd takes all 40, and the other address gets 503.
#[test]
fn one_address_takes_no_more_than_its_share_of_the_connections() {
    let setup = Server::with().env("MAX_CONNECTIONS", "40").env("IDLE_DEADLINE", "600");
    let server = setup.env("MAX_CONNECTIONS_PER_ADDRESS", SHARE.to_string()).start();
    let crowd: Vec<_> = (0..SHARE).map(|_| connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address)).collect();
    for _ in 0..2 * SHARE {
        let one_more = connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address);
        assert_eq!(answer_to(one_more, &get("/healthz", &[])), 503);
    }
    server.logs(&["MAX_CONNECTIONS_PER_ADDRESS"]);
    // Another address, and the whole chat.
    assert_eq!(server.get("/healthz").status, 200);
    server.join(ALICE, DEMO).say_and_hear("still here");
    drop(crowd);
    let again = || answer_to(connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address), &get("/healthz", &[])) == 200;
    eventually("its places are free again", again);
}

// Seen to fail with `Service::place` always `Ok(None)`: one client behind the proxy takes any number.
#[test]
fn behind_a_proxy_each_client_has_a_share_of_its_own() {
    let setup = Server::with().env("TRUSTED_PROXIES", "127.0.0.1").env("STREAM_PUBLIC", "true");
    let server = setup.env("MAX_CONNECTIONS_PER_ADDRESS", "2").start();
    let open = |client: &str| Client::try_open(server.address, "/stream", &[("X-Forwarded-For", client)]);
    let held: Vec<_> = (0..2).map(|_| open("198.51.100.7").expect("let in")).collect();
    let refusal = open("198.51.100.7").err().expect("its share is taken");
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "overloaded"));
    assert!(open("198.51.100.8").is_ok());
    drop(held);
    eventually("its places are free again", || open("198.51.100.7").is_ok());
}

// Seen to fail with MAX_UNAUTHENTICATED_PER_ADDRESS=256: the other address gets 503.
#[test]
fn one_address_takes_no_more_than_its_share_of_the_places_to_say_who_one_is() {
    let setup = Server::with().env("MAX_UNAUTHENTICATED", "8").env("AUTH_DEADLINE", "600");
    let server = setup.env("MAX_UNAUTHENTICATED_PER_ADDRESS", "4").start();
    let silent: Vec<_> = (0..4).map(|_| Client::open(server.address, "/channel/garden")).collect();
    for _ in 0..8 {
        let refusal = server.refused("/channel/garden", &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (503, "overloaded"));
    }
    let other = connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address);
    assert_eq!(answer_to(other, &handshake("/channel/garden", &[])), 101);
    drop(silent);
    eventually("a place is given back", || Client::try_open(server.address, "/channel/garden", &[]).is_ok());
}

// Seen to fail with ANONYMOUS_RATE=0: 64 messages of 16 KiB are stored at once.
#[test]
fn one_address_without_an_account_says_no_more_by_many_connections() {
    let server = Server::with().env("ANONYMOUS_RATE", "50/s").start();
    let text = "x".repeat(15 << 10);
    let frame =
        |name: usize| json!({"event_type": "send", "name": format!("n{name}"), "room_id": 1, "msg": text}).to_string();
    let (started, mut refused) = (Instant::now(), 0);
    for name in 0..8 {
        let mut client = Client::open(server.address, "/chats/1/ws");
        (0..8).for_each(|_| client.say(frame(name)));
        client.say("{}");
        // Its own answers end with that of what can't be read.
        loop {
            match client.hear_frame()["code"].as_u64() {
                Some(303) => break,
                Some(code) => {
                    assert_eq!(code, 429);
                    refused += 1;
                }
                None => {}
            }
        }
    }
    // 250 KiB at once, and 50 each second.
    let allowed = (250 + 50 * (started.elapsed().as_secs() as usize + 1)) / 15;
    assert!(refused >= 64usize.saturating_sub(allowed), "{refused} of 64 are refused, {allowed} allowed");
    // Another address says what it likes.
    assert_eq!(answer_to(connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address), &get("/chats/1", &[])), 200);
    let other = connect_from(Ipv4Addr::new(127, 0, 0, 2), server.address);
    assert_eq!(answer_to(other, &handshake("/chats/1/ws", &[])), 101);
}
