//! Each message has one answer: its echo, that it is not stored, or that nobody knows; and the first two are true.

use crate::several::{NORA, Nodes, log_in, node};
use serde_json::{Value, json};
use std::{collections::BTreeSet, thread, time::Instant};
use support::{
    ALICE, Client, DEMO, PATIENCE, Person, Server,
    api::{MASTER, api_keys, call},
    chats::{Guest, public_room},
    eventually,
    http::get,
    lossy::{Loss, LossyWay},
    postgres::Cluster,
    redis::Redis,
    server::Setup,
};

/// Nodes with a monitor, an account of it, and keys of backends.
pub fn nodes(count: usize, url: &str, with: impl Fn(Setup) -> Setup) -> Nodes {
    let setup = |accounts: Option<&str>| with(talkative(url, accounts));
    let first = setup(None).monitor(DEMO).account(NORA.email, NORA.password, &[DEMO]);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let mut servers = vec![first.start()];
    servers.extend((1..count).map(|_| setup(Some(&accounts)).start()));
    let access = log_in(&servers[0]).json()["token"].as_str().expect("an access token").to_owned();
    entered_with(servers, &access)
}

fn talkative(url: &str, accounts: Option<&str>) -> Setup {
    let setup = node(url, accounts).env("API_KEYS", api_keys()).env("ANONYMOUS_RATE", "0");
    setup.env("HISTORY_ON_JOIN", "10000").env("PUBLIC_ROOM_CHANGES", "anyone")
}

#[track_caller]
fn entered_with(servers: Vec<Server>, access: &str) -> Nodes {
    let authorization = format!("Bearer {access}");
    let request = get("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")]);
    let ticket = servers[0].connect().send(request).response().json()["ticket"].as_str().expect("a ticket").to_owned();
    Nodes { servers, ticket }
}

/// What a sender hears of a message. Only a `ref` says which one was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Echo(String),
    Ack(String),
    NotStored(Option<String>),
    Unknown(Option<String>),
    /// Of others, or of somebody's coming.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Propromo,
    /// The channel protocol with plain text as message, or with a `ref`.
    Text,
    Reference,
    Rooms,
}

const DOORS: [Door; 4] = [Door::Propromo, Door::Text, Door::Reference, Door::Rooms];

/// One who talks in a room of its own.
struct Speaker {
    door: Door,
    client: Client,
    /// How the room is opened again, to see what is kept.
    room: String,
}

impl Speaker {
    #[track_caller]
    fn enter(nodes: &Nodes, at: usize, door: Door, person: Person) -> Speaker {
        let server = &nodes.servers[at];
        let (client, room) = match door {
            Door::Propromo => (server.enter(&server.token(person), DEMO), DEMO.to_owned()),
            Door::Text | Door::Reference => {
                let room = format!("{door:?}-{at}");
                (nodes.join(at, &room, person.email), room)
            }
            Door::Rooms => {
                let room = public_room(server, &format!("rooms-{at}"));
                (Guest::join(server, room, "guest").client, room.to_string())
            }
        };
        Speaker { door, client, room }
    }

    fn say(&mut self, text: &str) {
        let frame = match self.door {
            Door::Propromo | Door::Text => text.to_owned(),
            Door::Reference => json!({"type": "message", "text": text, "ref": text}).to_string(),
            Door::Rooms => json!({"event_type": "send", "name": "guest", "color": "", "msg": text}).to_string(),
        };
        self.client.say(frame);
    }

    #[track_caller]
    fn hear(&mut self) -> Heard {
        heard(self.door, &self.client.hear())
    }

    /// The next that is said of a message.
    #[track_caller]
    fn hear_of_message(&mut self) -> Heard {
        loop {
            match self.hear() {
                Heard::Other => {}
                heard => return heard,
            }
        }
    }

    /// Says something until it is stored; what was heard until then.
    #[track_caller]
    fn say_until_stored(&mut self, text: &str) -> Vec<Heard> {
        let until = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        for attempt in 0.. {
            assert!(Instant::now() < until, "nothing is stored: {all:?}");
            let text = format!("{text} {attempt}");
            self.say(&text);
            let mut due = vec![Heard::Echo(text.clone())];
            due.extend((self.door == Door::Reference).then(|| Heard::Ack(text.clone())));
            while !due.is_empty() {
                let heard = self.hear_of_message();
                match heard {
                    heard if due.contains(&heard) => due.retain(|due| *due != heard),
                    Heard::NotStored(of) if of.as_ref().is_none_or(|of| *of == text) => break,
                    heard => all.push(heard),
                }
            }
            if due.is_empty() {
                return all;
            }
        }
        unreachable!("it says something without end")
    }

