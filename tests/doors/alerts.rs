//! `docs/alerts.yml`, judged by Prometheus itself: its own tests, and what it raises of servers that are in trouble.

use crate::metrics::promtool;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, BOB, Connection, DEMO, PATIENCE, Server,
    documents::document,
    eventually,
    faults::{fill_disk, free_disk, order_panic, with_panics},
    free_address,
    http::get,
    repository,
    tls::Certified,
};

fn path(name: &str) -> String {
    repository().join(name).canonicalize().expect("a file").display().to_string()
}

/// The names of all alerts.
fn names() -> BTreeSet<String> {
    let rules = document("docs/alerts.yml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn prometheus_own_tool_can_read_the_alerts() {
    let said = promtool(&["check", "rules", &path("docs/alerts.yml")], "");
    assert!(said.contains(&format!("SUCCESS: {} rules found", names().len())), "{said}");
}

/// Days of samples, in a second.
#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let said = promtool(&["test", "rules", &path("tests/fixtures/alerts.yml")], "");
    assert!(said.contains("SUCCESS"), "{said}");
    // A case with `[]` for what is expected says when it does not.
    let cases = document("tests/fixtures/alerts.yml");
    let fires = |name: &String| {
        let mut cases = cases.split("- alertname: ").filter(|case| case.lines().next() == Some(name));
        cases.any(|case| case.contains("exp_labels: {severity: "))
    };
    let untried: Vec<_> = names().into_iter().filter(|name| !fires(name)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// A Prometheus with the alerts of the documentation. Dropping it ends it.
struct Prometheus {
    address: SocketAddr,
    process: Child,
}

impl Prometheus {
    #[track_caller]
    fn watching(targets: &[SocketAddr], dir: &Path) -> Prometheus {
        let targets: Vec<_> = targets.iter().map(|address| format!("\"{address}\"")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms}}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs: [{{job_name: propromo-chat, static_configs: [{{targets: [{}]}}]}}]\n",
            path("docs/alerts.yml"),
            targets.join(", ")
        );
        fs::write(dir.join("prometheus.yml"), config).expect("its configuration");
        let address = free_address();
        let process = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=samples", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus: run scripts/test");
        Prometheus { address, process }
    }

    /// Answers to a path of its API; nothing while it starts.
    fn ask(&self, path: &str) -> Vec<serde_json::Value> {
        let ask = || {
            let mut connection = Connection::try_open(self.address)?;
            connection.try_send(get(path, &[("Connection", "close")]))?;
            connection.try_response()
        };
        let Some(answer) = ask().ok().filter(|answer| answer.status == 200) else { return Vec::new() };
        let data = &answer.json()["data"];
        let list = data["alerts"].as_array().or(data["result"].as_array());
        list.cloned().unwrap_or_default()
    }

    /// By alert and target, whether it is `pending` or `firing`.
    fn alerts(&self) -> BTreeMap<(String, String), String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let of = |alert: &serde_json::Value| {
            let labels = &alert["labels"];
            ((text(&labels["alertname"]), text(&labels["instance"])), text(&alert["state"]))
        };
        self.ask("/api/v1/alerts").iter().map(of).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_prometheus_that_watches_servers_in_trouble_raises_the_alerts() {
    let watched = || Server::with().env("ADMIN_LISTEN", "127.0.0.1:0");
    let troubled = with_panics(watched()).env("MESSAGE_RATE", "0").start();
    let full = watched().env("MAX_CONNECTIONS", "2").start();
    let setup = watched();
    let certified = Certified::valid_for(&setup.path(""), "server", 3);
    let ending = setup.env("TLS_CERT", &certified.certificate).env("TLS_KEY", &certified.key).start();
    let well = watched().start();
    let nobody = free_address();

    let mut alice = troubled.join(ALICE, DEMO);
    let dir = tempfile::tempdir().expect("a directory");
    let addresses = [&troubled, &full, &ending, &well].map(Server::admin_address);
    let prometheus = Prometheus::watching(&[&addresses[..], &[nobody]].concat(), dir.path());
    eventually("Prometheus has seen all servers that run", || {
        prometheus.ask("/api/v1/query?query=propromo_chat_sockets").len() == addresses.len()
    });
    // An answer that is late on a busy machine counts as none, until the next.
    eventually("the rules are looked at, and there is no alert before there is trouble", || {
        let calm = prometheus.alerts();
        let is_raised = |address: SocketAddr| calm.keys().any(|(_, instance)| *instance == address.to_string());
        is_raised(nobody) && !is_raised(addresses[0])
    });

    let tokens = [ALICE, BOB].map(|person| full.token(person));
    let _both = tokens.map(|token| full.enter(&token, DEMO));
    // Once is enough for somebody to hear of it.
    order_panic(&troubled, "endpoint");
    assert_eq!(troubled.get("/").status, 500);
    let token = troubled.token(BOB);
    fill_disk(&troubled);
    let expected = [
        ("ChatDoesNotStore", addresses[0], "firing"),
        ("ChatRefusesForItsStores", addresses[0], "firing"),
        ("ChatHasABug", addresses[0], "firing"),
        // For some minutes they only wait.
        ("ChatHasAnOutage", addresses[0], "pending"),
        ("ChatNearlyFull", addresses[1], "pending"),
        ("ChatCertificateEnds", addresses[2], "pending"),
        ("ChatDown", nobody, "pending"),
    ];
    for _ in 0..20 {
        alice.say("lost");
        alice.hear();
        assert_eq!(troubled.refused(&format!("/chat/{DEMO}?auth={token}"), &[]).reason(), "unavailable");
    }
    let is_expected =
        |(name, instance): &(String, String)| expected.iter().any(|(n, i, _)| n == name && i.to_string() == *instance);
    let begun = Instant::now();
    loop {
        let alerts = prometheus.alerts();
        let is_missing = |(name, instance, state): &&(&str, SocketAddr, &str)| {
            let raised = alerts.get(&((*name).to_owned(), instance.to_string()));
            // Under a heavy load a minute may go by.
            !raised.is_some_and(|raised| raised == state || raised == "firing")
        };
        let missing: Vec<_> = expected.iter().filter(is_missing).collect();
        // The disk of the machine itself may be nearly full.
        let others: Vec<_> = alerts.keys().filter(|alert| !is_expected(alert) && alert.0 != "ChatDiskFills").collect();
        if missing.is_empty() && others.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "missing: {missing:?}, not expected: {others:?}");
        thread::park_timeout(Duration::from_millis(50));
    }
    free_disk(&troubled);
}
