//! The servers that take our commands: one server, a sentinel's master, or the masters of a cluster.
//!
//! redis's own cluster connection is not used: it has no publish and subscribe, and it waits its time-out once for each
//! command of a pipeline.

use super::{
    address::{Deployment, Host, Layout},
    channels::Reach,
    failure::{Failure, is_full},
    sentinel,
    server::{self, Pooled, Server, Wire},
};
use r2d2::Pool;
use redis::{ErrorKind, RedisError, RedisResult, Value, cmd};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// Number of hash slots in a cluster.
const SLOTS: usize = 16384;

/// The servers as found at one time. After a failure a new fleet is formed, with new connections. Only which of them has a
/// slot may change ([`Fleet::learn`]).
pub(super) struct Fleet {
    /// Numbers the fleets of this process, to recognise an error that comes from an old one.
    pub generation: u64,
    pub masters: Vec<Master>,
    pub reach: Reach,
    /// The index of each slot's master; `None`: there is one master, which has all keys.
    slots: Option<Vec<AtomicU8>>,
    /// For each master a number whose slot it had when the fleet was formed: part of the keys that belong to the master and
    /// to no room. Who leaves something there finds it there, so they stay when slots move.
    own: Vec<usize>,
}

pub(super) struct Master {
    pub server: Arc<Server>,
    pool: Pool<Pooled>,
}

impl Master {
    /// A connection on which an answer may take so long.
    pub fn wire(&self, answer: Duration) -> Result<r2d2::PooledConnection<Pooled>, Failure> {
        let mut wire = self.pool.get()?;
        wire.patience(answer)?;
        Ok(wire)
    }
}

impl Fleet {
    /// Finds the servers and checks that each takes commands that write. Returns a connection to each. Connecting, and
    /// each answer, may take `patience`.
    pub fn form(deployment: &Deployment, generation: u64, patience: Duration) -> RedisResult<(Fleet, Vec<Wire>)> {
        let (hosts, slots) = match &deployment.layout {
            Layout::One(host) => (vec![host.clone()], None),
            Layout::Sentinel { sentinels, master } => {
                (vec![sentinel::master_of(deployment, sentinels, master, patience)?], None)
            }
            Layout::Cluster(seeds) => {
                let (hosts, slots) = first_answer(seeds, |host| slots_of(deployment, host, patience))?;
                (hosts, Some(slots))
            }
        };
        let own = (0..hosts.len()).map(|master| own_number(slots.as_deref(), master)).collect();
        let slots = slots.map(|slots| slots.into_iter().map(AtomicU8::new).collect());
        let mut fleet = Fleet { generation, masters: Vec::new(), reach: Reach::Ordinary, slots, own };
        let mut wires = Vec::new();
        for (index, host) in hosts.into_iter().enumerate() {
            let server = Arc::new(Server::new(deployment, host)?);
            let mut wire = server.open(patience, patience)?;
            server.read_clock(&mut wire)?;
            let probe = cmd("SET").arg(fleet.probe_key(index)).arg(1).arg("EX").arg(60).get_packed_command();
            match wire.ask(&probe) {
                // It writes again once something is removed, which needs connections.
                Err(error) if is_full(&error) => {}
                answer => drop(answer?),
            }
            if fleet.slots.is_some() && fleet.reach != Reach::Everybody {
                fleet.reach = reach(&mut wire, &fleet.probe_key(index))?;
            }
            wires.push(wire);
            fleet.masters.push(Master { pool: server::pool(server.clone()), server });
        }
        Ok((fleet, wires))
    }

    /// The index of the master that has this key.
    pub fn place(&self, key: &[u8]) -> usize {
        self.slots.as_ref().map_or(0, |slots| usize::from(slots[slot(key)].load(Ordering::Relaxed)))
    }

