//! Checks, once and quickly, whether a node could use this Redis, and says what to do if it could not.

use super::{
    address::{Deployment, Host, Layout},
    channels::{Channels, Reach},
    failure::{is_forbidden, is_full},
    fleet::Fleet,
    rights,
    server::Wire,
};
use redis::{ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use std::{
    error::Error,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

/// How long connecting to a server may take, and each of its answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The oldest Redis that has every command used here, and that the tests cover.
const OLDEST: (u32, u32) = (6, 2);

/// What is wrong with Redis, and what to do about it. It shows URLs without their passwords.
#[derive(Debug, thiserror::Error)]
#[error("can't use Redis at {redis}: {what}")]
pub struct Fault {
    redis: String,
    what: String,
}

/// Tries everything that a node does with Redis, and leaves nothing behind. Returns warnings about risky settings.
pub fn check(deployment: &Deployment) -> Result<Vec<String>, Fault> {
    let fault = |what: String| Fault { redis: deployment.to_string(), what };
    let formed = Fleet::form(deployment, 0, PATIENCE);
    let (fleet, wires) = formed.map_err(|error| fault(explained(deployment, &error)))?;
    let mut doubts = Vec::new();
    let channels = Channels::of(deployment);
    if fleet.reach == Reach::Everybody {
        let doubt = "it has no sharded channels, so each node hears all messages of all rooms; Redis 7.0 has them";
        doubts.push(doubt.to_owned());
    }
    for (index, (master, mut wire)) in fleet.masters.iter().zip(wires).enumerate() {
        let (host, wire) = (master.server.host.to_string(), &mut wire);
        let info = info(wire);
        if let Some(version) = info.version.as_deref().filter(|version| major_minor(version) < OLDEST) {
            let (major, minor) = OLDEST;
            return Err(fault(format!("{host} is Redis {version}; Redis {major}.{minor} or later is needed")));
        }
        rights::try_all(&channels, fleet.reach, wire, &fleet.probe_key(index))
            .map_err(|error| fault(explained(deployment, &error)))?;
        doubts.extend(info.doubts(&host));
    }
    Ok(doubts)
}

/// What a server says about itself, if its user may ask.
#[derive(Default)]
struct Info {
    version: Option<String>,
    append_only: Option<bool>,
    /// `None` if its memory has no limit.
    eviction: Option<String>,
}

fn info(wire: &mut Wire) -> Info {
    let Ok(Value::BulkString(text)) = wire.ask(&cmd("INFO").get_packed_command()) else { return Info::default() };
    let text = String::from_utf8_lossy(&text);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    Info {
        version: field("redis_version").map(str::to_owned),
        append_only: field("aof_enabled").map(|on| on == "1"),
        eviction: field("maxmemory")
            .filter(|bytes| *bytes != "0")
            .and_then(|_| field("maxmemory_policy"))
            .map(str::to_owned),
    }
}

impl Info {
    fn doubts(&self, host: &str) -> Vec<String> {
        let mut doubts = Vec::new();
        match self.append_only {
            Some(true) => {}
            Some(false) => doubts.push(format!(
                "Redis at {host} has no append-only file: if it is killed, messages are gone and spent tokens may work \
                 again; set `appendonly yes`"
            )),
            None => doubts.push(format!(
                "whether Redis at {host} has an append-only file can't be seen: its user may not use INFO; `appendonly \
                 yes` is needed to keep messages"
            )),
        }
        if let Some(policy) = self.eviction.as_deref().filter(|policy| *policy != "noeviction") {
            doubts.push(format!(
                "Redis at {host} may throw away messages and spent tokens when its memory is full ({policy}); set \
                 `maxmemory-policy noeviction`"
            ));
        }
        doubts
    }
}

fn major_minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(u32::MAX));
    (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX))
}

