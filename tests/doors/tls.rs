//! Native TLS: every door over it, renewal without a restart, and clients that do not behave.

use rustix::process::Signal;
use rustls::{ClientConfig, HandshakeKind, client::Resumption};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};
use support::{
    ALICE, BOB, CAROL, Client, Connection, DEMO, Response, Server,
    channel::fields,
    ends, eventually,
    faults::{has_panicked, order_panic, with_panics},
    http::{get, post},
    server::Setup,
    tls::{Certified, Tunnel, openssl, shake_hands, shake_hands_from, shown_soon},
    ws::handshake,
};

/// A server that speaks TLS, with its certificate.
struct Encrypted {
    server: Server,
    certified: Certified,
    trusted: Arc<ClientConfig>,
}

impl Encrypted {
    #[track_caller]
    fn start() -> Encrypted {
        Encrypted::with(|setup| setup)
    }

    #[track_caller]
    fn with(settings: impl FnOnce(Setup) -> Setup) -> Encrypted {
        let setup = Server::with();
        let certified = Certified::make(&setup.path(""), "server");
        let setup = settings(setup).env("TLS_CERT", &certified.certificate).env("TLS_KEY", &certified.key);
        Encrypted { server: setup.start(), trusted: certified.trusted(), certified }
    }

    /// Where a plain client can speak with it.
    fn tunnel(&self) -> Tunnel {
        Tunnel::to(self.server.address, self.trusted.clone())
    }

    #[track_caller]
    fn post(&self, tunnel: &Tunnel, path: &str, body: &serde_json::Value) -> Response {
        Connection::open(tunnel.address).send(post(path, "application/json", body.to_string())).response()
    }

