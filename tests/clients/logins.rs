//! Clients that go the whole way by themselves: they log in, open a chat, say something and hear it.

use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, process::Command};
use support::{
    ALICE, Client, Connection, DEMO, Server,
    http::post,
    ws::{HANDSHAKE, said},
};

fn program(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).display().to_string()
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/test"));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// Lets a program log in and talk; it prints a word and a value a line.
#[track_caller]
fn goes_the_whole_way(command: &mut Command) {
    const TEXT: &str = "héllo 😀";
    let server = Server::start();
    let host = server.address.to_string();
    command.args([&host, ALICE.email, ALICE.password, "/chat/demo", "chat", TEXT]);
    let printed = printed(command);
    let told: HashMap<&str, &str> = printed.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!((told["status"], told["protocol"], told["closed"]), ("200", "chat", "1000"), "{printed}");
    assert_eq!(said(told["text"]).expect("a message").text, TEXT);
}

#[test]
fn javas_http_client() {
    goes_the_whole_way(
        Command::new("java").args(["-Xshare:auto", "-XX:TieredStopAtLevel=1"]).arg(program("JavaHttpClient.java")),
    );
}

#[test]
fn phps_streams() {
    goes_the_whole_way(Command::new("php").arg(program("php_streams.php")));
}

#[test]
fn axios_as_laravel_sets_it_up_in_a_page_of_another_site() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "localhost").start();
    let order = json!({
        "host": server.address.to_string(), "email": ALICE.email, "password": ALICE.password, "path": "/chat/demo"
    });
    let printed = printed(Command::new("node").arg(program("axios.mjs")).arg(order.to_string()));
    let told: Value = serde_json::from_str(&printed).expect("JSON");
    let expected = json!({"status": 200, "large": [413, "body_too_large"], "protocol": "chat", "heard": "hello"});
    assert_eq!(told, expected);
}

/// As Propromo's app does it: one login, and with its token a WebSocket for each chat of the answer.
#[test]
fn an_app_for_ios_opens_all_its_chats_with_one_login() {
    let server = Server::with().env("LOGIN_TOKEN_USE", "once-per-chat").start();
    let form = format!("email={}&password={}", ALICE.email.replace('@', "%40"), ALICE.password);
    let login = Connection::open(server.address)
        .send(post("/login", "application/x-www-form-urlencoded; charset=utf-8", form))
        .response();
    assert_eq!(login.status, 200, "{}", login.text());
    let answer = login.json();
    let token = answer["token"].as_str().expect("a token");
    let chats = answer["chats"].as_array().expect("chats");
    assert!(chats.len() > 1, "{answer}");
    let mut open = Vec::new();
    for chat in chats {
        let hash = chat["monitor_hash"].as_str().expect("a hash");
        let segment = percent_encoded(hash);
        // What URLSession sends with a webSocketTask.
        let headers = [
            ("Accept", "*/*"),
            ("User-Agent", "Propromo/1 CFNetwork/1498.700.2 Darwin/23.6.0"),
            ("Accept-Language", "de-AT,de;q=0.9"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("Pragma", "no-cache"),
            ("Cache-Control", "no-cache"),
        ];
        assert!(HANDSHAKE.iter().all(|(name, _)| headers.iter().all(|(other, _)| name != other)));
        let client = Client::try_open(server.address, &format!("/chat/{segment}?auth={token}"), &headers);
        open.push(client.unwrap_or_else(|refusal| panic!("refused at {hash}: {}", refusal.text())));
    }
    for (number, client) in open.iter_mut().enumerate() {
        let text = format!("into chat {number}");
        client.say(&text);
        assert_eq!(client.hear_message().text, text);
    }
    assert_eq!(server.refused(&format!("/chat/{DEMO}?auth={token}"), &[]).reason(), "token_used");
}

/// As Swift's `addingPercentEncoding` does it.
fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