    /// The texts that are kept in its room.
    #[track_caller]
    fn kept(&self, nodes: &Nodes) -> Vec<String> {
        let room = match self.door {
            Door::Propromo => format!("monitor:{}", self.room),
            Door::Text | Door::Reference => format!("channel:{}", self.room),
            Door::Rooms => format!("chitchat:{}", self.room),
        };
        kept(&nodes.servers[0], &room)
    }
}

/// The texts that are kept in a room.
#[track_caller]
fn kept(server: &Server, room: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/api/v1/rooms/{room}/messages?limit=200{before}");
        let page = call(server.address, MASTER, "GET", &path, None).json();
        let messages = page["messages"].as_array().unwrap_or_else(|| panic!("no page: {page}"));
        let texts = messages.iter().map(|message| message["text"].as_str().expect("a text").to_owned());
        kept.splice(0..0, texts);
        if page["more"] != true {
            return kept;
        }
        before = format!("&before={}", messages[0]["id"].as_str().expect("an id"));
    }
}

fn heard(door: Door, frame: &str) -> Heard {
    let frame: Value = serde_json::from_str(frame).expect("frames are JSON");
    let text = |name: &str| frame[name].as_str().map(str::to_owned);
    let failed = |of: Option<String>, word: Option<&str>| match word {
        Some("unavailable") => Heard::NotStored(of),
        Some("unknown") => Heard::Unknown(of),
        word => panic!("{word:?}: {frame}"),
    };
    match door {
        Door::Propromo if frame["success"] == false => failed(None, frame["reason"].as_str()),
        Door::Propromo => Heard::Echo(text("text").expect("a text")),
        Door::Text | Door::Reference => match frame["type"].as_str() {
            Some("message") => Heard::Echo(text("text").expect("a text")),
            Some("ack") => Heard::Ack(text("ref").expect("a reference")),
            Some("error") => failed(text("ref"), frame["code"].as_str()),
            _ => Heard::Other,
        },
        Door::Rooms => match frame["event_type"].as_str() {
            Some("send") => Heard::Echo(text("msg").expect("a text")),
            // These clients have one number for both, and show the sentence.
            Some("error") if frame["msg"].as_str().is_some_and(|told| told.contains("may or may not")) => {
                Heard::Unknown(None)
            }
            Some("error") => failed(None, (frame["code"] == 503).then_some("unavailable")),
            _ => Heard::Other,
        },
    }
}

#[test]
fn what_is_stored_though_its_answer_is_lost_is_echoed_and_what_never_arrived_is_not_stored() {
    let redis = Redis::start();
    let way = LossyWay::to(redis.port);
    let nodes = nodes(1, &format!("redis://127.0.0.1:{}", way.port), |setup| setup);
    let mut speakers: Vec<Speaker> = DOORS.into_iter().map(|door| Speaker::enter(&nodes, 0, door, NORA)).collect();
    let address = nodes.servers[0].address;
    let publish = |text: &str| {
        let body = json!({"text": text, "ref": text});
        call(address, MASTER, "POST", "/api/v1/rooms/channel:api/messages", Some(body))
    };
    for speaker in &mut speakers {
        speaker.say_until_stored("before");
        way.lose(Loss::Answer, "kept");
        speaker.say("kept");
        let mut heard = vec![speaker.hear_of_message()];
        if speaker.door == Door::Reference {
            // The echo comes by another way.
            heard.push(speaker.hear_of_message());
            heard.retain(|heard| *heard != Heard::Ack("kept".into()));
        }
        way.mend();
        heard.extend(speaker.say_until_stored("after"));
        assert_eq!(heard, [Heard::Echo("kept".into())], "{:?}", speaker.door);
    }
    way.lose(Loss::Answer, "kept");
    assert_eq!(publish("kept").status, 201);
    way.mend();
    assert!(way.lost() > speakers.len(), "{} answers were lost", way.lost());

    way.lose(Loss::Request, "lost");
    thread::scope(|scope| {
        let published = scope.spawn(|| publish("lost"));
        speakers.iter_mut().for_each(|speaker| speaker.say("lost"));
        for speaker in &mut speakers {
            let answer = speaker.hear_of_message();
            assert!(matches!(answer, Heard::NotStored(_)), "{:?}: {answer:?}", speaker.door);
        }
        let answer = published.join().expect("it has an answer");
        assert_eq!((answer.status, answer.reason().as_str()), (503, "unavailable"));
    });
    way.mend();
    for speaker in &mut speakers {
        let late = speaker.say_until_stored("the last");
        assert_eq!(late, [], "{:?}", speaker.door);
        let mut kept = speaker.kept(&nodes);
        kept.retain(|text| matches!(text.as_str(), "kept" | "lost"));
        assert_eq!(kept, ["kept"], "{:?}", speaker.door);
    }
    assert_eq!(kept(&nodes.servers[0], "channel:api"), ["kept"]);
}