    /// Notes that this master has the slot of this key now, as the cluster says (`MOVED`).
    pub fn learn(&self, key: &[u8], master: usize) {
        if let (Some(slots), Ok(master)) = (&self.slots, u8::try_from(master)) {
            slots[slot(key)].store(master, Ordering::Relaxed);
        }
    }

    /// See [`Server::deadline`].
    pub fn deadline(&self, key: &[u8]) -> i64 {
        self.masters[self.place(key)].server.deadline(server::ANSWER)
    }

    /// The deadline of a [`Call::soon`](super::call::Call::soon).
    pub fn deadline_soon(&self, key: &[u8]) -> i64 {
        self.masters[self.place(key)].server.deadline(server::SOON)
    }

    /// The time by the first master's clock, in Unix milliseconds.
    pub fn now(&self) -> i64 {
        self.masters.first().map_or(0, |master| master.server.now())
    }

    /// The largest difference between this machine's clock and that of any master.
    pub fn skew(&self) -> Duration {
        self.masters.iter().map(|master| master.server.skew()).max().unwrap_or_default()
    }

    /// The index of the master to which a cluster redirects; `None`: this fleet does not have it, the next one has.
    pub fn redirected(&self, redirection: &RedisError) -> Option<usize> {
        let (address, _) = redirection.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        let host = Host::Tcp(host.to_owned(), port.parse().ok()?);
        self.masters.iter().position(|master| master.server.host == host)
    }

    /// A key on this master, for trying to write to it.
    pub fn probe_key(&self, master: usize) -> String {
        self.key_of(master, "probe")
    }

    /// Like [`probe_key`](Self::probe_key), for the sign that shows whether data is still there.
    pub fn sign_key(&self, master: usize) -> String {
        self.key_of(master, "sign")
    }

    /// The channel on which a node wakes its own subscription to this master; its slot is there.
    pub fn wake_channel(&self, master: usize, node: &str) -> String {
        format!("{}:{node}", self.key_of(master, "wake"))
    }

    #[cfg(test)]
    pub fn nowhere(generation: u64) -> Fleet {
        Fleet { generation, masters: Vec::new(), reach: Reach::Ordinary, slots: None, own: Vec::new() }
    }

    fn key_of(&self, master: usize, what: &str) -> String {
        format!("propromo:{{{}}}:{what}", self.own.get(master).copied().unwrap_or_default())
    }
}

/// A number whose slot this master has.
fn own_number(slots: Option<&[u8]>, master: usize) -> usize {
    let Some(slots) = slots else { return 0 };
    // Among this many numbers, each master that has slots has one. A master without slots has none.
    (0..SLOTS * 16).find(|n| usize::from(slots[slot(n.to_string().as_bytes())]) == master).unwrap_or_default()
}

/// Finds out whether a server of a cluster has sharded channels.
fn reach(wire: &mut Wire, channel: &str) -> RedisResult<Reach> {
    wire.send(&cmd("SPUBLISH").arg(channel).arg("").get_packed_command())?;
    let has_none = match wire.receive()? {
        // Whether its user may publish is found out later.
        Value::ServerError(error) => error.details().is_some_and(|said| said.contains("unknown command")),
        _ => false,
    };
    Ok(if has_none { Reach::Everybody } else { Reach::Sharded })
}

/// The first answer that any of the hosts gives, or the last error if none answers.
fn first_answer<T>(hosts: &[Host], ask: impl Fn(&Host) -> RedisResult<T>) -> RedisResult<T> {
    let mut error = RedisError::from((ErrorKind::InvalidClientConfig, "no host is given"));
    for host in hosts {
        match ask(host) {
            Ok(answer) => return Ok(answer),
            Err(e) => error = e,
        }
    }
    Err(error)
}

