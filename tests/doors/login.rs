//! `POST /login`: who gets a token, in which words, and what is never said.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, CAROL, Client, DEMO, HASHED, HASHED_SEGMENT, Response, SECRET, Server, claims_of, header_of,
    http::{get, post, post_with},
};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[track_caller]
fn assert_opens_demo(server: &Server, answer: &Response) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(server.enter(&token, DEMO).say_and_hear("hello").email, ALICE.email);
}

#[test]
fn a_form_logs_in() {
    let server = Server::start();
    let answer = server.post("/login", FORM, "email=alice%40propromo.example&password=alice-password");
    assert_opens_demo(&server, &answer);
}

#[test]
fn a_plus_in_a_form_is_a_space_and_an_escaped_one_is_a_plus() {
    let setup = Server::with().without_demo().monitor(DEMO);
    let server = setup.account("ann@propromo.example", "one two+three", &[DEMO]).start();
    let answer = server.post("/login", FORM, "email=ann%40propromo.example&password=one+two%2Bthree");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn json_logs_in() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    assert_opens_demo(&server, &server.post("/login", "application/json; charset=utf-8", body));
}

#[test]
fn multipart_form_data_logs_in() {
    let server = Server::start();
    let mut body = String::new();
    for (name, value) in [("email", ALICE.email), ("password", ALICE.password)] {
        body += &format!("--x-y-z\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--x-y-z--\r\n";
    assert_opens_demo(&server, &server.post("/login", "multipart/form-data; boundary=x-y-z", body));
}

#[test]
fn a_chunked_body_logs_in() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let (first, rest) = body.split_at(7);
    let mut connection = server.connect();
    connection.send("POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Type: application/json\r\n");
    connection.send("Transfer-Encoding: chunked\r\n\r\n");
    connection.send(format!("{:x}\r\n{first}\r\n{:X};a=b\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len()));
    assert_opens_demo(&server, &connection.response());
}

#[test]
fn a_client_that_expects_100_is_told_to_continue() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let request = post_with("/login", &[("Content-Type", JSON), ("Expect", "100-continue")], &body);
    let mut connection = server.connect();
    connection.send(&request[..request.len() - body.len()]);
    assert_eq!(connection.response().status, 100);
    assert_opens_demo(&server, &connection.send(&body).response());
}

#[test]
fn the_answer_has_exactly_the_fields_that_clients_know() {
    let server = Server::start();
    let answer = server.login(ALICE).json();
    assert_eq!(names(&answer), ["access_expires", "access_token", "chats", "expires", "success", "token"]);
    assert_eq!(answer["success"], true);
    let chats = answer["chats"].as_array().expect("a list of chats");
    for chat in chats {
        assert_eq!(
            names(chat),
            [
                "created_at",
                "monitor_hash",
                "organization_name",
                "project_url",
                "public",
                "short_description",
                "title",
                "type",
                "updated_at"
            ]
        );
        assert!(chat["public"].is_boolean(), "{chat}");
    }
    let mut hashes: Vec<_> = chats.iter().map(|chat| chat["monitor_hash"].as_str().expect("a hash")).collect();
    hashes.sort_unstable();
    assert_eq!(hashes, [HASHED, DEMO]);
}

#[track_caller]
fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn both_tokens_carry_the_claims_of_the_contract() {
    let server = Server::start();
    let answer = server.login(ALICE).json();
    for (name, expires, life) in [("token", "expires", 300), ("access_token", "access_expires", 3600)] {
        let token = answer[name].as_str().expect("a token");
        let claims = claims_of(token);
        assert_eq!(header_of(token)["alg"], "HS256");
        assert_eq!(claims["iss"], "propromo.chat");
        assert_eq!(claims["email"], ALICE.email);
        assert!(claims["sub"].is_string(), "{:?}", claims["sub"]);
        assert_eq!(claims["iat"], claims["nbf"]);
        assert_eq!(claims["exp"], answer[expires]);
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), life);
        // 128 bits need 22 characters of base64.
        assert!(claims["jti"].as_str().expect("an id").len() >= 22);
    }
    let (connection, access) = (&answer["token"], &answer["access_token"]);
    let [connection, access] = [connection, access].map(|token| claims_of(token.as_str().unwrap()));
    assert_ne!(connection["aud"], access["aud"]);
    assert_ne!(connection["jti"], access["jti"]);
}

