//! Behind nginx, Caddy and HAProxy, with the configurations of `docs/proxy`: only addresses, files and a waiting time differ.

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};
use support::{
    ALICE, BOB, Client, Connection, Person, Response, Server, eventually, free_address,
    http::{get, post, post_with},
    server::Setup,
    tls::{Certified, Tunnel, shown_soon},
};
use tungstenite::Message;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/proxy");

/// How long nginx and HAProxy wait for a word of the server here, in seconds: a test waits for longer.
const PROXY_WAITS: usize = 10;

/// Those that are tried, each on its own.
#[derive(Clone, Copy)]
enum Kind {
    Nginx,
    Caddy,
    Haproxy,
}

/// How a proxy reaches the server.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    Tcp,
    /// A Unix socket, beside the server's address.
    Socket,
}

/// A server, and a proxy in front of it.
struct Proxied {
    server: Server,
    proxy: Proxy,
    certified: Certified,
    trusted: Arc<ClientConfig>,
}

/// A proxy's process. Dropping it ends it.
struct Proxy {
    kind: Kind,
    dir: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Proxied {
    #[track_caller]
    fn start(kind: Kind) -> Proxied {
        Proxied::with(kind, |setup| setup)
    }

    #[track_caller]
    fn with(kind: Kind, settings: impl FnOnce(Setup) -> Setup) -> Proxied {
        Proxied::through(Through::Tcp, kind, settings)
    }

    #[track_caller]
    fn through(through: Through, kind: Kind, settings: impl FnOnce(Setup) -> Setup) -> Proxied {
        // Some tests start it again where it was, on a port that nobody else gets meanwhile.
        let setup = Server::with().env("LISTEN", free_address().to_string());
        let socket = setup.path("chat.sock");
        let server = settings(match through {
            Through::Tcp => setup.env("TRUSTED_PROXIES", "127.0.0.1,::1"),
            // Who comes through the socket is believed without being named.
            Through::Socket => setup.env("LISTEN", format!("127.0.0.1:0,unix:{}", socket.display())),
        });
        let server = server.start();
        let dir = server.setup().path("proxy");
        fs::create_dir(&dir).expect("a directory");
        let certified = Certified::make(&dir, "server");
        let address = free_address();
        let backend = match (through, kind) {
            (Through::Tcp, _) => server.address.to_string(),
            (Through::Socket, Kind::Nginx) => format!("unix:{}", socket.display()),
            (Through::Socket, Kind::Caddy) => format!("unix/{}", socket.display()),
            (Through::Socket, Kind::Haproxy) => format!("unix@{}", socket.display()),
        };
        configure(kind, &dir, &certified, address, &backend);
        let proxy = Proxy::start(kind, &dir, address);
        shown_soon(address, &certified);
        Proxied { trusted: certified.trusted(), server, proxy, certified }
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel::to(self.proxy.address, self.trusted.clone())
    }

    /// For a client with another address of this machine.
    fn tunnel_from(&self, client: [u8; 4]) -> Tunnel {
        Tunnel::from(client.into(), self.proxy.address, self.trusted.clone())
    }
}

#[track_caller]
fn login(tunnel: &Tunnel, person: Person) -> String {
    let answer = Connection::open(tunnel.address).send(login_request(person)).response();
    token(&answer)
}

fn login_request(person: Person) -> Vec<u8> {
    post("/login", "application/json", json!({"email": person.email, "password": person.password}).to_string())
}

#[track_caller]
fn token(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"].as_str().expect("a token").to_owned()
}

#[track_caller]
fn join(tunnel: &Tunnel, person: Person) -> Client {
    Client::open(tunnel.address, &format!("/chat/demo?auth={}", login(tunnel, person)))
}

impl Proxy {
    #[track_caller]
    fn start(kind: Kind, dir: &Path, address: SocketAddr) -> Proxy {
        let mut command = match kind {
            Kind::Nginx => {
                let mut command = Command::new("nginx");
                command.arg("-p").arg(dir).arg("-c").arg(dir.join("main.conf")).args(["-e", "stderr"]);
                command
            }
            Kind::Caddy => {
                let mut command = Command::new("caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(dir.join("Caddyfile"));
                command
            }
            Kind::Haproxy => {
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(dir.join("haproxy.cfg"));
                command
            }
        };
        let log = fs::File::options().create(true).append(true).open(dir.join("log")).expect("a log");
        let child = command.current_dir(dir).env("HOME", dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = child.spawn().expect("the proxy is installed");
        Proxy { kind, dir: dir.to_owned(), address, child }
    }

    /// Ends it, and starts it again.
    #[track_caller]
    fn restart(&mut self) {
        self.end();
        *self = Proxy::start(self.kind, &self.dir, self.address);
    }

    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}", fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
    }
}

/// Writes the example into `dir`, with what differs here replaced.
#[track_caller]
fn configure(kind: Kind, dir: &Path, certified: &Certified, proxy: SocketAddr, server: &str) {
    let (certificate, key) = (certified.certificate.display(), certified.key.display());
    match kind {
        Kind::Nginx => {
            let letsencrypt = "/etc/letsencrypt/live/chat.example.org";
            let config = replaced(
                "nginx.conf",
                &[
                    ("server 127.0.0.1:1993;", &format!("server {server};")),
                    ("listen 443 ssl;", &format!("listen {proxy} ssl;")),
                    ("listen [::]:443 ssl;", ""),
                    ("listen 80;", &format!("listen {};", free_address())),
                    ("listen [::]:80;", ""),
                    (&format!("{letsencrypt}/fullchain.pem"), &certificate.to_string()),
                    (&format!("{letsencrypt}/privkey.pem"), &key.to_string()),
                    ("proxy_read_timeout 90s;", &format!("proxy_read_timeout {PROXY_WAITS}s;")),
                ],
            );
            fs::write(dir.join("chat.conf"), config).expect("the configuration");
            // Its workers would be another user, who may not look into this directory.
            let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
            let main = format!(
                "daemon off; pid nginx.pid; {user} events {{}} http {{ access_log off; client_body_temp_path body; \
                 proxy_temp_path proxied; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; include chat.conf; }}"
            );
            fs::write(dir.join("main.conf"), main).expect("the configuration");
        }
        Kind::Caddy => {
            let site = format!(":{} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}", proxy.port());
            // No port but its own: neither for administration nor to send browsers on.
            let own_port = ("\tlog default {", "\tadmin off\n\tauto_https disable_redirects\n\tlog default {");
            let config = replaced("Caddyfile", &[own_port, ("chat.example.org {", &site), ("127.0.0.1:1993", server)]);
            fs::write(dir.join("Caddyfile"), config).expect("the configuration");
        }
        Kind::Haproxy => {
            let both =
                [&certified.certificate, &certified.key].map(|path| fs::read_to_string(path).expect("a PEM file"));
            let pem = dir.join("chat.pem");
            fs::write(&pem, both.concat()).expect("the certificate and its key");
            let config = replaced(
                "haproxy.cfg",
                &[
                    ("node-1 127.0.0.1:1993", &format!("node-1 {server}")),
                    ("bind :443", &format!("bind {proxy}")),
                    ("bind :80", &format!("bind {}", free_address())),
                    ("/etc/haproxy/chat.example.org.pem", &pem.display().to_string()),
                    ("timeout tunnel 90s", &format!("timeout tunnel {PROXY_WAITS}s")),
                ],
            );
            fs::write(dir.join("haproxy.cfg"), config).expect("the configuration");
        }
    }
}

#[track_caller]
fn replaced(example: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(Path::new(EXAMPLES).join(example)).expect("the example");
    for (from, to) in replacements {
        assert!(text.contains(from), "{example} has no {from}");
        text = text.replace(from, to);
    }
    text
}

fn people_log_in_and_chat(kind: Kind) {
    let proxied = Proxied::start(kind);
    let tunnel = proxied.tunnel();
    let (mut alice, mut bob) = (join(&tunnel, ALICE), join(&tunnel, BOB));
    let said = alice.say_and_hear("through the proxy");
    assert_eq!(bob.hear_message(), said);
    bob.close();
    alice.say_and_hear("alone again");
}

fn plain_requests_and_upgrades_share_connections(kind: Kind) {
    let proxied = Proxied::start(kind);
    let tunnel = proxied.tunnel();
    // The proxy's connections to the server are used again and again, whatever came over them before.
    for round in 0..3 {
        let mut connection = Connection::open(tunnel.address);
        assert_eq!(connection.send(get("/", &[])).response().status, 200);
        let token = token(&connection.send(login_request(ALICE)).response());
        assert_eq!(connection.send(get("/nothing/here", &[])).response().status, 404);
        let mut client = Client::upgrade(connection, &format!("/chat/demo?auth={token}"), &[]).expect("an upgrade");
        client.say_and_hear(&format!("round {round}"));
        let refused = Client::try_open(tunnel.address, &format!("/chat/demo?auth={token}"), &[]);
        assert_eq!(refused.err().map(|answer| answer.status), Some(403), "the token is spent");
    }
}

fn the_clients_address_counts_and_can_not_be_forged(kind: Kind) {
    forged_addresses_change_nothing(Through::Tcp, kind);
}

fn a_unix_socket_does_what_an_address_does(kind: Kind) {
    let proxied = forged_addresses_change_nothing(Through::Socket, kind);
    let tunnel = proxied.tunnel_from([127, 0, 0, 4]);
    let (mut alice, mut bob) = (join(&tunnel, ALICE), join(&tunnel, BOB));
    let said = alice.say_and_hear("through the socket");
    assert_eq!(bob.hear_message(), said);
    let answer = Connection::open(tunnel.address).send(get("/healthz", &[])).response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    // At the end the socket goes, too.
    let (socket, mut server) = (proxied.server.setup().path("chat.sock"), proxied.server);
    assert!(socket.exists());
    assert!(server.terminate().success());
    assert!(!socket.exists());
    assert_eq!(alice.close_code(), Some(1001));
}

fn forged_addresses_change_nothing(through: Through, kind: Kind) -> Proxied {
    let proxied = Proxied::through(through, kind, |setup| setup.env("LOGIN_RATE", "2"));
    let (one, other) = (proxied.tunnel_from([127, 0, 0, 2]), proxied.tunnel_from([127, 0, 0, 3]));
    let attempt = |tunnel: &Tunnel, name: &str, forged: &str| {
        let body = json!({"email": format!("{name}@propromo.example"), "password": "wrong"}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", forged)];
        Connection::open(tunnel.address).send(post_with("/login", &headers, body)).response().status
    };
    let attempts = [("a", "203.0.113.1"), ("b", "203.0.113.2"), ("c", "203.0.113.3")];
    assert_eq!(attempts.map(|(name, forged)| attempt(&one, name, forged)), [401, 401, 429]);
    assert_eq!(attempt(&other, "d", "127.0.0.2"), 401);
    proxied.server.logs(&["rate_limited", "127.0.0.2"]);
    assert!(!proxied.server.log().contains("203.0.113"));
    proxied
}

fn a_large_history_arrives_whole(kind: Kind) {
    let proxied = Proxied::with(kind, |s| s.env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "500"));
    let tunnel = proxied.tunnel();
    let mut alice = join(&tunnel, ALICE);
    let padding = "x".repeat(15_000);
    let said: Vec<_> = (0..80).map(|n| alice.say_and_hear(&format!("{n} {padding}")).id).collect();
    let mut bob = join(&tunnel, BOB);
    let heard: Vec<_> = (0..80).map(|_| bob.hear_message().id).collect();
    assert!(said == heard);
}

fn pings_keep_a_quiet_connection_open_for_longer_than_the_proxy_waits(kind: Kind) {
    let proxied = Proxied::with(kind, |setup| setup.env("PING_INTERVAL", "1").env("PONG_TIMEOUT", "60"));
    let mut alice = join(&proxied.tunnel(), ALICE);
    // One a second.
    for _ in 0..PROXY_WAITS + 2 {
        assert!(matches!(alice.read(), Message::Ping(_)));
    }
    alice.say_and_hear("still here");
}

fn a_body_that_is_too_large_is_refused(kind: Kind) {
    let proxied = Proxied::start(kind);
    let mut connection = Connection::open(proxied.tunnel().address);
    let request = post("/login", "application/json", "x".repeat(70_000));
    assert_eq!(connection.send_what_fits(request).response().status, 413);
}

fn a_proxy_that_is_restarted_is_served_again(kind: Kind) {
    let mut proxied = Proxied::start(kind);
    let mut alice = join(&proxied.tunnel(), ALICE);
    let before = alice.say_and_hear("before");
    proxied.proxy.restart();
    assert!(alice.try_hear().is_err(), "the old connection is gone");
    shown_soon(proxied.proxy.address, &proxied.certified);
    let mut again = join(&proxied.tunnel(), ALICE);
    assert_eq!(again.hear_message(), before);
    again.say_and_hear("after");
}

// Seen to fail with nginx's `error_log` and Caddy's `exclude` not in their examples.
fn a_token_that_found_no_server_is_in_no_log(kind: Kind) {
    let mut proxied = Proxied::start(kind);
    let tunnel = proxied.tunnel();
    let token = login(&tunnel, ALICE);
    assert!(proxied.server.terminate().success());
    let refused = Client::try_open(tunnel.address, &format!("/chat/demo?auth={token}"), &[]);
    assert_eq!(refused.err().map(|answer| answer.status / 100), Some(5));
    proxied.proxy.end();
    let log = fs::read_to_string(proxied.proxy.dir.join("log")).expect("the proxy's log");
    assert!(!log.contains(&token), "{log}");
}

fn a_server_that_is_restarted_is_found_again(kind: Kind) {
    let mut proxied = Proxied::start(kind);
    let mut alice = join(&proxied.tunnel(), ALICE);
    let before = alice.say_and_hear("before");
    assert!(proxied.server.terminate().success());
    assert_eq!(alice.close_code(), Some(1001), "the goodbye comes through");
    let setup = proxied.server.setup().clone().env("LISTEN", proxied.server.address.to_string());
    let _again = setup.start();
    let tunnel = proxied.tunnel();
    eventually("the proxy finds the server", || {
        Connection::open(tunnel.address)
            .send(get("/healthz", &[]))
            .try_response()
            .is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(join(&tunnel, ALICE).hear_message(), before);
}

macro_rules! behind {
    ($($proxy:ident: $kind:expr;)*) => {
        $(mod $proxy {
            use super::Kind;
            behind!(@ $kind;
                people_log_in_and_chat
                plain_requests_and_upgrades_share_connections
                the_clients_address_counts_and_can_not_be_forged
                a_large_history_arrives_whole
                pings_keep_a_quiet_connection_open_for_longer_than_the_proxy_waits
                a_body_that_is_too_large_is_refused
                a_proxy_that_is_restarted_is_served_again
                a_token_that_found_no_server_is_in_no_log
                a_server_that_is_restarted_is_found_again
                a_unix_socket_does_what_an_address_does
            );
        })*
    };
    (@ $kind:expr; $($test:ident)*) => {
        $(#[test]
        fn $test() {
            super::$test($kind);
        })*
    };
}

behind! {
    nginx: Kind::Nginx;
    caddy: Kind::Caddy;
    haproxy: Kind::Haproxy;
}

/// The status of a health check that stands in the documents, as the server answers it to a proxy.
fn checked(server: &Server, request: &str) -> u16 {
    server.connect().send(request).response().status
}

#[test]
fn the_health_checks_of_each_proxy_are_passed() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").start();
    for request in [
        // HAProxy, as it asks by itself and as docs/proxy has it; its versions before 2.2 write HTTP/1.0.
        "OPTIONS * HTTP/1.1\r\nHost: chat.test\r\n\r\n",
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "GET /readyz HTTP/1.0\r\n\r\n",
        // Caddy's active check, and what is asked behind nginx.
        "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:1993\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
    ] {
        assert_eq!(checked(&server, request) / 100, 2, "{request}");
    }
}

#[test]
fn a_node_whose_store_is_away_gets_no_requests_of_haproxy_until_it_is_back() {
    let mut redis = support::redis::Redis::start();
    let proxied = Proxied::with(Kind::Haproxy, |setup| setup.without_demo().env("CHAT_STORAGE_URL", redis.url()));
    let tunnel = proxied.tunnel();
    let status = || {
        let answer = Connection::open(tunnel.address).send(get("/healthz", &[])).try_response();
        answer.map_or(0, |answer| answer.status)
    };
    assert_eq!(status(), 200);
    redis.kill();
    eventually("the node is taken out", || status() == 503);
    redis.run();
    eventually("the node is back", || status() == 200);
}