/// The two things that are heard of a message of which nobody knew: that, and what everybody hears once Redis is back.
#[track_caller]
fn is_unknown_and_then_seen(speaker: &mut Speaker, way: &LossyWay, text: &str) {
    let mut heard = vec![speaker.hear_of_message()];
    let echo = Heard::Echo(text.into());
    // If the feed was faster than the loss.
    if heard == [echo.clone()] {
        heard.push(speaker.hear_of_message());
    }
    way.mend();
    if heard.len() == 1 {
        heard.push(speaker.hear_of_message());
    }
    let of = (speaker.door == Door::Reference).then(|| text.to_owned());
    assert!(heard.contains(&echo) && heard.contains(&Heard::Unknown(of)), "{:?}: {heard:?}", speaker.door);
}

#[test]
fn of_what_a_store_that_stays_away_was_given_last_nobody_knows() {
    let redis = Redis::start();
    let way = LossyWay::to(redis.port);
    let nodes = nodes(1, &format!("redis://127.0.0.1:{}", way.port), |setup| setup.env("STORE_PATIENCE", "1"));
    for door in DOORS {
        eventually("the node is ready", || nodes.servers[0].get("/readyz").status == 200);
        let mut speaker = Speaker::enter(&nodes, 0, door, NORA);
        speaker.say_until_stored("before");
        way.lose_and_close(Loss::Answer, "adrift");
        speaker.say("adrift");
        is_unknown_and_then_seen(&mut speaker, &way, "adrift");
    }
}

#[test]
fn a_redis_that_comes_back_empty_is_not_believed_that_nothing_was_stored() {
    let mut redis = Redis::start();
    let way = LossyWay::to(redis.port);
    let nodes = nodes(1, &format!("redis://127.0.0.1:{}", way.port), |setup| setup.env("STORE_PATIENCE", "60"));
    let mut speaker = Speaker::enter(&nodes, 0, Door::Reference, NORA);
    speaker.say_until_stored("before");
    way.lose_and_close(Loss::Answer, "adrift");
    speaker.say("adrift");
    eventually("its answer is lost", || way.lost() == 1);
    redis.kill();
    redis.wipe();
    redis.run();
    way.mend();
    let mut answer = speaker.hear_of_message();
    if answer == Heard::Echo("adrift".into()) {
        answer = speaker.hear_of_message();
    }
    assert_eq!(answer, Heard::Unknown(Some("adrift".into())));
    nodes.servers[0].logs(&["Redis has lost data"]);
}

/// Messages that each speaker says while Redis is killed.
const EACH: usize = 25;

/// What became of what one speaker has said.
#[derive(Default)]
struct Tally {
    echoes: Vec<String>,
    not_stored: BTreeSet<String>,
    /// Of messages that have no reference.
    nameless: usize,
}

impl Tally {
    #[track_caller]
    fn note(&mut self, heard: Heard) {
        match heard {
            Heard::Echo(text) => {
                assert!(!self.echoes.contains(&text) && !self.not_stored.contains(&text), "{text} has two answers");
                self.echoes.push(text);
            }
            Heard::NotStored(Some(text)) => {
                assert!(!self.echoes.contains(&text), "{text} is stored and is not");
                assert!(self.not_stored.insert(text), "it has two answers");
            }
            Heard::NotStored(None) => self.nameless += 1,
            Heard::Unknown(of) => panic!("nobody knows of {of:?} though Redis is back and has lost nothing"),
            Heard::Ack(_) | Heard::Other => {}
        }
    }

    fn answers(&self) -> usize {
        self.echoes.len() + self.not_stored.len() + self.nameless
    }
}

