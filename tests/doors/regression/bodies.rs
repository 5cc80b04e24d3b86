//! Bodies of logins that were refused, and answers whose clients waited for more.

use serde_json::json;
use support::{ALICE, Person, Response, Server, http::post_with};

fn object(person: Person) -> String {
    json!({"email": person.email, "password": person.password, "user": person.email, "pwd": person.password})
        .to_string()
}

/// Logs in at both doors with this body.
#[track_caller]
fn both(server: &Server, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> [Response; 2] {
    ["/login", "/auth"].map(|path| server.connect().send(post_with(path, headers, body.as_ref())).response())
}

#[track_caller]
fn logs_in(server: &Server, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
    for answer in both(server, headers, body) {
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    }
}

#[test]
fn json_was_refused_for_its_label() {
    let server = Server::start();
    for label in [
        "application/json; charset=utf8",
        "application/json ; charset=utf-8",
        "application/json;charset=\"UTF-8\";",
        "application/json; charset=us-ascii",
        "application/vnd.api+json",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        logs_in(&server, &[("Content-Type", label)], object(ALICE));
    }
    logs_in(&server, &[], object(ALICE));
    logs_in(&server, &[], format!("\u{feff} {}", object(ALICE)));
}

#[test]
fn a_form_was_refused_for_white_space_in_its_label() {
    let server = Server::start();
    let form =
        "email=alice%40propromo.example&password=alice-password&user=alice%40propromo.example&pwd=alice-password";
    for label in ["application/x-www-form-urlencoded ; charset=utf8", "Application/X-WWW-Form-Urlencoded;"] {
        logs_in(&server, &[("Content-Type", label)], form);
    }
    let [login, _] = both(&server, &[("Content-Type", "text/plain")], form);
    assert_eq!((login.status, login.reason().as_str()), (415, "unsupported_media_type"));
}

/// What `curl -F 'email=…;encoder=base64'` sends, and what libraries for mail send.
#[test]
fn an_encoded_part_was_taken_for_a_wrong_password() {
    let server = Server::start();
    let part = |name: &str, encoding: &str, content: &str| {
        format!(
            "--XYZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
             {content}\r\n"
        )
    };
    let (email, password) = ("YWxpY2VAcHJvcHJvbW8u\r\nZXhhbXBsZQ==", "alice=2Dpass=\r\nword");
    let body = part("email", "base64", email)
        + &part("password", "quoted-printable", password)
        + &part("user", "BASE64", email)
        + &part("pwd", "Quoted-Printable", password)
        + "--XYZ--\r\n";
    logs_in(&server, &[("Content-Type", "multipart/form-data; boundary=XYZ")], body);
    let odd = part("email", "x-uuencode", "x") + "--XYZ--\r\n";
    let [login, _] = both(&server, &[("Content-Type", "multipart/form-data; boundary=XYZ")], odd);
    assert_eq!((login.status, login.reason().as_str()), (400, "invalid_fields"));
}

#[test]
fn the_case_of_a_parts_words_mattered() {
    let server = Server::start();
    let part =
        |name: &str, text: &str| format!("--XYZ\r\nCONTENT-DISPOSITION: FORM-DATA; NAME=\"{name}\"\r\n\r\n{text}\r\n");
    let body = part("email", ALICE.email)
        + &part("password", ALICE.password)
        + &part("user", ALICE.email)
        + &part("pwd", ALICE.password)
        + "--XYZ--\r\n";
    logs_in(&server, &[("Content-Type", "Multipart/Form-Data; Boundary=XYZ")], body);
}

#[test]
fn a_compressed_body_was_called_no_json_object() {
    let server = Server::with().env("STREAM_PUBLIC", "true").env("STREAM_PUBLISH_LOOPBACK", "true").start();
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
    for path in ["/login", "/auth", "/stream"] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        let answer = server.connect().send(post_with(path, &headers, gzip)).response();
        assert_eq!((answer.status, answer.reason().as_str()), (415, "unsupported_media_type"), "{path}");
    }
    let headers = [("Content-Encoding", "gzip")];
    let rooms = server.connect().send(post_with("/chats", &headers, gzip)).response();
    assert_eq!((rooms.status, &rooms.json()["error"]["code"]), (415, &json!(415)));
    logs_in(&server, &[("Content-Encoding", "identity")], object(ALICE));
}

/// Its client tests `status` and nothing else.
#[test]
fn a_client_of_two_steps_waited_for_a_status_for_ever() {
    let server = Server::start();
    let answer = server.get_with_bearer("/token/ws", &server.access(ALICE));
    let body = answer.json();
    assert_eq!((answer.status, &body["status"], &body["success"]), (200, &json!(1), &json!(true)));
    for (answer, status) in [
        (server.get("/token/ws"), 401),
        (server.get_with_bearer("/token/ws", "nonsense"), 401),
        (server.connect().send("PUT /token/ws HTTP/1.1\r\nHost: chat.test\r\n\r\n").response(), 405),
    ] {
        let body = answer.json();
        assert_eq!((answer.status, &body["status"], &body["success"]), (status, &json!(0), &json!(false)));
        assert!(body["reason"].is_string() && body["message"].is_string(), "{body}");
    }
    assert_eq!(server.get("/ws_ticket").json().get("status"), None);
}