#[test]
fn each_login_gives_another_token() {
    let server = Server::start();
    assert_ne!(server.token(ALICE), server.token(ALICE));
}

#[test]
fn the_lives_of_tokens_are_settings() {
    let server = Server::with().env("TOKEN_TTL", "7").env("ACCESS_TTL", "11").start();
    let answer = server.login(ALICE).json();
    for (name, life) in [("token", 7), ("access_token", 11)] {
        let claims = claims_of(answer[name].as_str().unwrap());
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), life);
    }
}

#[test]
fn a_missing_field_is_named() {
    let server = Server::start();
    for (body, missing) in [
        (json!({"password": "x"}), &["email"][..]),
        (json!({"email": "a@b.example"}), &["password"]),
        (json!({}), &["email", "password"]),
        (json!({"email": "", "password": "x"}), &["email"]),
        (json!({"email": 7, "password": "x"}), &["email"]),
    ] {
        let answer = server.post("/login", JSON, body.to_string());
        assert_eq!(answer.status, 400, "{body}");
        let answer = answer.json();
        assert_eq!(answer["success"], false);
        assert!(answer["message"].is_string(), "{answer}");
        assert_eq!(names(&answer["detail"]), missing, "{body}");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_refused() {
    let server = Server::start();
    for (content_type, body) in [
        (JSON, &b"{\"email\":"[..]),
        (JSON, b"[]"),
        (JSON, b""),
        (JSON, b"{\"email\":\"\xff\",\"password\":\"x\"}"),
        (FORM, b""),
        ("multipart/form-data; boundary=x", b"no part at all"),
        ("multipart/form-data", b"no boundary either"),
    ] {
        let answer = server.post("/login", content_type, body);
        assert_eq!(answer.status, 400, "{content_type}: {:?}", String::from_utf8_lossy(body));
        assert_eq!(answer.json()["success"], false);
    }
}

#[test]
fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let server = Server::start();
    let wrong = server.log_in_as(ALICE.email, "not-her-password");
    let unknown = server.log_in_as("nobody@propromo.example", "not-her-password");
    assert_eq!(wrong.status, 401);
    assert_eq!((wrong.status, wrong.text()), (unknown.status, unknown.text()));
    assert_eq!(wrong.json()["success"], false);
}

#[test]
fn the_case_of_an_address_does_not_matter() {
    let server = Server::start();
    assert_eq!(server.log_in_as("Alice@Propromo.EXAMPLE", ALICE.password).status, 200);
}

#[test]
fn an_account_without_chats_is_turned_away() {
    let server = Server::start();
    let answer = server.login(CAROL);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["success"], false);
    assert_eq!(server.log_in_as(CAROL.email, "wrong").status, 401, "the password is checked first");
}

#[test]
fn a_token_narrowed_to_one_monitor_opens_that_one_only() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password, "monitor_id": HASHED}).to_string();
    let token = server.post("/login", JSON, body).json()["token"].as_str().expect("a token").to_owned();
    let refusal = server.refused(&format!("/chat/demo?auth={token}"), &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_wrong_room"));
    server.enter(&token, HASHED_SEGMENT).say_and_hear("the other room");
}

#[test]
fn nobody_gets_a_token_for_a_monitor_that_is_not_theirs() {
    let setup = Server::with().without_demo().monitor("hers").monitor("his");
    let setup = setup.account("ann@propromo.example", "ann-password", &["hers"]);
    let server = setup.account("ben@propromo.example", "ben-password", &["his"]).start();
    let ask = |monitor: &str| {
        let body = json!({"email": "ann@propromo.example", "password": "ann-password", "monitor_id": monitor});
        server.post("/login", JSON, body.to_string())
    };
    assert_eq!(ask("hers").status, 200);
    let (others, nobodys) = (ask("his"), ask("no such monitor"));
    assert_eq!(others.status, 403);
    assert_eq!((others.status, others.text()), (nobodys.status, nobodys.text()));
}

