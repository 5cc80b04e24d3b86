//! Webhooks out: every event at least once, in the order of its room, whatever becomes of the server or the endpoint.

use rustix::process::Signal;
use serde_json::json;
use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, BOB, Client, DEMO, PATIENCE, Server,
    channel::enter,
    eventually, free_address,
    receiver::{BROKEN, GONE, Received, Receiver, TAKEN},
    server::Setup,
};

const MESSAGES: &str = "message.created,message.edited,message.deleted";

fn setup(url: &str) -> Setup {
    Server::with_api().env("MESSAGE_RATE", "0").webhooks_to(url).env("ADMIN_LISTEN", "127.0.0.1:0")
}

/// A server that tells of messages alone.
fn messages_to(url: &str) -> Server {
    setup(url).env("WEBHOOK_EVENTS", MESSAGES).start()
}

fn texts(received: &[Received]) -> Vec<&str> {
    received.iter().map(Received::text).collect()
}

/// What is counted, by the end of the line's name.
#[track_caller]
fn figure(server: &Server, name: &str) -> f64 {
    let name = format!("propromo_chat_{name}");
    server.sample(&name).unwrap_or_else(|| panic!("/metrics has no {name}"))
}

#[test]
fn whatever_happens_in_a_room_is_told_in_its_order() {
    let receiver = Receiver::start();
    let server = setup(&receiver.url()).start();
    let arrives = |kind: &str| {
        eventually(kind, || receiver.received().iter().any(|received| received.kind() == kind));
    };
    let mut alice = server.channel(ALICE, DEMO);
    // Who goes again before it is told that she came makes no event.
    arrives("member.joined");
    let said = alice.post("helo");
    alice.ask(json!({"type": "edit", "id": said["id"], "text": "hello"}));
    let edited = alice.hear_a("edited");
    alice.ask(json!({"type": "react", "id": said["id"], "emoji": "👍", "on": true}));
    alice.ask(json!({"type": "delete", "id": said["id"]}));
    let deleted = alice.wait_for("deleted");
    drop(alice);
    // A message that is deleted before it could be sent is only told to be deleted.
    arrives("member.left");
    let received = receiver.received();
    let kinds: Vec<_> = received.iter().map(Received::kind).collect();
    assert_eq!(kinds[0], "member.joined");
    assert_eq!(kinds[kinds.len() - 1], "member.left");
    let of = |kind: &str| received.iter().find(|received| received.kind() == kind).map(|received| &received.event);
    // What was changed before it was sent is sent as it is then; each deletion is told.
    let last = of("message.deleted").expect("told");
    assert_eq!((&last["data"]["id"], &last["data"]["change"]), (&said["id"], &deleted["change"]));
    assert_eq!((&last["data"]["user"], &last["data"]["room"]), (&json!(ALICE.email), &json!("monitor:demo")));
    if let Some(edit) = of("message.edited") {
        assert_eq!(edit["data"]["change"], edited["change"]);
    }
    let ids: HashSet<_> = received.iter().map(Received::id).collect();
    assert_eq!(ids.len(), received.len(), "each event has an id of its own");
    let headers = &received[0].headers;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(received[0].line, "POST /hooks/s3cr3t-path HTTP/1.1");
    assert!(!server.log().contains("s3cr3t"), "the path may be a secret: {}", server.log());
    // The server has yet to read the receiver's last answer.
    let sent = || figure(&server, "webhook_events_total{result=\"sent\"}") as usize;
    eventually("all is counted", || sent() == received.len() && figure(&server, "webhook_rooms") == 0.0);
}

#[test]
fn an_edit_and_what_was_said_before_are_two_events() {
    let receiver = Receiver::start();
    let server = messages_to(&receiver.url());
    let mut alice = server.channel(ALICE, DEMO);
    let said = alice.post("helo");
    receiver.wait_for_text("helo");
    alice.ask(json!({"type": "edit", "id": said["id"], "text": "hello"}));
    let received = receiver.wait_for(2);
    let kinds: Vec<_> = received.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["message.created", "message.edited"], "and nobody's coming, which is not wanted");
    let created = &received[0].event;
    assert_eq!(created["timestamp"], said["timestamp"]);
    assert_eq!((&created["data"]["id"], &created["data"]["user"]), (&said["id"], &json!(ALICE.email)));
    assert_eq!(received[1].text(), "hello");
}

