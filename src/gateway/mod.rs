//! Passes plain requests to tiny_http and its answers back, over a bounded pool of kept connections. Requests that need
//! no time (tickets, messages) are answered here: waking two more threads would take longer than the answer.
//!
//! tiny_http gets a request that is rewritten from what was understood: one length, no folded lines, no unknown
//! headers. So the two parsers can't disagree about it (RFC 9112 §11.2). The size of the pool also bounds how many
//! endpoints run at a time. Further requests wait a while, and are then refused.

pub mod backend;
pub mod handler;
#[cfg(test)]
mod tests;

use crate::{
    auth::password,
    http::{
        answer::{self, Persistence},
        head::{Head, Method},
        request::{Request, passed_on},
    },
    limits::{
        places::{AddressPlace, AddressPlaces},
        rate::subnet,
    },
    refusal::{Reason, Refusal},
    request_id,
};
use backend::{Backend, CLIENT_HEADER, GREETING, SECURE_HEADER};
use handler::Handler;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, ErrorKind, Read, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// The number of connections to tiny_http, and so of endpoints that run at a time. However many passwords wait for
/// their turn, [`KEPT`] connections are left.
pub const POOL_SIZE: usize = KEPT + password::WAITING;
/// How many connections are made at the start; the others are made when they are needed.
const KEPT: usize = 32;
/// One address takes at most all but this part of the pool: three quarters.
const LEFT_TO_OTHERS: usize = 4;
/// How long a request waits for a connection of the pool.
const POOL_DEADLINE: Duration = Duration::from_secs(5);
/// How long an endpoint may take: longer than all waits that endpoints bound by themselves.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a new connection may wait for a thread that reads it.
const GREETING_DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_REPLY: usize = 32 * 1024 * 1024;
/// Most header lines of an answer.
const MAX_REPLY_HEADERS: usize = 64;

/// The connections to tiny_http, with the requests that this answers itself.
pub struct Gateway {
    handler: Handler,
    size: usize,
    backend: Mutex<Arc<Backend>>,
    pool: Mutex<Pool>,
    /// The connections that each address has. Taken and returned under the lock of `pool`.
    shares: AddressPlaces,
    /// For who waits until a connection is free.
    freed: Condvar,
    pool_deadline: Duration,
}

struct Pool {
    /// The free connections; `None` is one that must be opened first.
    free: Vec<Option<Link>>,
    /// Those who wait until their address has less than its share. By address: a crowd is not woken for each request.
    crowds: HashMap<IpAddr, Crowd>,
}

/// Those of one address who wait.
#[derive(Default)]
struct Crowd {
    size: usize,
    freed: Arc<Condvar>,
}

impl Pool {
    /// Wakes one who waits for a share of this address.
    fn share_freed(&self, address: IpAddr) {
        if let Some(crowd) = self.crowds.get(&address) {
            crowd.freed.notify_one();
        }
    }

    /// Waits in the crowd of this address, at most this long.
    fn wait_for_share(pool: &mut MutexGuard<'_, Pool>, address: IpAddr, patience: Duration) {
        let crowd = pool.crowds.entry(address).or_default();
        crowd.size += 1;
        let freed = crowd.freed.clone();
        freed.wait_for(pool, patience);
        if let Entry::Occupied(mut crowd) = pool.crowds.entry(address) {
            crowd.get_mut().size -= 1;
            if crowd.get().size == 0 {
                crowd.remove();
            }
        }
    }
}

impl Gateway {
    /// Starts tiny_http on a new private socket, with `size` handler threads. Opens up to [`KEPT`] connections at once,
    /// so that requests are answered even when the process has no descriptors left.
    pub fn start(size: usize, handler: Handler) -> io::Result<Gateway> {
        Gateway::with_deadline(size, POOL_DEADLINE, handler)
    }