#[test]
fn a_body_of_64_kib_is_read_and_a_longer_one_refused() {
    let server = Server::start();
    let mut body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    body += &" ".repeat((64 << 10) - body.len());
    assert_eq!(server.post("/login", JSON, &body).status, 200);
    body.push(' ');
    let answer = server.connect().send_what_fits(post("/login", JSON, &body)).response();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["success"], false);
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send("POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Type: application/json\r\n");
    connection.send("Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..17 {
        connection.send_what_fits(&chunk);
    }
    assert_eq!(connection.response().status, 413);
}

#[test]
fn another_kind_of_body_is_refused() {
    let server = Server::start();
    let answer = server.post("/login", "text/plain", format!("{} {}", ALICE.email, ALICE.password));
    assert_eq!(answer.status, 415);
    assert_eq!(answer.json()["success"], false);
}

#[test]
fn login_answers_post_only() {
    let server = Server::start();
    let answer = server.get("/login");
    assert_eq!(answer.status, 405);
    let allowed = answer.header("allow").expect("Allow");
    assert!(allowed.contains("POST") && !allowed.contains("GET"), "{allowed}");
}

#[test]
fn too_many_logins_are_told_when_to_come_back() {
    let server = Server::with().env("LOGIN_RATE", "2").start();
    for _ in 0..2 {
        assert_eq!(server.log_in_as(BOB.email, "wrong").status, 401);
    }
    let answer = server.login(BOB);
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").expect("Retry-After").parse::<u64>().expect("seconds") > 0);
    assert_eq!(answer.json()["success"], false);
    server.logs(&["rate_limited", "127.0.0.1"]);
}

#[test]
fn neither_password_nor_token_nor_secret_is_in_an_answer_or_the_log() {
    let server = Server::with().env("LOG_LEVEL", "trace").start();
    let answers = [
        server.log_in_as(ALICE.email, "pass-phrase-of-nobody"),
        server.post("/login", JSON, r#"{"email":7,"password":"pass-phrase-of-nobody"}"#),
        server.post("/login", JSON, r#"{"password":"pass-phrase-of-nobody""#),
        server.post("/login", FORM, "password=pass-phrase-of-nobody"),
        server.login(ALICE),
    ];
    for answer in &answers {
        assert!(!answer.text().contains("pass-phrase-of-nobody"), "{}", answer.text());
        assert!(!answer.text().contains(ALICE.password), "{}", answer.text());
    }
    let [.., granted] = &answers;
    let token = granted.json()["token"].as_str().unwrap().to_owned();
    server.enter(&token, DEMO).say_and_hear("words-of-a-message");
    server.refused(&format!("/chat/demo?auth={token}"), &[]);
    server.logs(&["token_used"]);
    let signature = token.rsplit('.').next().unwrap();
    for secret in ["pass-phrase-of-nobody", ALICE.password, &token, signature, SECRET, "words-of-a-message"] {
        assert!(!server.log().contains(secret), "the log holds {secret:?}:\n{}", server.log());
    }
}

#[test]
fn hashes_as_laravel_writes_them_are_understood_and_nothing_else() {
    let setup = Server::with().without_demo().monitor(DEMO);
    let server = setup.account("ann@propromo.example", "ann-password", &[DEMO]).start();
    let store = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the account store");
    let log_in_with_hash = |hash: &str| {
        let changed = store.execute("UPDATE users SET password = ?1", [hash]).expect("the hash can be replaced");
        assert_eq!(changed, 1);
        server.log_in_as("ann@propromo.example", "ann-password").status
    };
    // Salt and digest of "ann-password" with cost 4; the prefixes differ only in name.
    let bcrypt = bcrypt::hash_with_salt("ann-password", 4, *b"a salt of 16 byt").expect("a hash");
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        assert_eq!(log_in_with_hash(&bcrypt.format_for_version(version)), 200);
    }
    assert_eq!(log_in_with_hash("ann-password"), 401, "a stored password is no hash");
    assert_eq!(log_in_with_hash(""), 401);
}

#[test]
fn a_login_and_its_chat_share_one_connection() {
    let server = Server::start();
    let mut connection = server.connect();
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let answer = connection.send(post("/login", JSON, body)).response();
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(connection.send(get("/", &[])).response().status, 200);
    let path = format!("/chat/demo?auth={token}");
    let Ok(mut client) = Client::upgrade(connection, &path, &[]) else { panic!("refused") };
    client.say_and_hear("over a connection that was used before");
}