#[test]
fn the_members_who_are_not_connected_are_named() {
    let receiver = Receiver::start();
    let server = messages_to(&receiver.url());
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("is anybody here?");
    let absent = |text: &str| receiver.wait_for_text(text).event["data"]["absent"].clone();
    let bob = server.login(BOB).json()["user"]["id"].clone();
    let alone = absent("is anybody here?");
    assert_eq!(alone.as_array().map(Vec::len), Some(1), "{alone}: not Alice, who said it");
    if bob.is_number() {
        assert_eq!(alone, json!([bob]));
    }
    let _bob = server.join(BOB, DEMO);
    alice.post("you are!");
    assert_eq!(absent("you are!"), json!([]));
    server.channel(ALICE, "lobby").post("hi");
    assert!(absent("hi").is_null(), "a channel has no members");
}

#[test]
fn what_is_said_while_the_endpoint_is_away_arrives_later_in_order() {
    let address = free_address();
    let server = messages_to(&format!("http://{address}/"));
    let mut alice = server.channel(ALICE, DEMO);
    let said: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    for text in &said {
        alice.post(text);
    }
    server.logs(&["the webhook endpoint can't take events"]);
    assert!(figure(&server, "webhook_events_total{result=\"failed\"}") >= 1.0);
    let receiver = Receiver::at(address, |_| TAKEN.into());
    assert_eq!(texts(&receiver.wait_for(said.len())), said);
    server.logs(&["the webhook endpoint can take events again"]);
}

