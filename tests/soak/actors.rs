//! The people of a soak. None of them minds a server that is away: they come back.

use crate::world::{Phase, ROOMS, World, lock};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};
use std::{
    io,
    sync::atomic::Ordering,
    thread::{self, Scope},
    time::Duration,
};
use support::{
    Client, Connection, claims_of,
    http::{get, post},
    ws::handshake,
};

const SPEAKERS: usize = 6;
const VISITORS: usize = 2;

/// How long an answer may take before its connection is given up. A message is refused after five seconds at the latest.
const PATIENCE: Duration = Duration::from_secs(12);

/// How often a listener looks whether it is to go on.
const LISTEN: Duration = Duration::from_millis(500);

/// Spent tokens that are shown again.
const REMEMBERED: usize = 50;

pub fn start<'scope>(scope: &'scope Scope<'scope, '_>, world: &'scope World) {
    for number in 0..SPEAKERS {
        scope.spawn(move || each_time(world, Phase::Busy, |random| speak(world, number, random)));
    }
    for listener in 0..world.heard.len() {
        scope.spawn(move || listen(world, listener));
    }
    for _ in 0..VISITORS {
        scope.spawn(move || each_time(world, Phase::Busy, |random| visit(world, random)));
    }
    scope.spawn(move || {
        let mut spent = Vec::new();
        each_time(world, Phase::Busy, |random| race(world, &mut spent, random));
    });
}

/// Does `work` over and over, in this phase only, until all is over.
fn each_time(world: &World, phase: Phase, mut work: impl FnMut(&mut SmallRng)) {
    let mut random = SmallRng::from_os_rng();
    while world.phase() != Phase::Over {
        if world.phase() == phase {
            work(&mut random);
        }
        thread::sleep(Duration::from_millis(random.random_range(10..100)));
    }
}

/// Comes into a room, says some things there, and leaves in one way or another.
fn speak(world: &World, number: usize, random: &mut SmallRng) {
    let room = number % ROOMS.len();
    let address = world.any_address(random);
    let Ok(mut client) = world.open(address, &format!("speaker-{number}"), ROOMS[room]) else { return };
    client.wait_at_most(PATIENCE);
    for _ in 0..random.random_range(20..200) {
        if world.phase() != Phase::Busy {
            break;
        }
        let text = format!("{number} {:016x}", random.random::<u64>());
        if !say_until_stored(world, &mut client, room, &text, random) {
            return;
        }
        thread::sleep(Duration::from_millis(random.random_range(2..15)));
    }
    // Now and then it just goes.
    if random.random_bool(0.7) {
        let _ = client.try_send(tungstenite::Message::Close(None));
    }
}