/// What is killed: Redis, or where there is a database, one and the other.
struct Killed<'a> {
    redis: Redis,
    cluster: Option<&'a Cluster>,
}

impl Killed<'_> {
    fn kill(&mut self, round: usize) {
        match self.cluster_of(round) {
            Some(cluster) => cluster.kill(),
            None => self.redis.kill(),
        }
    }

    fn run(&mut self, round: usize) {
        match self.cluster_of(round) {
            Some(cluster) => cluster.run(),
            None => self.redis.run(),
        }
    }

    fn cluster_of(&self, round: usize) -> Option<&Cluster> {
        self.cluster.filter(|_| round % 2 == 1)
    }
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |count| count.parse().expect("a number"))
}

// `scripts/soak --redis --kills N` kills it more often.
#[test]
fn each_message_has_one_answer_however_often_redis_is_killed() {
    let redis = Redis::start();
    // A busy machine may take its time to start Redis again.
    let nodes = nodes(2, &redis.url(), |setup| setup.env("STORE_PATIENCE", "300"));
    each_message_has_one_answer(number("REDIS_KILLS", 2), &nodes, NORA, Killed { redis, cluster: None });
}

// `scripts/soak --archive --kills N` kills them more often.
#[test]
fn each_message_has_one_answer_however_often_redis_and_postgresql_are_killed() {
    let (redis, cluster) = (Redis::start(), Cluster::start());
    let database = cluster.database();
    let node = || talkative(&redis.url(), Some(&database.url())).env("STORE_PATIENCE", "300").env("HISTORY_HOT", "20");
    let servers = vec![node().start(), node().start()];
    let access = servers[0].access(ALICE);
    let nodes = entered_with(servers, &access);
    let kills = number("ARCHIVE_KILLS", 6);
    each_message_has_one_answer(kills, &nodes, ALICE, Killed { redis, cluster: Some(&cluster) });
}

#[track_caller]
fn each_message_has_one_answer(kills: usize, nodes: &Nodes, person: Person, mut killed: Killed<'_>) {
    let places = [0, 1].into_iter().flat_map(|at| DOORS.map(|door| (at, door)));
    // The account is in its monitor's room once: there it would hear itself.
    let places = places.filter(|place| *place != (1, Door::Propromo));
    let mut speakers: Vec<Speaker> = places.map(|(at, door)| Speaker::enter(nodes, at, door, person)).collect();
    let mut tallies: Vec<Tally> = speakers.iter().map(|_| Tally::default()).collect();
    let (mut echoed, mut refused) = (0, 0);
    for round in 0..kills {
        for speaker in &mut speakers {
            let mut late = speaker.say_until_stored(&format!("ready {round}"));
            // Of what was found out to be stored: the echo was heard before.
            late.retain(|heard| !matches!(heard, Heard::Ack(_)));
            assert_eq!(late, [], "{:?} has heard more than one answer", speaker.door);
        }
        let all = EACH * speakers.len();
        let moment = rand::random_range(0..all);
        for n in 0..all {
            let at = n % speakers.len();
            speakers[at].say(&format!("{round}-{n}"));
            if n == moment {
                killed.kill(round);
            }
        }
        killed.run(round);
        for (speaker, tally) in speakers.iter_mut().zip(&mut tallies) {
            let before = tally.answers();
            while tally.answers() < before + EACH {
                let heard = speaker.hear_of_message();
                if !matches!(&heard, Heard::Echo(text) if text.starts_with("ready")) {
                    tally.note(heard);
                }
            }
        }
        eventually("all nodes are ready", || nodes.servers.iter().all(|node| node.get("/readyz").status == 200));
    }
    for (speaker, tally) in speakers.iter_mut().zip(&tallies) {
        let mut late = speaker.say_until_stored("the end");
        late.retain(|heard| !matches!(heard, Heard::Ack(_)));
        assert_eq!(late, [], "{:?} has heard more than one answer", speaker.door);
        let mut kept = speaker.kept(nodes);
        kept.retain(|text| text.starts_with(|first: char| first.is_ascii_digit()));
        assert_eq!(kept, tally.echoes, "{:?}: what is kept is what was echoed", speaker.door);
        echoed += tally.echoes.len();
        refused += tally.answers() - tally.echoes.len();
    }
    println!("{kills} kills: {echoed} messages echoed, {refused} not stored");
}
