//! The servers of a soak, the stores below them, and what everybody notes down.

use crate::actors;
use rand::{Rng, seq::IndexedRandom};
use serde_json::json;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use support::{
    ALICE, Client, Person, START, Server, eventually_within,
    faults::with_panics,
    forge,
    http::get,
    postgres::{Cluster, Database},
    redis::Redis,
    server::Setup,
};

pub const NORA: Person = Person { email: "nora@propromo.example", password: "nora-password" };

/// How long a ticket lives: long enough to be shown again by a racer, and no longer, since what is held of spent tickets
/// is to be as much at the end as at the start.
const TICKET_LIFE: Duration = Duration::from_secs(300);

pub const ROOMS: [&str; 3] = ["red", "green", "blue"];

/// Messages of a room that stay in Redis where there is an archive.
pub const HOT: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Embedded,
    /// Two nodes.
    Redis,
    /// Two nodes, and PostgreSQL for accounts and the archive.
    Archive,
}

/// What everybody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Busy,
    /// Nobody is connected.
    Away,
    /// Those who listen go on, all others have stopped.
    Quiet,
    Over,
}

pub struct World {
    /// `None` while a node is being replaced.
    nodes: Vec<Mutex<Option<Server>>>,
    addresses: Vec<Mutex<SocketAddr>>,
    pub redis: Option<Mutex<Redis>>,
    pub archive: Option<Archive>,
    /// Who may log in.
    pub person: Person,
    /// A genuine ticket, from which others are forged: a login costs a password's hash.
    ticket: String,
    phase: AtomicU8,
    /// What speakers were told is stored: text by id, room by room.
    pub confirmed: [Mutex<BTreeMap<String, String>>; ROOMS.len()],
    /// What each listener has heard.
    pub heard: Vec<Mutex<Heard>>,
    pub counts: Counts,
    /// What must not have happened.
    pub broken: Mutex<Vec<String>>,
}

/// The database of accounts and the archive.
pub struct Archive {
    pub cluster: Cluster,
    pub database: String,
    /// One at a time ends it and starts it again, or asks it.
    pub in_use: Mutex<()>,
}