/// Whether it is stored; if not, the connection is of no more use, and nobody knows.
fn say_until_stored(world: &World, client: &mut Client, room: usize, text: &str, random: &mut SmallRng) -> bool {
    let message = json!({"type": "message", "text": text, "ref": text}).to_string();
    while world.phase() == Phase::Busy {
        if client.try_say(&*message).is_err() {
            return false;
        }
        loop {
            let Ok(heard) = client.try_hear() else { return false };
            let frame: Value = serde_json::from_str(&heard).expect("frames are JSON");
            if frame["type"] == "ack" && frame["ref"] == text {
                let id = frame["id"].as_str().expect("an id").to_owned();
                lock(&world.confirmed[room]).insert(id, text.to_owned());
                return true;
            }
            if frame["type"] == "error" {
                world.counts.refused.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        thread::sleep(Duration::from_millis(random.random_range(50..200)));
    }
    false
}

/// Hears a room on one node, and comes back with the last message it heard.
fn listen(world: &World, listener: usize) {
    let (room, node) = (listener % ROOMS.len(), listener / ROOMS.len());
    let user = format!("listener-{listener}");
    while world.phase() != Phase::Over {
        let last = lock(&world.heard[listener]).messages.last().map(|(id, _)| id.clone());
        let since = last.map_or(String::new(), |id| format!("?since={id}"));
        let path = format!("{}{since}", ROOMS[room]);
        if world.phase() != Phase::Away
            && let Ok(mut client) = world.open(world.address(node), &user, &path)
        {
            client.wait_at_most(LISTEN);
            while !matches!(world.phase(), Phase::Away | Phase::Over) {
                match client.try_hear() {
                    Ok(text) => note(world, listener, &text),
                    Err(tungstenite::Error::Io(error)) if support::timed_out(&error) => {}
                    Err(_) => break,
                }
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn note(world: &World, listener: usize, text: &str) {
    let frame: Value = serde_json::from_str(text).expect("frames are JSON");
    let field = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
    match frame["type"].as_str() {
        Some("message") => lock(&world.heard[listener]).messages.push((field("id"), field("text"))),
        // Nobody was away for as long as `HISTORY_MAX` messages take.
        Some("error") => world.is_broken(format!("listener {listener} was told: {text}")),
        _ => {}
    }
}

/// One of the things that happen on a port.
fn visit(world: &World, random: &mut SmallRng) {
    let address = world.any_address(random);
    let Ok(mut connection) = Connection::try_open(address) else { return };
    // An error means that the server is away, or has had enough.
    let _: io::Result<()> = (|| match random.random_range(0..6) {
        0 => {
            connection.try_send(get("/", &[]))?;
            connection.try_response().map(drop)
        }
        1 => {
            let right = random.random_bool(0.5);
            let password = if right { world.person.password } else { "wrong" };
            let body = json!({"user": world.person.email, "pwd": password}).to_string();
            connection.try_send(post("/auth", "application/json", body))?;
            let status = connection.try_response()?.status;
            world.counts.logins.fetch_add(1, Ordering::Relaxed);
            if status != if right { 200 } else { 401 } && status != 503 {
                world.is_broken(format!("a login with a {password:?} password was answered {status}"));
            }
            Ok(())
        }
        2 => {
            let request = handshake("/channel/red?ticket=nonsense", &[]);
            connection.try_send(&request[..random.random_range(0..request.len())])
        }
        3 => connection.try_send(vec![random.random(); random.random_range(1..2000)]),
        4 => {
            connection.try_send(handshake("/channel/red?ticket=nonsense", &[]))?;
            let status = connection.try_response()?.status;
            if status == 101 {
                world.is_broken("let in with nonsense for a ticket".into());
            }
            Ok(())
        }
        _ => {
            thread::sleep(Duration::from_millis(random.random_range(0..500)));
            Ok(())
        }
    })();
}

/// Several come with one token at once, and later again.
fn race(world: &World, spent: &mut Vec<String>, random: &mut SmallRng) {
    let ticket = world.ticket("racer");
    let path = |ticket: &str| format!("/channel/races?ticket={ticket}");
    let addresses: Vec<_> = (0..4).map(|_| world.any_address(random)).collect();
    let opened: usize = thread::scope(|scope| {
        let (ticket, path) = (&ticket, &path);
        let attempt = |address| scope.spawn(move || matches!(Client::attempt(address, &path(ticket)), Ok(Ok(_))));
        let racers: Vec<_> = addresses.into_iter().map(attempt).collect();
        racers.into_iter().map(|racer| usize::from(racer.join().expect("a racer"))).sum()
    });
    world.counts.races.fetch_add(1, Ordering::Relaxed);
    if opened > 1 {
        world.is_broken(format!("the token {} let {opened} in at once", claims_of(&ticket)["jti"]));
    }
    if opened == 1 {
        spent.push(ticket);
        if spent.len() > REMEMBERED {
            spent.remove(random.random_range(0..REMEMBERED));
        }
    }
    if let Some(ticket) = spent.choose(random)
        && matches!(Client::attempt(world.any_address(random), &path(ticket)), Ok(Ok(_)))
    {
        world.is_broken(format!("the token {} was used twice", claims_of(ticket)["jti"]));
    }
}
