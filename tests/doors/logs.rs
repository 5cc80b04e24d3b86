//! The log: one JSON object a line if that is wanted, and on each line about a request the id that its answer has.

use serde_json::Value;
use support::{ALICE, BOB, Client, DEMO, Response, Server, eventually, http::get, server::Setup, ws::handshake};

fn with_json() -> Setup {
    Server::with().env("LOG_FORMAT", "json")
}

#[track_caller]
fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    log.lines().map(read).collect()
}

/// Waits for a line about this reason, and gives the id on it.
#[track_caller]
fn logged_id(server: &Server, reason: &str) -> String {
    let mut line = Value::Null;
    eventually("the refusal is logged", || {
        let found = lines(server).into_iter().find(|line| line["reason"] == reason);
        line = found.unwrap_or_default();
        !line.is_null()
    });
    line["request"].as_str().unwrap_or_else(|| panic!("no id: {line}")).to_owned()
}

#[track_caller]
fn id_of(answer: &Response) -> &str {
    let ids = answer.headers.iter().filter(|(name, _)| name == "x-request-id").count();
    assert_eq!(ids, 1, "{answer:?}");
    answer.header("x-request-id").expect("an id")
}

#[test]
fn every_line_is_one_json_object_with_time_level_and_place() {
    let mut server = with_json().start();
    server.log_in_as(ALICE.email, "wrong");
    server.get("/nowhere");
    server.join(ALICE, DEMO).say_and_hear("hello");
    server.terminate();
    let lines = lines(&server);
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        assert!(line["timestamp"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{line}");
        for field in ["level", "target", "message"] {
            assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {line}");
        }
    }
}

#[test]
fn a_refused_request_is_found_in_the_log_by_the_id_of_its_answer() {
    let server = with_json().start();
    let answer = server.log_in_as(ALICE.email, "wrong");
    assert_eq!(id_of(&answer), logged_id(&server, "wrong_credentials"));
    let answer = server.get("/nowhere");
    assert_eq!(id_of(&answer), logged_id(&server, "not_found"));
}

#[test]
fn so_is_one_that_no_endpoint_has_seen() {
    let server = with_json().start();
    let answer = server.connect().send("GET / HTTP/1.1\r\n\r\n").response();
    assert_eq!(answer.status, 400);
    assert_eq!(id_of(&answer), logged_id(&server, "bad_request"));
    let answer = server.get("/chat/demo");
    assert_eq!(id_of(&answer), logged_id(&server, "upgrade_required"));
    let long = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    let answer = server.connect().send(long).response();
    assert_eq!(id_of(&answer), logged_id(&server, "body_too_large"));
}

#[test]
fn a_refused_handshake_is_found_by_the_id_of_its_answer() {
    let server = with_json().start();
    let answer = server.refused("/chat/demo?auth=rubbish", &[]);
    assert_eq!(id_of(&answer), logged_id(&server, "token_malformed"));
}

#[test]
fn what_happens_on_a_websocket_has_the_id_of_its_handshake() {
    let server = with_json().env("MESSAGE_RATE", "1").start();
    let mut client = server.join(ALICE, DEMO);
    let id = id_of(&client.opened).to_owned();
    (0..60).for_each(|n| _ = client.try_say(n.to_string()));
    assert_eq!(id, logged_id(&server, "rate_limited"));
}

#[test]
fn so_has_what_another_thread_does_to_it() {
    let server = with_json().env("SEND_QUEUE", "65536").env("MESSAGE_RATE", "0").start();
    let deaf = server.join(BOB, DEMO);
    let mut alice = server.join(ALICE, DEMO);
    // More than the kernel's buffers on both sides hold, in the end.
    let text = "x".repeat(16_000);
    for _ in 0..1500 {
        alice.say_and_hear(&text);
        if server.log().contains("slow_reader") {
            break;
        }
    }
    assert_eq!(id_of(&deaf.opened), logged_id(&server, "slow_reader"));
}

// Seen to fail with LOG_REFUSALS=0: each has a line.
#[test]
fn a_flood_of_refusals_is_summed_up_and_all_are_counted() {
    let mut server = Server::with().env("LOG_REFUSALS", "5").env("ADMIN_LISTEN", "127.0.0.1:0").start();
    for _ in 0..100 {
        assert_eq!(server.get("/nowhere").status, 404);
        assert_eq!(server.refused("/chat/demo?auth=rubbish", &[]).status, 401);
    }
    let figures = support::Connection::open(server.admin_address()).send(get("/metrics", &[])).response();
    for reason in ["not_found", "token_malformed"] {
        let counted = format!("propromo_chat_refusals_total{{reason=\"{reason}\"}} 100");
        assert!(figures.text().lines().any(|line| line == counted), "{}", figures.text());
    }
    assert!(figures.text().contains("propromo_chat_refusals_summed_total 190"), "{}", figures.text());
    server.terminate();
    for reason in ["not_found", "token_malformed"] {
        let word = format!("reason=\"{reason}\"");
        let log = server.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&word)).collect();
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[5].contains("refused as well") && lines[5].contains("client=127.0.0.1 count=95"), "{}", lines[5]);
    }
}