    #[track_caller]
    fn login(&self, tunnel: &Tunnel, person: support::Person) -> serde_json::Value {
        let answer = self.post(tunnel, "/login", &json!({"email": person.email, "password": person.password}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    #[track_caller]
    fn join(&self, tunnel: &Tunnel, person: support::Person) -> Client {
        let login = self.login(tunnel, person);
        Client::open(tunnel.address, &format!("/chat/demo?auth={}", login["token"].as_str().expect("a token")))
    }
}

#[test]
fn the_first_line_says_https() {
    let encrypted = Encrypted::start();
    assert!(encrypted.server.output().contains(&format!("listening on https://{}", encrypted.server.address)));
}

#[test]
fn people_log_in_and_chat() {
    let encrypted = Encrypted::start();
    let tunnel = encrypted.tunnel();
    let (mut alice, mut bob) = (encrypted.join(&tunnel, ALICE), encrypted.join(&tunnel, BOB));
    let said = alice.say_and_hear("nobody in between hears this");
    assert_eq!(bob.hear_message(), said);
    assert_eq!(bob.say_and_hear("the same the other way").email, BOB.email);
    bob.close();
}

#[test]
fn every_door_opens() {
    let encrypted = Encrypted::with(|setup| setup.env("STREAM_PUBLIC", "true").env("STREAM_PUBLISH_KEY", "key"));
    let tunnel = encrypted.tunnel();
    let open = |path: &str| Client::open(tunnel.address, path);
    let login = encrypted.login(&tunnel, ALICE);
    let bearer = format!("Bearer {}", login["access_token"].as_str().expect("an access token"));
    let fetched = |path: &str, pointer: &str| {
        let request = get(path, &[("Authorization", &bearer)]);
        let answer = Connection::open(tunnel.address).send(request).response().json();
        answer.pointer(pointer).and_then(|token| token.as_str()).expect("a token").to_owned()
    };

    open(&format!("/chat/{DEMO}?auth={}", login["token"].as_str().expect("a token"))).say_and_hear("propromo");
    let mut tickets = open(&format!("/channel/lobby?ticket={}", fetched("/ws_ticket", "/ticket")));
    assert_eq!(fields(&tickets.post("tickets")), ["id", "name", "room", "text", "timestamp", "type", "user"]);
    let mut two_step = open(&format!("/channel/lobby?token={}", fetched("/token/ws", "/data/token")));
    two_step.ask(json!({"type": "jwt", "token": login["access_token"]}));
    assert_eq!(two_step.hear(), "authentication successful");
    let mut listener = open("/stream/blocks");
    let publish = post("/stream/blocks?key=key", "text/plain", "a block");
    assert_eq!(Connection::open(tunnel.address).send(publish).response().status, 202);
    assert_eq!(listener.hear(), "a block");
    let mut room = open("/chats/1/ws");
    room.ask(json!({"event_type": "join", "name": "ann", "room_id": 1}));
    assert_eq!(room.hear_frame()["msg"], "ann entered the room.");
}

#[test]
fn a_websocket_may_follow_plain_requests_on_one_connection() {
    let encrypted = Encrypted::start();
    let tunnel = encrypted.tunnel();
    let token = encrypted.login(&tunnel, ALICE)["token"].as_str().expect("a token").to_owned();
    let mut connection = Connection::open(tunnel.address);
    assert_eq!(connection.send(get("/", &[])).response().status, 200);
    assert_eq!(connection.send(get("/nothing", &[])).response().status, 404);
    let mut client = Client::upgrade(connection, &format!("/chat/demo?auth={token}"), &[]).expect("an upgrade");
    client.say_and_hear("on the same connection");
}

#[test]
fn a_request_in_the_first_encrypted_record_is_not_lost() {
    let encrypted = Encrypted::start();
    for _ in 0..20 {
        let mut tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
        tls.write_all(get("/healthz", &[("Connection", "close")]).as_bytes()).expect("the request can be sent");
        let mut answer = String::new();
        let _ = tls.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn the_end_is_said_as_tls_wants_it() {
    let encrypted = Encrypted::start();
    let mut tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
    tls.write_all(get("/healthz", &[("Connection", "close")]).as_bytes()).expect("the request can be sent");
    // An end without close_notify would be an error here.
    tls.read_to_end(&mut Vec::new()).expect("a complete answer and a clean end");
}

#[test]
fn other_programs_speak_with_it() {
    let encrypted = Encrypted::start();
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version: Vec<_> = version.split('=').collect();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--http1.1", "--cacert"])
            .arg(&encrypted.certified.certificate)
            .args(version)
            .args(["--data", &format!("email={}&password={}", ALICE.email, ALICE.password)])
            .arg(format!("https://{}/login", encrypted.server.address))
            .output()
            .expect("curl can be started");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(answer["success"], true);
    }
}

#[test]
fn the_command_line_talks_over_it() {
    let encrypted = Encrypted::start();
    let setup = encrypted.server.setup().clone().env("SSL_CERT_FILE", &encrypted.certified.certificate);
    let url = format!("https://localhost:{}", encrypted.server.address.port());
    let input = format!("{}\nfrom the terminal\n", ALICE.password);
    let output = setup.run_with_input(&["talk", &url, ALICE.email, "lobby", "--password-stdin"], &input);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("from the terminal"), "{output:?}");
}

#[test]
fn only_http_1_1_and_tls_1_2_or_later_are_spoken() {
    let encrypted = Encrypted::start();
    let mut config = (*encrypted.trusted).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = shake_hands(encrypted.server.address, &Arc::new(config.clone())).expect("a handshake");
    assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(shake_hands(encrypted.server.address, &Arc::new(config)).is_err());
    let old = Command::new("openssl")
        .args([
            "s_client",
            "-tls1_1",
            "-cipher",
            "DEFAULT@SECLEVEL=0",
            "-connect",
            &encrypted.server.address.to_string(),
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl can be started");
    assert!(!old.status.success());
    encrypted.server.logs(&["tls_handshake", "127.0.0.1"]);
}

#[test]
fn a_client_that_comes_back_need_not_shake_hands_in_full() {
    let encrypted = Encrypted::start();
    let mut config = (*encrypted.trusted).clone();
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    let kind = || {
        let mut tls = shake_hands(encrypted.server.address, &config).expect("a handshake");
        tls.write_all(get("/healthz", &[("Connection", "close")]).as_bytes()).expect("the request can be sent");
        // The ticket comes behind the handshake.
        tls.read_to_end(&mut Vec::new()).expect("an answer");
        tls.conn.handshake_kind()
    };
    assert_eq!(kind(), Some(HandshakeKind::Full));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn browsers_are_told_to_insist_on_tls_only_if_asked() {
    let header = |encrypted: &Encrypted| {
        let answer = Connection::open(encrypted.tunnel().address).send(get("/", &[])).response();
        answer.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(header(&Encrypted::start()), None);
    assert_eq!(header(&Encrypted::with(|s| s.env("TLS_HSTS", "3600"))).as_deref(), Some("max-age=3600"));
}

#[test]
fn a_renewed_certificate_is_shown_and_open_connections_go_on() {
    let encrypted = Encrypted::start();
    let mut alice = encrypted.join(&encrypted.tunnel(), ALICE);
    let renewed = Certified::make(&encrypted.server.setup().path(""), "renewed");
    renewed.replace(&encrypted.certified);
    encrypted.server.signal(Signal::HUP);
    shown_soon(encrypted.server.address, &renewed);
    alice.say_and_hear("undisturbed");
    assert!(shake_hands(encrypted.server.address, &encrypted.trusted).is_err(), "the old one is still shown");
}

#[test]
fn what_can_not_be_used_changes_nothing_and_is_said_once() {
    let encrypted = Encrypted::start();
    let other = Certified::make(&encrypted.server.setup().path(""), "other");
    std::fs::copy(&other.key, &encrypted.certified.key).expect("the key can be replaced");
    encrypted.server.signal(Signal::HUP);
    encrypted.server.logs(&["the certificate stays what it was", "is not the key of"]);
    encrypted.join(&encrypted.tunnel(), ALICE).say_and_hear("as before");
    assert_eq!(encrypted.server.log().matches("stays what it was").count(), 1);
}

#[test]
fn a_server_without_tls_survives_the_signal() {
    let mut server = Server::start();
    let mut alice = server.join(ALICE, DEMO);
    server.signal(Signal::HUP);
    server.logs(&["reloading"]);
    alice.say_and_hear("still here");
    assert!(server.is_running());
}

#[test]
fn who_speaks_plain_http_is_told_to_use_https() {
    let encrypted = Encrypted::start();
    let answer = encrypted.server.connect().send(get("/", &[])).response();
    assert_eq!((answer.status, answer.reason().as_str()), (400, "bad_request"));
    assert!(answer.text().contains("https://"), "{}", answer.text());
    encrypted.server.logs(&["tls_handshake", "plain HTTP", "127.0.0.1"]);
}

#[test]
fn who_speaks_tls_to_a_plain_port_is_refused_at_once() {
    // So that waiting for the rest of the request would fail the test.
    let server = Server::with().env("HEAD_DEADLINE", "3600").start();
    let config = Certified::make(&server.setup().path(""), "nobodys").trusted();
    let answer = server.connect().send(client_hello(&config)).response();
    assert_eq!((answer.status, answer.reason().as_str()), (400, "bad_request"));
    assert!(answer.text().contains("http://"), "{}", answer.text());
    server.logs(&["bad_request", "127.0.0.1"]);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn half_a_hello_is_cut_off_in_time_and_holds_up_nobody() {
    let encrypted = Encrypted::with(|setup| setup.env("HEAD_DEADLINE", "5"));
    let hello = client_hello(&encrypted.trusted);
    let half = TcpStream::connect(encrypted.server.address).expect("a connection");
    (&half).write_all(&hello[..hello.len() / 2]).expect("half of it can be sent");
    encrypted.join(&encrypted.tunnel(), ALICE).say_and_hear("meanwhile");
    assert!(ends(&half));
    encrypted.server.logs(&["tls_handshake", "too long"]);
}

#[test]
fn a_handshake_a_byte_at_a_time_is_cut_off_in_time() {
    let encrypted = Encrypted::with(|setup| setup.env("HEAD_DEADLINE", "1"));
    let hello = client_hello(&encrypted.trusted);
    let slow = TcpStream::connect(encrypted.server.address).expect("a connection");
    slow.set_read_timeout(Some(Duration::from_millis(50))).expect("a read time-out");
    let mut bytes = hello.iter();
    eventually("the server loses its patience", || {
        let _ = bytes.next().map(|byte| (&slow).write_all(&[*byte]));
        !matches!((&slow).read(&mut [0]), Err(error) if support::timed_out(&error))
    });
    assert!(bytes.next().is_some(), "it was cut off before it was done");
}

#[test]
fn what_is_no_hello_is_refused() {
    let encrypted = Encrypted::start();
    for rubbish in
        [&b"\x16\x03\x01\x00\x05hello"[..], b"\x00\x00\x00", b"\x16\xff\xff\xff\xff\xff\xff", b"\x80\x2e\x01"]
    {
        let stream = TcpStream::connect(encrypted.server.address).expect("a connection");
        (&stream).write_all(rubbish).expect("it can be sent");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(ends(&stream), "{rubbish:?}");
    }
    assert_eq!(Connection::open(encrypted.tunnel().address).send(get("/", &[])).response().status, 200);
}

#[test]
fn rubbish_behind_the_handshake_ends_that_connection_only() {
    let encrypted = Encrypted::start();
    let mut other = encrypted.join(&encrypted.tunnel(), BOB);
    let mut tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
    tls.sock.write_all(b"\x17\x03\x03\x00\x10this is no cipher").expect("it can be sent");
    assert!(tls.read(&mut [0; 1]).is_err());
    other.say_and_hear("undisturbed");
}

// Seen to fail with pumps started by `vital::spawn`: all connections end. Panics can be ordered only in debug builds.
#[cfg(debug_assertions)]
#[test]
fn a_panic_in_a_thread_that_encrypts_costs_that_connection_only() {
    let encrypted = Encrypted::with(with_panics);
    let mut bob = encrypted.join(&encrypted.tunnel(), BOB);
    bob.say_and_hear("before");
    let tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
    order_panic(&encrypted.server, "tls");
    (&tls.sock).write_all(b"\x17\x03\x03").expect("it can be sent");
    assert!(ends(&tls.sock));
    assert!(has_panicked(&encrypted.server, "tls"));
    assert_eq!(Connection::open(encrypted.tunnel().address).send(get("/", &[])).response().status, 200);
    bob.say_and_hear("undisturbed");
}

#[test]
fn a_member_that_does_not_read_is_dropped_with_1013_and_nobody_waits() {
    let encrypted = Encrypted::with(|setup| {
        setup.env("MESSAGE_RATE", "0").env("SEND_QUEUE", "65536").env("HISTORY_ON_JOIN", "0").env("SEND_STALL", "3600")
    });
    let tunnel = encrypted.tunnel();
    let token = encrypted.login(&tunnel, BOB)["token"].as_str().expect("a token").to_owned();
    let mut deaf = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
    deaf.write_all(handshake(&format!("/chat/demo?auth={token}"), &[]).as_bytes()).expect("it can be sent");
    let mut alice = encrypted.join(&tunnel, ALICE);
    let text = "x".repeat(16_000);
    eventually("the deaf one is dropped", || {
        alice.say_and_hear(&text);
        encrypted.server.log().contains("slow_reader")
    });
    // What it was sent before is still there to be read, and then the goodbye: status 1013 in a close frame.
    let mut all = Vec::new();
    let _ = deaf.read_to_end(&mut all);
    assert!(all.starts_with(b"HTTP/1.1 101 "));
    let code = 1013u16.to_be_bytes();
    assert!(all.windows(4).rev().take(200).any(|end| end[0] == 0x88 && end[2..] == code));
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer_and_is_not_waited_for() {
    // So that waiting for another request would fail the test.
    let encrypted = Encrypted::with(|setup| setup.env("IDLE_DEADLINE", "3600"));
    // The end comes with the handshake's, the request's, or alone, as it happens.
    for _ in 0..10 {
        let mut tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
        tls.write_all(get("/", &[]).as_bytes()).expect("the request can be sent");
        tls.conn.send_close_notify();
        tls.flush().expect("the end can be sent");
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).expect("an answer and an end");
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn a_large_history_arrives_whole() {
    let encrypted = Encrypted::with(|s| s.env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "500"));
    let tunnel = encrypted.tunnel();
    let mut alice = encrypted.join(&tunnel, ALICE);
    let padding = "x".repeat(15_000);
    let said: Vec<_> = (0..80).map(|n| alice.say_and_hear(&format!("{n} {padding}")).id).collect();
    let mut bob = encrypted.join(&tunnel, BOB);
    let heard: Vec<_> = (0..80).map(|_| bob.hear_message().id).collect();
    assert!(said == heard);
}

#[test]
fn a_shutdown_closes_every_client_with_1001() {
    let mut encrypted = Encrypted::start();
    let tunnel = encrypted.tunnel();
    let clients: Vec<_> = (0..4).map(|n| encrypted.join(&tunnel, [ALICE, BOB][n % 2])).collect();
    encrypted.server.signal(Signal::TERM);
    for mut client in clients {
        assert_eq!(client.close_code(), Some(1001));
    }
    assert_eq!(encrypted.server.exited().code(), Some(0));
}

#[test]
fn a_shutdown_ends_a_connection_that_waits_for_its_next_request_as_tls_wants_it() {
    let mut encrypted = Encrypted::start();
    let mut tls = shake_hands(encrypted.server.address, &encrypted.trusted).expect("a handshake");
    tls.write_all(get("/healthz", &[]).as_bytes()).expect("the request can be sent");
    assert!(tls.read(&mut [0; 1024]).is_ok_and(|length| length > 0));
    assert_eq!(encrypted.server.terminate().code(), Some(0));
    tls.read_to_end(&mut Vec::new()).expect("a clean end");
    assert!(!encrypted.server.log().contains("last encrypted bytes"), "it was waited for in vain");
}

#[test]
fn encrypted_connections_count_as_connections() {
    let encrypted = Encrypted::with(|setup| setup.env("MAX_CONNECTIONS", "2"));
    let open = || shake_hands(encrypted.server.address, &encrypted.trusted);
    let (one, two) = (open().expect("the first"), open().expect("the second"));
    assert!(open().is_err(), "one more than there may be");
    let mut turned_away = TcpStream::connect(encrypted.server.address).expect("a connection");
    turned_away.set_read_timeout(Some(support::PATIENCE)).expect("a read time-out");
    let mut told = Vec::new();
    turned_away.read_to_end(&mut told).expect("it is closed");
    assert!(told.is_empty(), "in the clear: {}", String::from_utf8_lossy(&told));
    drop((one, two));
    eventually("their places are free again", || open().is_ok());
}

#[test]
fn the_clients_address_is_the_one_in_front_of_the_encryption() {
    let encrypted = Encrypted::with(|setup| setup.env("LOGIN_RATE", "2"));
    let attempt = |tunnel: &Tunnel, name: &str| {
        let body = json!({"email": format!("{name}@propromo.example"), "password": "wrong"});
        encrypted.post(tunnel, "/login", &body).status
    };
    let from = |ip: [u8; 4]| Tunnel::from(ip.into(), encrypted.server.address, encrypted.trusted.clone());
    let (one, other) = (from([127, 0, 0, 2]), from([127, 0, 0, 3]));
    assert_eq!([attempt(&one, "a"), attempt(&one, "b"), attempt(&one, "c")], [401, 401, 429]);
    assert_eq!(attempt(&other, "d"), 401);
    encrypted.server.logs(&["rate_limited", "127.0.0.2"]);
}

#[test]
fn a_certificate_that_can_not_be_used_stops_the_start_with_one_line() {
    let setup = Server::with();
    let dir = setup.path("");
    let (good, other) = (Certified::make(&dir, "good"), Certified::make(&dir, "other"));
    let encrypted = dir.join("encrypted.key");
    openssl(
        Command::new("openssl")
            .args(["pkey", "-aes-256-cbc", "-passout", "pass:secret", "-in"])
            .arg(&good.key)
            .arg("-out")
            .arg(&encrypted),
    );
    let nowhere = dir.join("nowhere.pem");
    let cases: [(&Path, &Path, &str); 6] = [
        (&good.certificate, &other.key, "is not the key of"),
        (&good.key, &good.key, "holds no certificate"),
        (&good.certificate, &good.certificate, "holds no private key"),
        (&good.certificate, &encrypted, "is encrypted"),
        (&nowhere, &good.key, "nowhere.pem) can't be read: No such file"),
        (&good.certificate, &nowhere, "nowhere.pem) can't be read: No such file"),
    ];
    for (certificate, key, why) in cases {
        let output = setup.clone().env("TLS_CERT", certificate).env("TLS_KEY", key).run(&["serve"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(why) && error.trim().lines().count() == 1, "{why}: {error}");
    }
    let output = setup.env("TLS_CERT", &good.certificate).run(&["serve"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("without TLS_KEY"), "{output:?}");
}

#[test]
fn check_says_whose_certificate_it_is_and_whether_it_has_expired() {
    let setup = Server::with();
    let old = Certified::valid_for(&setup.path(""), "old", 1);
    let check = |certified: &Certified| {
        let setup = setup.clone().env("TLS_CERT", &certified.certificate).env("TLS_KEY", &certified.key);
        String::from_utf8(setup.run(&["check"]).stdout).expect("text")
    };
    let told = check(&old);
    assert!(told.contains("ok: TLS is spoken, with a certificate for localhost, 127.0.0.1, until 20"), "{told}");
    assert!(told.contains("expires on 20"), "{told}");
    assert!(!check(&Certified::make(&setup.path(""), "new")).contains("expires on"));
}

#[test]
fn the_key_may_be_a_file_a_text_or_a_systemd_credential_but_no_text_on_the_command_line() {
    let setup = Server::with();
    let certified = Certified::make(&setup.path(""), "server");
    let text = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let (certificate, key) = (text(&certified.certificate), text(&certified.key));
    let credentials = setup.path("credentials");
    std::fs::create_dir(&credentials).expect("a directory");
    std::fs::copy(&certified.certificate, credentials.join("TLS_CERT")).expect("a copy");
    std::fs::copy(&certified.key, credentials.join("TLS_KEY")).expect("a copy");
    let ways = [
        setup.clone().env("TLS_CERT_FILE", &certified.certificate).env("TLS_KEY_FILE", &certified.key),
        setup.clone().env("TLS_CERT", &certificate).env("TLS_KEY", key.replace('\n', "\\n")),
        setup.clone().env("CREDENTIALS_DIRECTORY", &credentials),
    ];
    for way in ways {
        let told = String::from_utf8(way.run(&["check"]).stdout).expect("text");
        assert!(told.contains("ok: TLS is spoken"), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
    }
    let output = setup.run(&["serve", "--tls-cert", &certified.certificate.display().to_string(), "--tls-key", &key]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && error.contains("give the path"), "{error}");
    let body = key.lines().nth(1).expect("a line of the key");
    assert!(!error.contains(body));
}

#[test]
fn an_account_without_a_monitor_is_told_so_over_tls_as_well() {
    let encrypted = Encrypted::start();
    let body = json!({"email": CAROL.email, "password": CAROL.password});
    assert_eq!(encrypted.post(&encrypted.tunnel(), "/login", &body).status, 403);
}

/// The first message of a handshake.
fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut tls = rustls::ClientConnection::new(config.clone(), name).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("bytes in memory");
    hello
}

// Seen to fail with TLS_HANDSHAKE_RATE=0: the fourth is served.
#[test]
fn one_address_makes_no_more_handshakes_than_it_may_and_a_trusted_proxy_any_number() {
    let encrypted = Encrypted::with(|setup| {
        let setup = setup.env("TLS_HANDSHAKE_RATE", "3").env("ADMIN_LISTEN", "127.0.0.1:0");
        setup.env("TRUSTED_PROXIES", "127.0.0.2")
    });
    let is_served = |client: u8| {
        shake_hands_from(Ipv4Addr::new(127, 0, 0, client).into(), encrypted.server.address, &encrypted.trusted).is_ok()
    };
    assert_eq!((0..3).filter(|_| is_served(1)).count(), 3);
    assert!(!is_served(1) && !is_served(1));
    encrypted.server.logs(&["TLS_HANDSHAKE_RATE"]);
    assert_eq!(encrypted.server.figure("propromo_chat_tls_handshakes_refused_total"), 2.0);
    assert!((0..8).all(|_| is_served(2)), "a proxy");
    assert!(is_served(3), "another address");
}