    fn with_deadline(size: usize, pool_deadline: Duration, handler: Handler) -> io::Result<Gateway> {
        let backend = Arc::new(Backend::start(size, handler.clone())?);
        // The last one is taken first.
        let mut free: Vec<_> = (KEPT..size).map(|_| None).collect();
        for _ in free.len()..size {
            free.push(Some(Link::open(&backend, backend.connect()?)?));
        }
        Ok(Gateway {
            handler,
            size,
            backend: Mutex::new(backend),
            pool: Mutex::new(Pool { free, crowds: HashMap::new() }),
            shares: AddressPlaces::new(size - size / LEFT_TO_OTHERS),
            freed: Condvar::new(),
            pool_deadline,
        })
    }

    /// Answers a request. The answer is complete, and its head says `persistence`.
    ///
    /// The whole answer is read before any of it goes to the client: a client that reads slowly must not hold a
    /// connection that others wait for.
    pub fn exchange(&self, head: &Head, body: &[u8], persistence: Persistence) -> Result<Vec<u8>, Refusal> {
        let (segments, headers) = (head.segments()?, passed_on(head)?);
        let to_head = head.method == Method::Head;
        // Requests that need no connection take a place too: signing can be expensive, so it must be bounded as well.
        let mut place = self.link(head.client)?;
        if self.handler.is_at_once(head.method, &segments) {
            let request = Request::of(head, segments, &headers, body);
            return Ok(answer::encode(&self.handler.answer(request, &head.id), persistence, to_head));
        }
        let answer = place.exchange(&encode(head, &headers, body), to_head, persistence);
        answer.map_err(|error| {
            tracing::error!(%error, "the inner HTTP server gave no answer");
            Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1))
        })
    }

    /// How many endpoints can run at a time, and how many run now.
    pub fn workers(&self) -> (usize, usize) {
        (self.size, self.size - self.pool.lock().free.len())
    }

    /// Takes a connection from the pool for an address, or waits for one.
    fn link(&self, client: IpAddr) -> Result<PooledLink<'_>, Refusal> {
        let (address, deadline) = (subnet(client), Instant::now() + self.pool_deadline);
        let mut pool = self.pool.lock();
        loop {
            let share = self.shares.take(client);
            let is_within_share = share.is_some();
            // The one that was returned last comes first: the caches of its thread are the warmest.
            if is_within_share && let Some(link) = pool.free.pop() {
                return Ok(PooledLink { gateway: self, share, link });
            }
            drop(share);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It may have been woken for a share that it does not take.
                pool.share_freed(address);
                let sentence = "The server has reached its limit of requests at a time; try again.";
                return Err(Refusal::new(Reason::Overloaded, sentence).retry_after(Duration::from_secs(1)));
            }
            if is_within_share {
                self.freed.wait_for(&mut pool, left);
            } else {
                // It may have been woken for a connection that it may not take.
                self.freed.notify_one();
                Pool::wait_for_share(&mut pool, address, left);
            }
        }
    }

    /// Opens a connection, to a new tiny_http if the present one has stopped accepting. One at a time; see
    /// [`GREETING`].
    fn connect(&self) -> io::Result<Link> {
        let mut backend = self.backend.lock();
        // If it accepts but does not answer, it is busy, and another one would make that worse.
        if let Ok(stream) = backend.connect() {
            return Link::open(&backend, stream);
        }
        tracing::warn!("the inner HTTP server accepts no connections; starting another");
        *backend = Arc::new(Backend::start(self.size, self.handler.clone())?);
        Link::open(&backend, backend.connect()?)
    }
}

/// A connection from the pool, or the right to open one. Dropping it returns it.
struct PooledLink<'a> {
    gateway: &'a Gateway,
    share: Option<AddressPlace>,
    link: Option<Link>,
}

impl PooledLink<'_> {
    fn exchange(&mut self, request: &[u8], to_head: bool, persistence: Persistence) -> io::Result<Vec<u8>> {
        // Taken out: after an error, an old answer could still arrive on this connection, so it is not returned.
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.gateway.connect()?,
        };
        let answer = link.exchange(request, to_head, persistence)?;
        self.link = Some(link);
        Ok(answer)
    }
}