/// Asks a server of a cluster which master has which slots.
fn slots_of(deployment: &Deployment, seed: &Host, patience: Duration) -> RedisResult<(Vec<Host>, Vec<u8>)> {
    let mut wire = Server::new(deployment, seed.clone())?.open(patience, patience)?;
    let answer = wire.ask(&cmd("CLUSTER").arg("SLOTS").get_packed_command())?;
    read_slots(seed, answer).ok_or_else(|| {
        (ErrorKind::Client, "the cluster is not whole: some slots have no master, or it has more than 255").into()
    })
}

/// Reads `[[first, last, [host, port, …], replica…]…]`.
fn read_slots(seed: &Host, answer: Value) -> Option<(Vec<Host>, Vec<u8>)> {
    const NOBODY: u8 = u8::MAX;
    let mut hosts: Vec<Host> = Vec::new();
    let mut slots = vec![NOBODY; SLOTS];
    let Value::Array(ranges) = answer else { return None };
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
            // A server that does not know its own name means the address at which it was asked.
            _ => match seed {
                Host::Tcp(host, _) => host.clone(),
                Host::Unix(_) => return None,
            },
        };
        let host = Host::Tcp(host, u16::try_from(*port).ok()?);
        let place = hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
            hosts.push(host);
            hosts.len() - 1
        });
        let place = u8::try_from(place).ok().filter(|place| *place != NOBODY)?;
        slots.get_mut(usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?)?.fill(place);
    }
    (!slots.contains(&NOBODY)).then_some((hosts, slots))
}

/// The slot of a key: CRC16 (XMODEM) of the text between its first `{` and the next `}`, or of the whole key if there
/// is none.
fn slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0).map(|length| &rest[..length])
    });
    usize::from(crc16(tag.unwrap_or(key))) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), usize::from(crc16(b"foo{}{bar}")) % SLOTS);
    }

    fn range(first: i64, last: i64, host: &[u8], port: i64) -> Value {
        let master = Value::Array(vec![Value::BulkString(host.to_vec()), Value::Int(port)]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    #[test]
    fn each_slot_leads_to_its_master() {
        let seed = Host::Tcp("seed".into(), 1);
        let answer = Value::Array(vec![range(0, 99, b"a", 1), range(100, 16382, b"", 2), range(16383, 16383, b"a", 1)]);
        let (hosts, slots) = read_slots(&seed, answer).unwrap();
        assert_eq!(hosts, [Host::Tcp("a".into(), 1), Host::Tcp("seed".into(), 2)]);
        assert_eq!([slots[0], slots[99], slots[100], slots[16383]], [0, 0, 1, 0]);
    }

    #[test]
    fn a_slot_that_has_moved_is_looked_for_where_it_is_and_what_a_master_keeps_for_itself_stays() {
        let mut slots = vec![0; SLOTS];
        slots[SLOTS / 2..].fill(1);
        let fleet = Fleet {
            own: (0..2).map(|master| own_number(Some(&slots), master)).collect(),
            slots: Some(slots.into_iter().map(AtomicU8::new).collect()),
            ..Fleet::nowhere(1)
        };
        let keys: Vec<_> = (0..2).map(|master| fleet.sign_key(master)).collect();
        assert_eq!([0, 1].map(|master| fleet.place(keys[master].as_bytes())), [0, 1]);
        assert_eq!(fleet.place(b"foo"), 1);
        fleet.learn(b"foo", 0);
        assert_eq!((fleet.place(b"foo"), fleet.place(b"{foo}:more"), fleet.place(b"bar")), (0, 0, 0));
        fleet.learn(keys[0].as_bytes(), 1);
        assert_eq!(fleet.sign_key(0), keys[0]);
    }

    #[test]
    fn a_cluster_with_slots_that_nobody_has_is_not_used() {
        let seed = Host::Tcp("seed".into(), 1);
        assert!(read_slots(&seed, Value::Array(vec![range(0, 16382, b"a", 1)])).is_none());
        assert!(read_slots(&seed, Value::Array(vec![range(0, 16384, b"a", 1)])).is_none());
        assert!(read_slots(&seed, Value::Nil).is_none());
    }
}
