//! `/metrics`: Prometheus can read it, it counts what was done, and `docs/` explain all of it.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};
use support::{
    ALICE, BOB, CAROL, Client, Connection, DEMO, Server, SetOnDrop, documents::document, eventually, http::get,
    tls::Certified,
};
use tungstenite::Message;

fn server() -> Server {
    Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").start()
}

/// A page of metrics, read as strictly as Prometheus does.
struct Page {
    /// By name: the type.
    families: BTreeMap<String, String>,
    /// By name and labels, as they stand there.
    samples: BTreeMap<String, f64>,
}

impl Page {
    #[track_caller]
    fn of(server: &Server) -> Page {
        Page::at(server.admin_address())
    }

    #[track_caller]
    fn at(address: SocketAddr) -> Page {
        let answer = Connection::open(address).send(get("/metrics", &[("Connection", "close")])).response();
        assert_eq!(answer.status, 200);
        let content_type = answer.header("content-type").expect("a content type");
        assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
        Page::read(answer.text())
    }

    /// OpenMetrics 1.0: descriptors before samples, no family twice, names with the suffixes of their type.
    #[track_caller]
    fn read(text: &str) -> Page {
        let mut page = Page { families: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = (String::new(), String::new());
        assert!(text.ends_with("\n# EOF\n"), "the end is missing");
        for line in text.lines().take_while(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (word, name, value) =
                    (words.next(), words.next().expect("a name"), words.next().unwrap_or_default());
                match word {
                    Some("TYPE") => {
                        family = (name.to_owned(), value.to_owned());
                        assert!(page.families.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
                    }
                    Some("HELP") => assert!(value.len() > 5 && value.ends_with('.'), "{line}"),
                    Some("UNIT") => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    other => panic!("{other:?} in {line}"),
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let bare = name.split('{').next().expect("a name");
            let suffix = bare.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} is not of {}", family.0));
            let suffixes: &[&str] = match &*family.1 {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("an unknown type: {other}"),
            };
            assert!(suffixes.contains(&suffix), "{line} is no {}", family.1);
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value >= 0.0, "{line}");
            assert!(page.samples.insert(name.to_owned(), value).is_none(), "{name} twice");
        }
        page
    }

    /// Zero, if nothing of this name was counted.
    fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or_default()
    }

    /// The names as people write them in queries: of a histogram the one without its suffix.
    fn names(&self) -> BTreeSet<String> {
        let suffixed = self.families.iter().map(|(name, kind)| match &**kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        });
        suffixed.collect()
    }
}

/// Does a bit of everything that is counted, and stays in the room.
fn everything(server: &Server) -> Vec<Client> {
    let token = server.token(ALICE);
    let mut alice = server.enter(&token, DEMO);
    let mut bob = server.join(BOB, DEMO);
    let mut listener = server.channel(CAROL, "garden");
    assert_eq!(server.refused(&format!("/chat/{DEMO}?auth={token}"), &[]).reason(), "token_used");
    assert_eq!(server.log_in_as(ALICE.email, "wrong").status, 401);
    for n in 0..20 {
        alice.say_and_hear(&format!("message {n}"));
    }
    for _ in 0..20 {
        bob.hear_message();
    }
    listener.ask(serde_json::json!({"type": "message", "text": "hello", "ref": "r-1"}));
    listener.wait_for("ack");
    listener.ask(serde_json::json!({"type": "message", "text": "hello", "ref": "r-1"}));
    listener.wait_for("ack");
    assert_eq!(server.get("/nowhere").status, 404);
    support::session::Browser::of(server, ALICE);
    let mut third = server.join(BOB, DEMO);
    third.send(Message::binary(vec![1, 2, 3]));
    assert_eq!(third.close_code(), Some(1003));
    vec![alice, bob, listener]
}