impl Drop for PooledLink<'_> {
    fn drop(&mut self) {
        let mut pool = self.gateway.pool.lock();
        pool.free.push(self.link.take());
        let address = self.share.take().map(|share| share.address());
        self.gateway.freed.notify_one();
        address.into_iter().for_each(|address| pool.share_freed(address));
    }
}

/// One connection to tiny_http.
struct Link {
    stream: UnixStream,
    /// Keeps alive the backend that it leads to.
    _backend: Arc<Backend>,
}

impl Link {
    fn open(backend: &Arc<Backend>, stream: UnixStream) -> io::Result<Link> {
        stream.set_write_timeout(Some(REPLY_DEADLINE))?;
        stream.set_read_timeout(Some(GREETING_DEADLINE))?;
        let mut link = Link { stream, _backend: backend.clone() };
        link.exchange(GREETING, false, Persistence::Kept)?;
        link.stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        Ok(link)
    }

    fn exchange(&mut self, request: &[u8], to_head: bool, persistence: Persistence) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let mut answer = Vec::new();
        let mut chunk = [0; 8 * 1024];
        let mut end = None;
        while end.is_none_or(|end| answer.len() < end) {
            let length = match self.stream.read(&mut chunk) {
                // With a time-out, a read is also interrupted when a stopped process continues (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&chunk[..length]);
            if end.is_none() {
                end = relay_head(&mut answer, to_head, persistence)?;
            }
            if answer.len().max(end.unwrap_or(0)) > MAX_REPLY {
                return Err(io::Error::other("the answer is larger than 32 MiB"));
            }
        }
        if end != Some(answer.len()) {
            return Err(io::Error::other("the answer is longer than it says"));
        }
        Ok(answer)
    }
}

/// Adds `persistence` to the head of the answer once the head is complete, and returns where the answer ends.
fn relay_head(answer: &mut Vec<u8>, to_head: bool, persistence: Persistence) -> io::Result<Option<usize>> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_REPLY_HEADERS];
    let mut response = httparse::Response::new(&mut slots);
    let head = match response.parse(answer).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let bodiless = response.code.is_some_and(answer::is_bodiless);
    let length = if to_head || bodiless { Some(0) } else { length };
    let length = length.ok_or_else(|| io::Error::other("the answer does not say its length"))?;
    let head = if bodiless { without_length(answer, head) } else { head };
    let mut end = head.saturating_add(length);
    if let Some(option) = persistence.option() {
        let line = format!("Connection: {option}\r\n");
        answer.splice(head - 2..head - 2, line.bytes());
        end = end.saturating_add(line.len());
    }
    Ok(Some(end))
}

/// Removes the length that tiny_http states for an answer without a body (RFC 9110 §8.6). Returns where the head ends
/// now.
fn without_length(answer: &mut Vec<u8>, head: usize) -> usize {
    const LENGTH: &[u8] = b"\r\ncontent-length:";
    let is_length = |bytes: &[u8]| bytes.eq_ignore_ascii_case(LENGTH);
    let Some(line) = answer[..head].windows(LENGTH.len()).position(is_length) else { return head };
    let length = answer[line + 2..head].windows(2).position(|two| two == b"\r\n").map_or(0, |end| end + 2);
    answer.drain(line..line + length);
    head - length
}

/// A request in tiny_http's form. Nothing in it can end a line early: [`Head::parse`] refuses control characters in a
/// path, a query or a header.
fn encode(head: &Head, headers: &[&(String, String)], body: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(512 + body.len());
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| request.extend_from_slice(part.as_bytes()));
    push(&[head.method.as_str(), " ", &head.path]);
    if let Some(query) = &head.query {
        push(&["?", query]);
    }
    push(&[" HTTP/1.1\r\n"]);
    for (name, value) in headers {
        push(&[name, ": ", value, "\r\n"]);
    }
    push(&[CLIENT_HEADER, ": ", &head.client.to_string(), "\r\n", request_id::HEADER, ": ", head.id.as_str(), "\r\n"]);
    if head.secure {
        push(&[SECURE_HEADER, ": 1\r\n"]);
    }
    push(&["content-length: ", &body.len().to_string(), "\r\n\r\n"]);
    request.extend_from_slice(body);
    request
}
