//! The rooms door over plain HTTP: rooms that anybody makes, changes and deletes.

use serde_json::json;
use std::{collections::BTreeSet, thread};
use support::{
    Server,
    chats::{SECRET_OF_ROOM, ask, closed_room, fails, fields, public_room},
    http::post_with,
};

#[test]
fn the_public_chat_is_there_from_the_start() {
    let server = Server::start();
    let room = ask(&server, "GET", "/chats/1", None, None).json();
    assert_eq!(
        fields(&room),
        BTreeSet::from(["title", "description", "visibility", "createdAt", "updatedAt", "id", "users"])
    );
    assert_eq!(
        (&room["title"], &room["description"], &room["visibility"], &room["id"], &room["users"]),
        (
            &json!("Public Chat"),
            &json!("This is the default chat, available to everyone!"),
            &json!("public"),
            &json!(1),
            &json!([])
        )
    );
    for time in ["createdAt", "updatedAt"] {
        let time = room[time].as_str().expect("a time");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}

#[test]
fn a_room_is_found_by_its_number_and_by_its_title_in_any_case() {
    let server = Server::start();
    let made = ask(
        &server,
        "POST",
        "/chats",
        None,
        Some(json!({"title": "Grüner Raum / 2", "description": "of plants", "visibility": "Public"})),
    );
    assert_eq!(made.status, 201);
    let room = made.json();
    let id = room["id"].as_i64().expect("a number");
    assert_eq!(made.header("location"), Some(&*format!("/chats/{id}")));
    for path in [format!("/chats/{id}"), "/chats/gr%C3%9CNER%20raum%20%2f%202".to_owned()] {
        let found = ask(&server, "GET", &path, None, None);
        assert_eq!((found.status, found.json()), (200, room.clone()), "{path}");
    }
}

#[test]
fn a_room_that_is_wrong_is_refused_with_the_field_that_is() {
    let server = Server::start();
    let wrong = [
        (json!({"title": "", "visibility": "public"}), "title"),
        (json!({"title": "x", "visibility": "public"}), "title"),
        (json!({"title": "t".repeat(71), "visibility": "public"}), "title"),
        (json!({"title": "2024", "visibility": "public"}), "title"),
        (json!({"title": "Room", "description": "d".repeat(71), "visibility": "public"}), "description"),
        (json!({"title": "Room"}), "visibility"),
        (json!({"title": "Room", "visibility": ""}), "visibility"),
        (json!({"title": "Room", "visibility": "secret"}), "visibility"),
        (json!({"title": "Room", "visibility": "public", "password": "long enough"}), "visibility"),
        (json!({"title": "Room", "visibility": "private"}), "password"),
        (json!({"title": "Room", "visibility": "hidden", "password": "short"}), "password"),
    ];
    for (body, field) in wrong {
        let answer = ask(&server, "POST", "/chats", None, Some(body.clone()));
        fails(&answer, 400, 105, field);
    }
    fails(&server.post("/chats", "application/json", "{title"), 400, 103, "");
    assert_eq!(ask(&server, "GET", "/chats", None, None).json().as_array().expect("a list").len(), 1, "none was made");
}

#[test]
fn a_title_is_one_rooms_whatever_its_case() {
    let server = Server::start();
    public_room(&server, "Über uns");
    for title in ["Über uns", "ÜBER UNS", " über uns "] {
        let answer = ask(&server, "POST", "/chats", None, Some(json!({"title": title, "visibility": "public"})));
        fails(&answer, 400, 102, "title");
    }
}

#[test]
fn of_many_who_make_a_room_of_one_title_one_does() {
    let server = Server::start();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let body = json!({"title": "Raced for", "visibility": "public"});
        let racers: Vec<_> = (0..10)
            .map(|_| {
                let (server, body) = (&server, body.clone());
                scope.spawn(move || ask(server, "POST", "/chats", None, Some(body)).status)
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 400)), "{statuses:?}");
}