#[test]
fn requests_on_one_connection_have_ids_of_their_own() {
    let server = Server::start();
    let mut connection = server.connect();
    let first = connection.send(get("/healthz", &[])).response();
    let second = connection.send(get("/healthz", &[])).response();
    let third = connection.send(handshake("/chat/demo?auth=rubbish", &[])).response();
    let ids = [id_of(&first), id_of(&second), id_of(&third)];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn a_trusted_proxy_chooses_the_id_and_nobody_else() {
    let named = |server: &Server| {
        let headers = [("X-Request-Id", "from-the-proxy"), ("Connection", "close")];
        let plain = server.connect().send(get("/healthz", &headers)).response();
        let refused = server.refused("/chat/demo?auth=rubbish", &headers[..1]);
        let token = server.token(ALICE);
        let opened = Client::try_open(server.address, &format!("/chat/demo?auth={token}"), &headers[..1]);
        let opened = opened.unwrap_or_else(|refused| panic!("{}", refused.text())).opened;
        [plain, refused, opened].map(|answer| id_of(&answer) == "from-the-proxy")
    };
    assert_eq!(named(&with_json().env("TRUSTED_PROXIES", "127.0.0.1").start()), [true; 3]);
    assert_eq!(named(&with_json().start()), [false; 3]);
}

#[test]
fn an_id_that_could_forge_a_line_is_replaced_even_if_a_proxy_sends_it() {
    let server = with_json().env("TRUSTED_PROXIES", "127.0.0.1").start();
    let answer = server.connect().send(get("/nowhere", &[("X-Request-Id", "a\",\"level\":\"x")])).response();
    assert_eq!(id_of(&answer), logged_id(&server, "not_found"));
    assert!(id_of(&answer).bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
}

#[test]
fn each_request_and_handshake_has_a_line_if_that_is_wanted_and_none_has_a_secret() {
    let server = with_json().env("ACCESS_LOG", "true").env("PUBLIC_ROOM_CHANGES", "creator").start();
    let health = server.get("/healthz");
    assert_eq!(server.get("/nowhere/secret-path?secret-query").status, 404);
    assert_eq!(server.refused("/chat/demo?auth=secret-token", &[]).status, 401);
    let token = server.token(ALICE);
    let opened = server.enter(&token, DEMO);
    let answered = |status: u16| {
        let is_it =
            move |line: &Value| line["message"] == "answered" && line["status"] == status && line["endpoint"] != "";
        move |line: &Value| is_it(line) && line["client"] == "127.0.0.1" && line["seconds"].is_f64()
    };
    let mut seen = Vec::new();
    eventually("all are logged", || {
        seen = lines(&server);
        [200, 404, 401, 101].iter().all(|status| seen.iter().any(answered(*status)))
    });
    let of = |answer: &Response| seen.iter().find(|line| line["request"] == id_of(answer)).expect("a line");
    assert_eq!(of(&health)["endpoint"], "/healthz");
    assert_eq!(of(&health)["bytes"], health.body.len());
    assert_eq!(of(&opened.opened)["method"], "GET");
    let log = server.log();
    assert!(!log.contains("secret-") && !log.contains(&token), "{log}");
}

#[test]
fn requests_have_no_line_unless_that_is_wanted() {
    let server = with_json().start();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/nowhere").status, 404);
    logged_id(&server, "not_found");
    assert!(lines(&server).iter().all(|line| line["message"] != "answered"), "{}", server.log());
}