/// An error as a sentence that says what to do.
fn explained(deployment: &Deployment, error: &RedisError) -> String {
    if error.is_timeout() || error.kind() == ErrorKind::Io || error.kind() == ErrorKind::Parse {
        return unreachable(deployment, error);
    }
    let said = said(error);
    let remedy = match (error.kind(), error.code().unwrap_or_default()) {
        (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => {
            "are user and password in CHAT_STORAGE_URL right? They are percent-encoded there"
        }
        (_, "NOAUTH") => "it wants a login: redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST without a user",
        (_, "READONLY") => {
            "it is a replica, which takes no writes; name its master, or the sentinels that know it \
             (redis+sentinel://HOST/NAME)"
        }
        (_, "NOREPLICAS") => "it takes no writes while too few replicas follow it (min-replicas-to-write); start them",
        (_, "MISCONF") => "it can't save its data, so it takes no writes; its own log says why, often a full disk",
        _ if is_full(error) => "its memory is full; raise maxmemory, or lower HISTORY_MAX",
        (_, "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN") => "it is not ready; try again in a moment",
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => {
            "it is one server of a cluster; use redis+cluster://"
        }
        _ if is_forbidden(error) => "its user may not do what is needed; docs/DEPLOYMENT.md has the ACL line",
        _ if said.contains("cluster support disabled") => "it is no cluster; use redis://",
        _ if said.contains("unknown command 'SENTINEL'") => {
            "it is no sentinel; they usually listen on port 26379, or use redis://"
        }
        _ if said.contains("unknown command") => "is it a Redis server? A sentinel wants redis+sentinel://",
        _ if said.contains("DB index") => "is there such a database number?",
        _ => "what it says is all that is known",
    };
    format!("{said}; {remedy}")
}

/// A sentence about why no server answers.
fn unreachable(deployment: &Deployment, error: &RedisError) -> String {
    let said = said(error);
    let tls = deployment.uses_tls();
    if said.contains("CertificateRequired") {
        return "it asks for a certificate of its clients; name yours with rediss://…?cert=/path/of/cert.pem&key=/path/of/key.pem".into();
    }
    if ["certificate", "UnknownIssuer", "NotValidForName"].iter().any(|word| said.contains(word)) {
        return format!(
            "its certificate is not believed: {said}; name the host as its certificate does, and with \
             rediss://…?ca=/path/of/ca.pem who signed it"
        );
    }
    if said.contains("lookup") {
        return format!("{said}; is the host's name right?");
    }
    if error.is_connection_refusal() {
        return format!("{said}; is Redis running, and are host and port right?");
    }
    if deployment.socket().is_some() {
        return format!("{said}; is the path of its socket right, and may this user open it?");
    }
    match (tls, deployment.hosts().iter().find_map(tongue)) {
        (_, Some(Tongue::Postgres)) => "it is PostgreSQL; that is named by DATABASE_URL".into(),
        (false, Some(Tongue::Tls)) => "it speaks TLS there; use rediss://".into(),
        (true, Some(Tongue::Plain)) => "it does not speak TLS there; use redis://, or the port of its tls-port".into(),
        _ if error.is_timeout() => format!(
            "it does not answer within {} s; is the host right, and does a firewall let this machine through?",
            PATIENCE.as_secs()
        ),
        _ => format!("{said}; is it a Redis server, and is rediss:// needed?"),
    }
}

enum Tongue {
    Plain,
    Tls,
    Postgres,
}

/// Finds out what a server speaks from its answer to a plain command.
fn tongue(host: &Host) -> Option<Tongue> {
    let Host::Tcp(name, port) = host else { return None };
    let address = (name.as_str(), *port).to_socket_addrs().ok()?.next()?;
    match first_byte(address, b"PING\r\n") {
        // `+PONG`, or `-NOAUTH` and the like.
        Ok(Some(b'+' | b'-')) => Some(Tongue::Plain),
        // A TLS alert (RFC 8446 §5.1), or only the end: Redis never ends a plain connection like that, but others do.
        Ok(Some(0x15)) => Some(Tongue::Tls),
        Ok(None) => Some(ended_by(address)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(ended_by(address)),
        _ => None,
    }
}

/// The kind of server that ends a connection at the first plain command.
fn ended_by(address: SocketAddr) -> Tongue {
    // PostgreSQL answers `SSLRequest` with one letter: yes or no.
    const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    match first_byte(address, SSL_REQUEST) {
        Ok(Some(b'S' | b'N')) => Tongue::Postgres,
        _ => Tongue::Tls,
    }
}

/// The first byte of the answer; `None` if the connection ends without one.
fn first_byte(address: SocketAddr, asked: &[u8]) -> io::Result<Option<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(asked)?;
    let mut first = [0];
    Ok((stream.read(&mut first)? == 1).then_some(first[0]))
}

/// The error with its causes, without the library's own name for its kind.
fn said(error: &RedisError) -> String {
    let mut said = match (error.kind(), error.detail()) {
        (ErrorKind::AuthenticationFailed, _) => "it refuses the login".to_owned(),
        (ErrorKind::Server(_) | ErrorKind::Extension, Some(detail)) => {
            format!("it says {} {detail}", error.code().unwrap_or("ERR"))
        }
        _ => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

impl Deployment {
    /// The addresses in the URL.
    fn hosts(&self) -> Vec<Host> {
        match &self.layout {
            Layout::One(host) => vec![host.clone()],
            Layout::Cluster(hosts) | Layout::Sentinel { sentinels: hosts, .. } => hosts.clone(),
        }
    }

    fn socket(&self) -> Option<&Host> {
        match &self.layout {
            Layout::One(host @ Host::Unix(_)) => Some(host),
            _ => None,
        }
    }
}