/// What one listener has heard, in its order.
pub struct Heard {
    /// Its place in [`ROOMS`].
    pub room: usize,
    pub messages: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Counts {
    pub refused: AtomicU64,
    pub connections: AtomicU64,
    pub logins: AtomicU64,
    pub races: AtomicU64,
    pub faults: AtomicU64,
}

impl World {
    pub fn start(storage: Storage) -> World {
        support::raise_open_files();
        let redis = (storage != Storage::Embedded).then(Redis::start);
        let archive = (storage == Storage::Archive).then(|| {
            let cluster = Cluster::start();
            let database = cluster.database().name;
            Archive { cluster, database, in_use: Mutex::default() }
        });
        let setup = || {
            let setup = Server::with().without_demo().env("MESSAGE_RATE", "0");
            let setup = with_panics(setup).env("LOG_LEVEL", "warn");
            // The archive keeps all, so that all of it can be looked at in the end.
            let kept = if storage == Storage::Archive { "0" } else { "5000" };
            let setup = setup.env("HISTORY_MAX", kept).env("HISTORY_HOT", HOT.to_string());
            match &redis {
                Some(redis) => setup.env("CHAT_STORAGE_URL", redis.url()),
                None => setup,
            }
        };
        let (mut nodes, person) = match &archive {
            Some(archive) => {
                let node = || setup().env("DATABASE_URL", archive.url()).start();
                (vec![node(), node()], ALICE)
            }
            None => {
                let first: Setup = setup().account(NORA.email, NORA.password, &[]);
                (vec![first.start()], NORA)
            }
        };
        if storage == Storage::Redis {
            let accounts = format!("sqlite:{}", nodes[0].setup().data_dir().join("chat.db").display());
            nodes.push(setup().env("DATABASE_URL", accounts).start());
        }
        let authorization = format!("Bearer {}", access(&nodes[0], person));
        let request = get("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")]);
        let answer = nodes[0].connect().send(request).response().json();
        let listeners = nodes.len() * ROOMS.len();
        World {
            addresses: nodes.iter().map(|node| Mutex::new(node.address)).collect(),
            nodes: nodes.into_iter().map(|node| Mutex::new(Some(node))).collect(),
            redis: redis.map(Mutex::new),
            archive,
            person,
            ticket: answer["ticket"].as_str().expect("a ticket").to_owned(),
            phase: AtomicU8::new(Phase::Busy as u8),
            confirmed: Default::default(),
            heard: (0..listeners).map(|n| Mutex::new(Heard { room: n % ROOMS.len(), messages: Vec::new() })).collect(),
            counts: Counts::default(),
            broken: Mutex::default(),
        }
    }

    /// Does `work` while people come and go.
    pub fn while_peopled<T>(&self, work: impl FnOnce(&World) -> T) -> T {
        thread::scope(|scope| {
            actors::start(scope, self);
            // Also if it panics, or the scope would wait for ever.
            let _over = Over(self);
            work(self)
        })
    }

    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Busy,
            1 => Phase::Away,
            2 => Phase::Quiet,
            _ => Phase::Over,
        }
    }

    pub fn is_embedded(&self) -> bool {
        self.redis.is_none()
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn address(&self, node: usize) -> SocketAddr {
        *lock(&self.addresses[node])
    }

    pub fn any_address(&self, random: &mut impl Rng) -> SocketAddr {
        *lock(self.addresses.choose(random).expect("a node"))
    }

    /// Does something with a node that runs.
    pub fn with_node<T>(&self, node: usize, work: impl FnOnce(&Server) -> T) -> T {
        work(lock(&self.nodes[node]).as_ref().expect("it was started again"))
    }

    /// Ends a node by `end`, and starts it again on its data.
    pub fn restart(&self, node: usize, end: impl FnOnce(&mut Server)) {
        let mut place = lock(&self.nodes[node]);
        let mut server = place.take().expect("it was started again");
        end(&mut server);
        let server = server.restart();
        *lock(&self.addresses[node]) = server.address;
        *place = Some(server);
    }

    /// A ticket that nobody has used, of a user of this name.
    pub fn ticket(&self, user: &str) -> String {
        forge(&self.ticket, |claims| {
            claims.insert("email".into(), user.into());
            claims.insert("exp".into(), (support::now() + TICKET_LIFE.as_secs()).into());
        })
    }

    /// Opens a channel; fails if the server is away or refuses.
    pub fn open(&self, address: SocketAddr, user: &str, path: &str) -> io::Result<Client> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let client = Client::attempt(address, &format!("/channel/{path}{mark}ticket={}", self.ticket(user)))?;
        let client = client.map_err(|refused| io::Error::other(format!("refused with {}", refused.status)))?;
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        Ok(client)
    }

    pub fn is_broken(&self, what: String) {
        lock(&self.broken).push(what);
    }
}

struct Over<'a>(&'a World);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.set(Phase::Over);
    }
}

impl Archive {
    fn url(&self) -> String {
        Database { cluster: &self.cluster, name: self.database.clone() }.url()
    }

    /// What an SQL script prints, one row a line.
    pub fn sql(&self, script: &str) -> String {
        let _alone = lock(&self.in_use);
        self.cluster.sql(&self.database, script)
    }
}

/// Logs in. On a machine that is busy enough a password takes longer to check than a client is let wait.
fn access(server: &Server, person: Person) -> String {
    let body = json!({"user": person.email, "pwd": person.password}).to_string();
    let mut token = None;
    eventually_within(START, "somebody logs in", || {
        let answer = server.post("/auth", "application/json", body.clone());
        token = (answer.status == 200).then(|| answer.json()["token"].as_str().expect("an access token").to_owned());
        token.is_some()
    });
    token.expect("it is there")
}

/// What one thread that panicked had in hand is as good as before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
