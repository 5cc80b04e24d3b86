//! Tests of connections over real sockets.

use super::*;
use crate::{
    gateway::handler::Handler,
    http::reply::Request,
    metrics::messages::MessageMetrics,
    server::{
        test_support::{connected, limits},
        upgrade::NoDoors,
    },
};
use prometheus_client::metrics::counter::Counter;
use std::{io::Read, net::Shutdown, thread};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Opens a WebSocket at `/chat/…` unless the room is `closed`; the session sends back what it gets.
struct OneDoor;

impl Upgrades for OneDoor {
    fn owns(&self, segments: &[String]) -> bool {
        segments.is_empty() || segments[0] == "chat"
    }

    fn open(&self, _: &Head, segments: &[String]) -> Result<Session, Reply> {
        if segments.last().is_some_and(|room| room == "closed") {
            return Err(self.refuse(segments, &Reason::RoomDenied.into()));
        }
        Ok(Box::new(|mut stream, early| {
            stream.write_all(&early).unwrap();
            Some(Box::new(move || _ = io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap()))
        }))
    }

    fn refuse(&self, segments: &[String], refusal: &Refusal) -> Reply {
        NoDoors.refuse(segments, refusal)
    }

    fn permit(&self, head: &Head, reply: &mut Reply) {
        NoDoors.permit(head, reply);
    }
}

fn service(limits: Limits) -> Arc<Service> {
    let handler = |request: Request| Reply {
        status: 200,
        headers: vec![("Content-Type", "text/plain".to_owned())],
        body: [request.path.as_bytes(), b" ", &request.body].concat(),
    };
    let gateway = Gateway::start(1, Handler::new(handler)).unwrap();
    let metrics = Arc::new(Metrics::new(
        &MessageMetrics::default(),
        &Counter::default(),
        &crate::metrics::histogram::Histogram::default(),
        0,
    ));
    let places = AddressPlaces::new(0);
    Arc::new(Service::new(limits, vec![], gateway, Box::new(OneDoor), metrics, places))
}

/// Everything that the server sends until it closes, to a client that sends `request` and nothing more.
fn conversation(service: &Arc<Service>, request: &[u8]) -> String {
    let (mut client, server) = connected();
    let service = service.clone();
    let thread = thread::spawn(move || service.serve(server, PEER).map(|rest| rest()));
    client.write_all(request).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    thread.join().unwrap();
    String::from_utf8(answers).unwrap()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

const UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let answers = conversation(
        &service(limits()),
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nAGET /b HTTP/1.1\r\nHost: x\r\n\r\n\
          POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nC\r\n0\r\n\r\n",
    );
    assert_eq!(statuses(&answers), ["200", "200", "200"]);
    let places = ["/a A", "/b ", "/c C"].map(|body| answers.find(body).unwrap());
    assert!(places.is_sorted(), "{answers}");
}

#[test]
fn an_upgrade_may_follow_plain_requests_and_gets_what_came_early() {
    let request = format!("GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET /chat/room HTTP/1.1\r\n{UPGRADE}early frame");
    let answers = conversation(&service(limits()), request.as_bytes());
    assert!(answers.ends_with("/x early frame"), "{answers}");
}

#[test]
fn a_refused_handshake_leaves_the_connection_usable() {
    let request = format!("GET /chat/closed HTTP/1.1\r\n{UPGRADE}GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    let answers = conversation(&service(limits()), request.as_bytes());
    assert_eq!(statuses(&answers), ["403", "200"]);
    assert!(answers.contains("\"room_denied\""), "{answers}");
}

#[test]
fn a_plain_get_at_a_door_is_told_to_upgrade_except_at_the_root() {
    let request = b"GET /chat/room HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /chat/room HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = conversation(&service(limits()), request);
    assert_eq!(statuses(&answers), ["426", "200", "200"]);
    assert!(answers.contains("\r\nUpgrade: websocket\r\n"), "{answers}");
}

#[test]
fn an_upgrade_where_no_door_is_finds_nothing() {
    let answers = conversation(&service(limits()), format!("GET /x HTTP/1.1\r\n{UPGRADE}").as_bytes());
    assert_eq!(statuses(&answers), ["404"]);
    assert!(answers.contains("\"not_found\""), "{answers}");
}

#[test]
fn an_ambiguous_request_ends_the_connection() {
    let answers = conversation(
        &service(limits()),
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
          GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(statuses(&answers), ["400"]);
    assert!(answers.contains("\r\nConnection: close\r\n"), "{answers}");
}

#[test]
fn a_path_that_can_not_be_decoded_is_refused() {
    assert_eq!(statuses(&conversation(&service(limits()), b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n")), ["400"]);
}

#[test]
fn a_client_that_still_sends_its_large_body_sees_the_refusal() {
    let mut request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n".to_vec();
    request.resize(request.len() + 200_000, b'x');
    assert_eq!(statuses(&conversation(&service(limits()), &request)), ["413"]);
}

#[test]
fn a_slow_head_is_answered_with_408() {
    let service = service(Limits { head_deadline: Duration::from_millis(30), ..limits() });
    let (mut client, server) = connected();
    let thread = thread::spawn(move || service.serve(server, PEER).map(|rest| rest()));
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["408"]);
    drop(client);
    thread.join().unwrap();
}

#[test]
fn connections_are_kept_only_for_those_who_want_it() {
    let service = service(limits());
    let twice = |request: &str| conversation(&service, request.repeat(2).as_bytes());
    let kept = twice("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(kept.matches("\r\nConnection: keep-alive\r\n").count(), 2, "{kept}");
    for request in ["GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"] {
        let answers = twice(request);
        assert_eq!(statuses(&answers), ["200"]);
        assert!(answers.contains("\r\nConnection: close\r\n"), "{answers}");
    }
}

#[test]
fn a_stopping_server_finishes_the_request_and_closes() {
    let service = service(limits());
    service.stop();
    let request = format!("GET /chat/room HTTP/1.1\r\n{UPGRADE}");
    assert_eq!(statuses(&conversation(&service, request.as_bytes())), ["503"]);
    let answers = conversation(&service, &b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2));
    assert_eq!(statuses(&answers), ["200"]);
    assert_eq!(service.in_flight(), 0);
}

#[test]
fn a_head_request_gets_no_body() {
    let answers = conversation(
        &service(limits()),
        b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /chat/a HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(statuses(&answers), ["200", "426"]);
    assert!(answers.ends_with("\r\n\r\n"), "{answers}");
}

#[test]
fn a_handshake_that_comes_while_the_server_stops_is_reported() {
    let service = service(limits());
    service.stop();
    let answers = conversation(&service, format!("GET /chat/a HTTP/1.1\r\n{UPGRADE}").as_bytes());
    assert_eq!(statuses(&answers), ["503"]);
    let metrics = service.metrics.render();
    assert!(metrics.contains("refusals_total{reason=\"unavailable\"} 1"), "{metrics}");
}