#[test]
fn hidden_rooms_are_in_no_listing_and_no_answer_holds_a_password() {
    let server = Server::start();
    let (private, hidden) = (closed_room(&server, "Private", "private"), closed_room(&server, "Hidden", "hidden"));
    for path in ["/chats", "/chats/all"] {
        let listing = ask(&server, "GET", path, None, None);
        let ids: Vec<_> = listing.json().as_array().expect("a list").iter().map(|room| room["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(private)], "{path}");
        assert!(!listing.text().contains("$2y$") && !listing.text().contains(SECRET_OF_ROOM));
    }
    for id in [private, hidden] {
        let found = ask(&server, "GET", &format!("/chats/{id}"), None, None);
        assert!(!found.text().contains("$2y$") && !found.text().contains("password"), "{}", found.text());
    }
    assert!(!server.log().contains(SECRET_OF_ROOM));
}

#[test]
fn a_browser_gets_the_list_as_a_page() {
    let server = Server::start();
    public_room(&server, "<b>bold</b>");
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let request = format!("GET /chats HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
    let page = server.connect().send(request).response();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Public Chat") && page.text().contains("&lt;b&gt;bold&lt;/b&gt;"), "{}", page.text());
    assert!(page.header("content-security-policy").is_some_and(|policy| !policy.contains("unsafe-inline")));
    assert_eq!(server.get("/chats").header("content-type"), Some("application/json"));
}

#[test]
fn what_is_not_below_chats_is_refused_in_the_words_of_this_door() {
    let server = Server::start();
    fails(&ask(&server, "GET", "/chats/99", None, None), 404, 101, "id");
    fails(&ask(&server, "GET", "/chats/no%20such%20room", None, None), 404, 101, "id");
    fails(&ask(&server, "GET", "/chats/1/nothing", None, None), 404, 404, "");
    let answer = ask(&server, "DELETE", "/chats/1/token", None, None);
    fails(&answer, 405, 405, "");
    assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    fails(&ask(&server, "GET", "/chats/1/ws", None, None), 426, 426, "");
}

#[test]
fn a_public_room_is_changed_and_says_when() {
    let server = Server::start();
    let id = public_room(&server, "Before");
    let before = ask(&server, "GET", &format!("/chats/{id}"), None, None).json();
    let body = json!({"title": "After", "description": "changed", "visibility": "public"});
    let answer = ask(&server, "PUT", "/chats/before", None, Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let after = ask(&server, "GET", "/chats/after", None, None).json();
    assert_eq!(answer.json(), after);
    assert_eq!((&after["id"], &after["description"]), (&json!(id), &json!("changed")));
    assert_eq!(after["createdAt"], before["createdAt"]);
    assert!(after["updatedAt"].as_str() >= before["updatedAt"].as_str());
    fails(&ask(&server, "PUT", "/chats/after", None, Some(json!({"title": "public CHAT"}))), 400, 102, "title");
    fails(&ask(&server, "GET", "/chats/before", None, None), 404, 101, "id");
}

#[test]
fn only_as_many_rooms_are_made_a_minute_as_the_setting_says() {
    let server = Server::with().env("ROOM_RATE", "2").start();
    public_room(&server, "One");
    public_room(&server, "Two");
    let answer = ask(&server, "POST", "/chats", None, Some(json!({"title": "Three", "visibility": "public"})));
    fails(&answer, 429, 429, "");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn nobody_may_change_a_public_room_if_the_setting_says_so() {
    let server = Server::with().env("PUBLIC_ROOM_CHANGES", "nobody").start();
    fails(&ask(&server, "PUT", "/chats/1", None, Some(json!({"title": "Mine"}))), 401, 104, "token");
    fails(&ask(&server, "DELETE", "/chats/1", None, None), 401, 104, "token");
    assert_eq!(ask(&server, "GET", "/chats/1", None, None).json()["title"], "Public Chat");
}

#[test]
fn its_creator_may_change_a_public_room_with_the_key_if_the_setting_says_so() {
    let server = Server::with().env("PUBLIC_ROOM_CHANGES", "creator").start();
    let body = json!({"title": "Mine", "visibility": "public"});
    let made = ask(&server, "POST", "/chats", None, Some(body));
    let key = made.header("x-room-key").expect("a key").to_owned();
    let path = format!("/chats/{}", made.json()["id"]);
    for wrong in [None, Some("wrong"), Some(&key[1..])] {
        fails(&ask(&server, "PUT", &path, wrong, Some(json!({"title": "Yours"}))), 401, 104, "token");
    }
    assert_eq!(ask(&server, "PUT", &path, Some(&key), Some(json!({"title": "Still mine"}))).status, 200);
    fails(&ask(&server, "DELETE", "/chats/1", Some(&key), None), 401, 104, "token");
    assert_eq!(ask(&server, "DELETE", &path, Some(&key), None).status, 200);
}

// Seen to fail without the arm for `FIRST` in `api::chats::may_change`: it is renamed, hidden and deleted.
#[test]
fn the_public_chat_is_changed_by_nobody_but_the_operators() {
    let server = Server::start();
    for change in [json!({"title": "Mine"}), json!({"visibility": "hidden", "password": SECRET_OF_ROOM})] {
        fails(&ask(&server, "PUT", "/chats/1", None, Some(change)), 401, 104, "token");
    }
    fails(&ask(&server, "DELETE", "/chats/1", None, None), 401, 104, "token");
    assert_eq!(ask(&server, "GET", "/chats/1", None, None).json()["title"], "Public Chat");
}

// Seen to fail without `not_from_another_site` in `api::chats::create`: the page's room is made.
#[test]
fn another_sites_page_makes_no_room_with_a_request_that_needs_no_permission() {
    let server = Server::start();
    let body = json!({"title": "By a page", "visibility": "public"}).to_string();
    let post = |headers: &[(&str, &str)]| server.connect().send(post_with("/chats", headers, &body)).response();
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"] {
        let answer = post(&[("Origin", "https://evil.example"), ("Content-Type", media)]);
        fails(&answer, 415, 415, "");
    }
    fails(&post(&[("Origin", "null")]), 415, 415, "");
    assert_eq!(ask(&server, "GET", "/chats", None, None).json().as_array().expect("a list").len(), 1);
    // A program says no origin, and may label its JSON as it likes.
    assert_eq!(post(&[("Content-Type", "text/plain")]).status, 201);
}
