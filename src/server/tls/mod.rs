//! TLS on `LISTEN`: does the handshake, and has the decrypted stream served like a plain connection.
//!
//! ```text
//! client ═══ TLS ═══▶ pump, a thread ◀─── pair of sockets ───▶ connection thread, lanes, flusher
//! ```
//!
//! Nothing behind the pump knows of TLS. Plain connections pay nothing for it, lanes write to sockets without ever
//! blocking, and the state of a cipher needs no shared lock. The price is a second thread, two more descriptors and
//! about 60 KiB for each encrypted connection.

mod handshake;
mod pump;

pub use handshake::HANDSHAKE_RECORD;

use crate::{
    config::{Limits, certificate::Identity},
    door::conversation::Rest,
    metrics::{Metrics, refusals::tell},
    start_error::StartError,
};
use handshake::End;
use parking_lot::Mutex;
use pump::Pump;
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring::{self, Ticketer},
    server::NoServerSessionStorage,
};
use socket2::SockRef;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Shutdown, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The stack of a pump. Its largest buffer is the pump's own, of 8 KiB.
const STACK_SIZE: usize = 128 * 1024;
/// How many bytes the pair of sockets holds in each direction; the kernel doubles it for its own records. Further bytes
/// wait in the member's queue, where they are bounded and slow members are found.
const PAIR_BUFFER: usize = 64 * 1024;
/// How often the shutdown checks whether everything is sent.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Terminates the TLS connections of one listener.
pub struct Tls {
    config: Arc<ServerConfig>,
    identity: Arc<Identity>,
    limits: Limits,
    metrics: Arc<Metrics>,
    pumps: Arc<Pumps>,
}

/// The pumps that may still have bytes to send, by their inner ends. Bounded by `MAX_CONNECTIONS`.
#[derive(Default)]
struct Pumps {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<UnixStream>>>,
}

impl Tls {
    pub fn new(identity: Arc<Identity>, limits: Limits, metrics: Arc<Metrics>) -> Result<Tls, StartError> {
        let failed = |error: rustls::Error| StartError(format!("TLS can't be set up: {error}"));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The client keeps the session in its ticket, so the server keeps none.
        config.ticketer = Ticketer::new().map_err(failed)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        // Anybody who sees early data can replay it (RFC 8446 §8), and a login must not be replayed.
        config.max_early_data_size = 0;
        Ok(Tls { config: Arc::new(config), identity, limits, metrics, pumps: Arc::default() })
    }

    /// Has the decrypted connection served by `serve` on this thread. Returns when everything is sent, or with the rest
    /// that `serve` returns.
    pub fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        serve: impl FnOnce(TcpStream, IpAddr) -> Option<Rest>,
    ) -> Option<Rest> {
        let tls = match handshake::shake_hands(&stream, &self.config, &self.limits) {
            Ok(tls) => tls,
            Err(End::Quiet) => return None,
            Err(End::Refused(why)) => {
                tell!(self.metrics, "tls_handshake", peer, why, "connection refused");
                return None;
            }
        };
        let (inner, pump) = match self.start_pump(stream, tls) {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(%error, "a TLS connection can't be served");
                return None;
            }
        };
        let rest = serve(inner, peer);
        // The connection counts until the pump has ended.
        let ended = || _ = pump.join();
        match rest {
            Some(rest) => Some(Box::new(|| {
                rest();
                ended();
            })),
            None => {
                ended();
                None
            }
        }
    }

    /// Reads the certificate from its files again, and logs the outcome.
    pub fn reload(&self) {
        match self.identity.reload() {
            Ok(()) => {
                tracing::info!("new connections see the certificate {}", self.identity.summary());
                for doubt in self.identity.doubts() {
                    tracing::warn!("{doubt}");
                }
            }
            Err(error) => tracing::error!("the certificate stays what it was: {error}"),
        }
    }

    /// Lets every pump send what it was given, and waits for that until `deadline` at most.
    pub fn finish(&self, deadline: Instant) {
        for inner in self.pumps.open.lock().values() {
            // What waits in it can still be read; then comes the end of file.
            let _ = inner.shutdown(Shutdown::Read);
        }
        while !self.pumps.open.lock().is_empty() && Instant::now() < deadline {
            thread::sleep(LOOK_AGAIN);
        }
        let connections = self.pumps.open.lock().len();
        if connections > 0 {
            tracing::warn!(connections, "some clients did not take their last encrypted bytes in time");
        }
    }

    fn start_pump(&self, outside: TcpStream, tls: ServerConnection) -> io::Result<(TcpStream, thread::JoinHandle<()>)> {
        // Fails for a Unix socket, which has no delay to turn off.
        let _ = outside.set_nodelay(true);
        outside.set_nonblocking(true)?;
        let (inside, inner) = UnixStream::pair()?;
        inside.set_nonblocking(true)?;
        for end in [&inside, &inner] {
            SockRef::from(end).set_send_buffer_size(PAIR_BUFFER)?;
        }
        let inside = Arc::new(inside);
        let pump = Pump::new(outside, inside.clone(), tls, self.limits.send_stall);
        let entry = Entry::new(&self.pumps, inside);
        let thread = thread::Builder::new().name("tls".to_owned()).stack_size(STACK_SIZE);
        let thread = thread.spawn(move || pump.run(|| drop(entry)))?;
        // It is a stream socket like TCP's. It has no peer address and no delay to turn off, which is taken care of
        // here.
        Ok((TcpStream::from(OwnedFd::from(inner)), thread))
    }
}

/// The entry of a pump in the table of pumps, until it is dropped.
struct Entry {
    pumps: Arc<Pumps>,
    id: u64,
}

impl Entry {
    fn new(pumps: &Arc<Pumps>, inside: Arc<UnixStream>) -> Entry {
        let id = pumps.next.fetch_add(1, Ordering::Relaxed);
        pumps.open.lock().insert(id, inside);
        Entry { pumps: pumps.clone(), id }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.pumps.open.lock().remove(&self.id);
    }
}
