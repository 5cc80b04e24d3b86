//! `DOORS`: a door that is off is not there.

use support::{ALICE, DEMO, Server, http::get, ws::handshake};

/// Requests at each door: plain ones, and opening handshakes.
const DOORS: [(&str, &[&str], &[&str]); 4] = [
    ("propromo", &["/login"], &["/chat/demo"]),
    ("tickets", &["/auth", "/ws_ticket", "/token/ws"], &["/channel", "/channel/lobby"]),
    ("streams", &["/stream", "/stream/news"], &["/stream", "/stream/news"]),
    ("rooms", &["/chats", "/chats/1", "/chats/events/1", "/chats/1/token"], &["/chats/1/ws"]),
];

/// What is answered to each request of a door: status and body.
fn answers(server: &Server, plain: &[&str], opening: &[&str]) -> Vec<(u16, String)> {
    let ask = |request: String| {
        let answer = server.connect().send(request).response();
        (answer.status, answer.text().to_owned())
    };
    let close = [("Connection", "close")];
    let plain = plain.iter().flat_map(|path| [get(path, &close), get(path, &close).replace("GET", "POST")]);
    plain.chain(opening.iter().map(|path| handshake(path, &[]))).map(ask).collect()
}

// Seen to fail with every door open, whatever `DOORS` says.
#[test]
fn a_door_that_is_off_answers_as_an_unknown_path_and_the_others_go_on() {
    let all = Server::start();
    let nowhere = answers(&all, &["/nowhere"], &[]).remove(0);
    assert_eq!(nowhere.0, 404);
    for (off, plain, opening) in DOORS {
        let others: Vec<_> = DOORS.iter().map(|(name, ..)| *name).filter(|name| *name != off).collect();
        let server = Server::with().env("DOORS", others.join(", ")).start();
        for answer in answers(&server, plain, opening) {
            assert_eq!(answer, nowhere, "{off}");
        }
        for (name, plain, opening) in DOORS {
            if name != off {
                assert!(
                    answers(&server, plain, opening).iter().all(|answer| *answer != nowhere),
                    "{name} without {off}"
                );
            }
        }
        if off != "propromo" {
            server.join(ALICE, DEMO).say_and_hear(&format!("without {off}"));
        }
    }
}

#[test]
fn an_unknown_door_stops_the_start_and_check_names_it() {
    let setup = Server::with().env("DOORS", "propromo,chatrooms");
    for command in [&["serve", "--demo"][..], &["check"]] {
        let output = setup.run(command);
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("DOORS") && told.contains("propromo,tickets,streams,rooms"), "{told}");
        assert!(told.contains("chatrooms is none"), "{told}");
    }
}