#[test]
fn a_killed_server_loses_nothing_and_repeats_with_the_same_id() {
    let (open, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (opened, noted) = (open.clone(), refused.clone());
    let receiver = Receiver::answering(move |received| {
        if opened.load(Ordering::SeqCst) {
            return TAKEN.into();
        }
        noted.lock().expect("no panics").push((received.id().to_owned(), received.text().to_owned()));
        BROKEN.into()
    });
    let mut server = messages_to(&receiver.url());
    let mut alice = server.channel(ALICE, DEMO);
    for n in 0..50 {
        alice.post(&n.to_string());
    }
    eventually("the first was tried", || !refused.lock().expect("no panics").is_empty());
    server.kill9();
    let before = receiver.received().len();
    open.store(true, Ordering::SeqCst);
    let server = server.restart();
    eventually("all arrive", || receiver.received().len() >= before + 50);
    let all = receiver.received();
    assert_eq!(texts(&all[before..]), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    for (id, text) in &*refused.lock().expect("no panics") {
        let taken = all[before..].iter().find(|received| received.text() == text).expect("it came again");
        assert_eq!(taken.id(), id, "the same event has the same id");
    }
    // What was taken is not sent again after the next start.
    let mut server = server;
    server.terminate();
    let server = server.restart();
    server.channel(ALICE, DEMO).post("after");
    receiver.wait_for_text("after");
    assert_eq!(receiver.received().len(), before + 51);
}

#[test]
fn history_from_before_there_was_an_endpoint_is_not_sent() {
    let mut server = Server::with_api().env("MESSAGE_RATE", "0").start();
    server.channel(ALICE, DEMO).post("before");
    server.terminate();
    let receiver = Receiver::start();
    let mut server = server.setup().clone().webhooks_to(&receiver.url()).env("WEBHOOK_EVENTS", MESSAGES).start();
    server.channel(ALICE, DEMO).post("since");
    assert_eq!(texts(&receiver.wait_for(1)), ["since"]);
    server.terminate();
}

#[test]
fn a_slow_endpoint_delays_nobody() {
    let receiver = Receiver::answering(|_| {
        thread::sleep(Duration::from_secs(3));
        TAKEN.into()
    });
    let server = messages_to(&receiver.url());
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("first");
    let began = Instant::now();
    for n in 0..100 {
        alice.post(&n.to_string());
    }
    assert!(receiver.received().len() <= 1 || began.elapsed() > Duration::from_secs(3), "nobody waited for it");
}

#[test]
fn an_answer_that_never_comes_is_given_up_and_the_event_is_sent_again() {
    let hung = Arc::new(AtomicUsize::new(0));
    let hangs = hung.clone();
    let receiver = Receiver::answering(move |_| {
        if hangs.fetch_add(1, Ordering::SeqCst) == 0 {
            thread::sleep(PATIENCE);
        }
        TAKEN.into()
    });
    let server = setup(&receiver.url()).env("WEBHOOK_EVENTS", MESSAGES).env("WEBHOOK_TIMEOUT", "1").start();
    server.channel(ALICE, DEMO).post("hello");
    receiver.wait_for_text("hello");
    assert!(hung.load(Ordering::SeqCst) >= 2);
}

#[test]
fn an_endpoint_that_is_gone_is_left_alone_until_sighup() {
    let gone = Arc::new(AtomicBool::new(true));
    let is_gone = gone.clone();
    let answer = move |_: &Received| if is_gone.load(Ordering::SeqCst) { GONE.into() } else { TAKEN.into() };
    let receiver = Receiver::answering(answer);
    let server = messages_to(&receiver.url());
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("one");
    server.logs(&["answers 410", "SIGHUP"]);
    alice.post("two");
    server.channel(ALICE, "lobby").post("elsewhere");
    assert_eq!(figure(&server, "webhook_gone"), 1.0);
    assert_eq!(texts(&receiver.received()), ["one"]);
    gone.store(false, Ordering::SeqCst);
    server.signal(Signal::HUP);
    let received = receiver.wait_for(4);
    let in_demo: Vec<_> = received
        .iter()
        .filter(|received| received.event["data"]["room"] == "monitor:demo")
        .map(Received::text)
        .collect();
    assert_eq!(in_demo, ["one", "one", "two"]);
    server.logs(&["which was gone, is tried again"]);
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Receiver::start();
    let place = other.url();
    let moved = Arc::new(AtomicBool::new(true));
    let (is_moved, elsewhere) = (moved.clone(), place.clone());
    let receiver = Receiver::answering(move |_| match is_moved.load(Ordering::SeqCst) {
        true => format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"),
        false => TAKEN.into(),
    });
    let server = messages_to(&receiver.url());
    server.channel(ALICE, DEMO).post("hello");
    server.logs(&["can't take events", "307"]);
    moved.store(false, Ordering::SeqCst);
    assert_eq!(receiver.wait_for(2)[1].text(), "hello");
    assert!(other.received().is_empty());
}

#[test]
fn an_event_that_is_never_taken_is_given_up_and_the_next_is_sent() {
    let receiver =
        Receiver::answering(|received| if received.text() == "poison" { BROKEN.into() } else { TAKEN.into() });
    let server = setup(&receiver.url()).env("WEBHOOK_EVENTS", MESSAGES).env("WEBHOOK_GIVE_UP", "1").start();
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("poison");
    alice.post("honey");
    let mut elsewhere = server.channel(ALICE, "lobby");
    elsewhere.post("other rooms go on");
    receiver.wait_for_text("other rooms go on");
    receiver.wait_for_text("honey");
    server.logs(&["an event is given up", "monitor:demo"]);
    assert_eq!(figure(&server, "webhook_events_total{result=\"given_up\"}"), 1.0);
    let tried = texts(&receiver.received()).iter().filter(|text| **text == "poison").count();
    assert!(tried >= 2, "it was tried {tried} times");
}

#[test]
fn a_private_address_is_not_connected_to_whatever_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("no waiting");
    let url = format!("https://localhost:{}/", listener.local_addr().expect("an address").port());
    let server = setup(&url).without("WEBHOOK_ALLOW_PRIVATE").start();
    server.channel(ALICE, DEMO).post("hello");
    server.logs(&["can't take events", "WEBHOOK_ALLOW_PRIVATE"]);
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn what_would_go_nowhere_or_unsigned_is_refused_at_the_start() {
    for (name, value, said) in [
        ("WEBHOOK_SECRET", "", "without WEBHOOK_SECRET"),
        ("WEBHOOK_SECRET", "secret", "whsec_"),
        ("WEBHOOK_ALLOW_PRIVATE", "false", "not encrypted"),
        ("WEBHOOK_EVENTS", "message.read", "message.created"),
    ] {
        let output = setup("http://127.0.0.1:9/").env(name, value).run(&["serve", "--demo"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {errors}");
        assert!(errors.contains(said), "{name}={value}: {errors}");
    }
}

/// The issue's own measure: nothing is lost, each room is in order, and what is repeated is known by its id.
#[test]
fn ten_thousand_messages_survive_two_deaths_of_the_receiver_and_one_of_the_server() {
    const ROOMS: usize = 10;
    const EACH: usize = 1_000;
    let address = free_address();
    let all: Arc<Mutex<Vec<Received>>> = Arc::default();
    let receive = |all: &Arc<Mutex<Vec<Received>>>| {
        let all = all.clone();
        Receiver::at(address, move |received| {
            all.lock().expect("no panics").push(received.clone());
            TAKEN.into()
        })
    };
    let arrived = || all.lock().expect("no panics").len();
    let mut receiver = receive(&all);
    let mut server = setup(&format!("http://{address}/")).env("WEBHOOK_EVENTS", MESSAGES).start();
    let say = |server: &Server, from: usize, to: usize| {
        let mut talkers: Vec<Client> = (0..ROOMS).map(|room| server.channel(ALICE, &format!("room-{room}"))).collect();
        for start in (from..to).step_by(50) {
            for talker in &mut talkers {
                for n in start..start + 50 {
                    talker.say(n.to_string());
                }
                for n in start..start + 50 {
                    let text = n.to_string();
                    while talker.wait_for("message")["text"] != *text {}
                }
            }
        }
    };
    say(&server, 0, 400);
    eventually("some arrive", || arrived() > 1_000);
    drop(receiver);
    say(&server, 400, 700);
    receiver = receive(&all);
    let before = arrived();
    eventually("it goes on", || arrived() > before + 500);
    server.kill9();
    server = server.restart();
    say(&server, 700, EACH);
    drop(receiver);
    let receiver = receive(&all);
    let known = |all: &[Received]| all.iter().map(|received| received.id().to_owned()).collect::<HashSet<_>>().len();
    support::eventually_within(Duration::from_secs(600), "all arrive", || {
        known(&all.lock().expect("no panics")) >= ROOMS * EACH
    });
    drop(receiver);
    let all = all.lock().expect("no panics");
    assert_eq!(known(&all), ROOMS * EACH);
    for room in 0..ROOMS {
        let name = format!("channel:room-{room}");
        let mut seen = HashSet::new();
        let firsts =
            all.iter().filter(|received| received.event["data"]["room"] == *name && seen.insert(received.id()));
        let texts: Vec<String> = firsts.map(|received| received.text().to_owned()).collect();
        assert_eq!(texts, (0..EACH).map(|n| n.to_string()).collect::<Vec<_>>(), "{name}");
    }
    let repeated = all.len() - ROOMS * EACH;
    // One for each sender each time that somebody dies.
    assert!(repeated <= 3 * 8 * 2, "{repeated} events came twice");
}

// Seen to fail with turns by room: hers is the last event.
#[test]
fn events_of_others_do_not_wait_for_the_many_channels_of_one_account() {
    const CHANNELS: usize = 60;
    let (is_open, on_their_way) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (opens, comes) = (is_open.clone(), on_their_way.clone());
    let receiver = Receiver::answering(move |_| {
        comes.fetch_add(1, Ordering::SeqCst);
        // As slow as can be, until all is said.
        let begun = Instant::now();
        while !opens.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        // Longer than events gather.
        thread::sleep(Duration::from_millis(100));
        TAKEN.into()
    });
    let setup = setup(&receiver.url()).env("WEBHOOK_EVENTS", MESSAGES).env("WEBHOOK_TIMEOUT", "5m");
    let server = setup.env("CHANNEL_RATE", "0").start();
    let mut alice = server.channel(ALICE, DEMO);
    let access = server.access(BOB);
    for n in 0..CHANNELS {
        enter(server.address, &access, &format!("bobs-{n}")).post(&format!("filled {n}"));
    }
    alice.post("hers");
    eventually("eight are on their way", || on_their_way.load(Ordering::SeqCst) >= 8);
    is_open.store(true, Ordering::SeqCst);
    let received = receiver.wait_for(CHANNELS + 1);
    let place = texts(&received).iter().position(|text| *text == "hers").expect("told");
    // Behind those that were on their way, and at most two more of each sender.
    assert!(place <= 24, "{place} of {:?}", texts(&received));
}