#[test]
fn the_metrics_are_those_of_what_was_done() {
    let server = server();
    let clients = everything(&server);
    let expected = [
        // The third is not there any more.
        (r#"propromo_chat_connections{door="propromo"}"#, 2.0),
        (r#"propromo_chat_connections{door="channel"}"#, 1.0),
        (r#"propromo_chat_handshakes_total{door="propromo",result="ok"}"#, 3.0),
        (r#"propromo_chat_handshakes_total{door="channel",result="ok"}"#, 1.0),
        (r#"propromo_chat_handshakes_total{door="propromo",result="token_used"}"#, 1.0),
        (r#"propromo_chat_closes_total{code="1003",reason="text frames only"}"#, 1.0),
        (r#"propromo_chat_messages_total{result="stored"}"#, 21.0),
        (r#"propromo_chat_messages_total{result="repeated"}"#, 1.0),
        (r#"propromo_chat_messages_total{result="not_stored"}"#, 0.0),
        // Twenty to two members, one to one.
        ("propromo_chat_deliveries_total", 41.0),
        ("propromo_chat_spend_seconds_count", 5.0),
        (r#"propromo_chat_refusals_total{reason="token_used"}"#, 1.0),
        (r#"propromo_chat_refusals_total{reason="wrong_credentials"}"#, 1.0),
        (r#"propromo_chat_refusals_total{reason="not_found"}"#, 1.0),
        // Three for connections, one for a ticket, one that begins a session.
        (r#"propromo_chat_logins_total{result="ok"}"#, 5.0),
        (r#"propromo_chat_logins_total{result="wrong_credentials"}"#, 1.0),
        (r#"propromo_chat_http_requests_total{endpoint="/login",method="POST",status="200"}"#, 3.0),
        (r#"propromo_chat_http_requests_total{endpoint="/login",method="POST",status="401"}"#, 1.0),
        (r#"propromo_chat_http_requests_total{endpoint="none",method="GET",status="404"}"#, 1.0),
        (r#"propromo_chat_http_request_seconds_count{endpoint="/login"}"#, 4.0),
        ("propromo_chat_members_dropped_total", 0.0),
        ("propromo_chat_send_queue_bytes", 0.0),
        ("propromo_chat_sockets_max", 10_000.0),
    ];
    // Some are counted a moment after the client has seen what is counted.
    let mut page = Page::of(&server);
    for (sample, value) in expected {
        eventually(&format!("{sample} is {value}"), || {
            page = Page::of(&server);
            page.value(sample) == value
        });
    }
    for (sample, value) in expected {
        assert_eq!(page.value(sample), value, "{sample}");
    }
    let appended = page.value("propromo_chat_append_seconds_count");
    assert!((1.0..=22.0).contains(&appended), "{appended} batches of 22 messages");
    let delivered = page.value("propromo_chat_delivery_seconds_count");
    assert!((1.0..=41.0).contains(&delivered), "{delivered} runs");
    assert!(page.value("propromo_chat_sockets") >= clients.len() as f64);
    assert!(page.value("process_threads") > clients.len() as f64);
    assert!(page.value("process_open_fds") > clients.len() as f64);
    assert!(page.value("process_resident_memory_bytes") > 1e6);
    assert_eq!(page.value(concat!("propromo_chat_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1.0);
}

#[test]
fn the_room_on_the_disk_and_the_end_of_the_certificate_are_shown() {
    let plain = Page::of(&server());
    assert!(plain.value("propromo_chat_disk_free_bytes") > 0.0);
    assert!(plain.value("propromo_chat_certificate_end_seconds").abs() < 0.5, "there is none");
    let setup = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0");
    let certified = Certified::make(&setup.path(""), "server");
    let server = setup.env("TLS_CERT", &certified.certificate).env("TLS_KEY", &certified.key).start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let left = Page::of(&server).value("propromo_chat_certificate_end_seconds") - now;
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-checkend", &format!("{:.0}", left - 60.0), "-in"])
        .arg(&certified.certificate)
        .output()
        .expect("openssl");
    assert!(left > 0.0 && output.status.success(), "it ends earlier than in {left} s");
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-checkend", &format!("{:.0}", left + 60.0), "-in"])
        .arg(&certified.certificate)
        .output()
        .expect("openssl");
    assert_eq!(output.status.code(), Some(1), "it ends later than in {left} s");
}

#[test]
fn connections_above_the_limit_are_counted() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").env("MAX_CONNECTIONS", "2").start();
    let _two = [server.connect(), server.connect()];
    eventually("the third is refused", || server.connect().try_response().is_ok_and(|answer| answer.status == 503));
    let page = Page::of(&server);
    assert_eq!((page.value("propromo_chat_sockets"), page.value("propromo_chat_sockets_max")), (2.0, 2.0));
    assert!(page.value("propromo_chat_sockets_refused_total") >= 1.0);
}

#[test]
fn counters_only_grow_while_people_talk_and_buckets_add_up() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").env("MESSAGE_RATE", "0").start();
    let address = server.admin_address();
    let done = AtomicBool::new(false);
    let talk = |mut client: Client| {
        while !done.load(Ordering::Relaxed) {
            client.say_and_hear("hello");
        }
    };
    let (alice, bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    thread::scope(|scope| {
        let _done = SetOnDrop(&done);
        scope.spawn(|| talk(alice));
        scope.spawn(|| talk(bob));
        let mut before = Page::at(address);
        for _ in 0..10 {
            let stored = |page: &Page| page.value(r#"propromo_chat_messages_total{result="stored"}"#);
            let mut now = Page::at(address);
            eventually("more was said", || {
                now = Page::at(address);
                stored(&now) > stored(&before)
            });
            for (sample, value) in &before.samples {
                let name = sample.split('{').next().expect("a name");
                let grows = ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
                assert!(!grows || now.value(sample) >= *value, "{sample} fell from {value} to {}", now.value(sample));
            }
            let all = now.value("propromo_chat_delivery_seconds_bucket{le=\"+Inf\"}");
            assert_eq!(all, now.value("propromo_chat_delivery_seconds_count"));
            before = now;
        }
    });
}

#[test]
fn metrics_are_not_for_clients() {
    assert_eq!(server().get("/metrics").status, 404);
    assert_eq!(Server::start().get("/metrics").status, 404);
}

#[test]
fn health_is_served_beside_the_metrics_and_where_the_doors_are() {
    let server = server();
    for path in ["/healthz", "/readyz"] {
        let ask = |address| Connection::open(address).send(get(path, &[("Connection", "close")])).response().status;
        for address in [server.admin_address(), server.address] {
            eventually(&format!("{path} is answered at {address}"), || ask(address) == 200);
        }
    }
}

#[test]
fn every_figure_stands_in_the_table_of_operations_and_every_row_is_a_figure() {
    let server = server();
    let _clients = everything(&server);
    let text = document("docs/OPERATIONS.md");
    let table = text.split_once("<!-- metrics -->").and_then(|(_, rest)| rest.split_once("<!-- /metrics -->"));
    let rows = table.expect("a table between its marks").0.lines().filter_map(|line| line.strip_prefix("| `"));
    let page = Page::of(&server);
    let mut described = BTreeSet::new();
    for row in rows {
        let (name, rest) = row.split_once("` | ").expect("a name");
        let kind = rest.split(' ').next().expect("a kind");
        let family = name.strip_suffix("_total").or(name.strip_suffix("_info")).unwrap_or(name);
        assert_eq!(page.families.get(family).map(String::as_str), Some(kind), "{name}");
        assert!(described.insert(name.to_owned()), "{name} twice");
        let advice = rest.trim_end_matches(" |").rsplit(" | ").next().expect("a last column");
        assert!(advice.len() > 10, "{name}: what is to be done when it is high?");
    }
    assert_eq!(described, page.names());
}

#[test]
fn every_figure_that_a_document_names_is_one() {
    let server = server();
    let _clients = everything(&server);
    let page = Page::of(&server);
    let known: BTreeSet<&str> = page.samples.keys().map(|name| name.split('{').next().expect("a name")).collect();
    let names = page.names();
    let check = |text: &str, place: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics = words.filter(|word| word.starts_with("propromo_chat_") || word.starts_with("process_"));
        let mut count = 0;
        for metric in metrics {
            count += 1;
            assert!(known.contains(metric) || names.contains(metric), "{place} names {metric}, which is none");
        }
        assert!(count > 0, "{place} names no metric");
    };
    // What stands in a path of modules (`propromo_chat::door`) is no metric.
    check(&document("docs/OPERATIONS.md").replace("propromo_chat::", ""), "docs/OPERATIONS.md");
    check(&document("docs/alerts.yml").replace("propromo-chat", ""), "docs/alerts.yml");
    let dashboard: Value = serde_json::from_str(&document("docs/grafana.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    for query in queries {
        let expression = query["expr"].as_str().expect("a query");
        check(expression, expression);
    }
}

/// Runs Prometheus' own tool on what comes through its standard input.
#[track_caller]
pub fn promtool(arguments: &[&str], input: &str) -> String {
    let mut tool = Command::new("promtool");
    tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool: run scripts/test");
    tool.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn prometheus_own_tool_finds_nothing_wrong_with_either_format() {
    let server = server();
    let _clients = everything(&server);
    let page = |accept: &str| {
        let request = get("/metrics", &[("Accept", accept), ("Connection", "close")]);
        let answer = Connection::open(server.admin_address()).send(request).response();
        assert_eq!(answer.header("vary"), Some("Accept"));
        (answer.header("content-type").expect("a content type").to_owned(), answer.text().to_owned())
    };
    let (kind, text) = page("*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(promtool(&["check", "metrics"], &text), "", "it has a complaint");
    assert!(text.contains("# TYPE propromo_chat_messages_total counter\n"), "{text}");

    let (kind, open) = page("application/openmetrics-text; version=1.0.0, text/plain; q=0.5");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let counted = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(counted(&open), counted(&text), "both hold the same samples");
}

#[test]
fn each_panel_of_the_dashboard_asks_something_and_has_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(&document("docs/grafana.json")).expect("the dashboard is JSON");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}");
        let place = &panel["gridPos"];
        let (x, y, w, h) = (&place["x"], &place["y"], &place["w"], &place["h"]);
        let [x, y, w, h] = [x, y, w, h].map(|number| number.as_u64().expect("a number"));
        assert!(x + w <= 24, "{title} is too wide");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] != "row" {
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{title}");
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
        }
    }
}

#[test]
fn what_waits_to_be_erased_is_shown_and_told_by_check() {
    let server = server();
    let mut alice = server.channel(ALICE, "lobby");
    alice.post("still here");
    let shown = || Page::of(&server).value("propromo_chat_erasures_waiting");
    let told = || String::from_utf8_lossy(&server.setup().run(&["check"]).stdout).into_owned();
    assert!(shown().abs() < 0.5 && !told().contains("unfinished tasks"));
    // As `monitor remove` leaves it: the server waits until nobody is in the room.
    let file = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    file.busy_timeout(support::PATIENCE).expect("a time-out");
    file.execute("INSERT INTO tasks (kind, about, since) VALUES ('room', 'channel:lobby', 0)", []).expect("a task");
    assert!((shown() - 1.0).abs() < 0.5);
    let note = told();
    assert!(note.contains("set them aside: 1,") && note.contains("since 1970-01-01T00:00:00Z"), "{note}");
    // What comes after it is done, and it still waits: she is there.
    file.execute("INSERT INTO tasks (kind, about, since) VALUES ('room', 'channel:nobody', 0)", []).expect("a task");
    eventually("the other is done", || (shown() - 1.0).abs() < 0.5);
    alice.ask(serde_json::json!({"type": "history"}));
    assert_eq!(alice.wait_for("history")["messages"][0]["text"], "still here");
    alice.close();
    eventually("it is done", || shown().abs() < 0.5);
    assert!(!told().contains("unfinished tasks"));
}
