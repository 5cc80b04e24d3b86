//! tiny_http on a private socket: it gets complete, bounded requests, and hands them to the router.
//!
//! It never faces the network: it reads heads of any size, has no time-outs, and stops accepting for good when one
//! accept fails. [`crate::gateway`] is its only client.

use super::handler::{Handler, or_500};
use crate::{
    http::{
        answer,
        head::{self, Method},
        reply::{Reply, Request},
    },
    refusal::{Reason, Refusal},
    request_id::{self, RequestId},
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::Permissions,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// The header in which the gateway passes the client's address on; clients can't set it.
pub const CLIENT_HEADER: &str = "x-propromo-client";
/// The header that says that the client uses TLS; clients can't set it.
pub const SECURE_HEADER: &str = "x-propromo-secure";

/// What the gateway sends first on a connection. It is no client's request, and is answered with an empty 204.
///
/// tiny_http counts a thread as free until it has woken up. So when several connections arrive at once, some may be
/// given to a busy thread, and nobody would ever read them. The answer shows that this connection has its own thread.
pub const GREETING: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The stack of a handler thread: enough for password hashing, JSON and SQLite, in debug builds too.
const HANDLER_STACK: usize = 1024 * 1024;

/// A running tiny_http with its handler threads. They end when this is dropped.
pub struct Backend {
    server: Arc<tiny_http::Server>,
    /// The file of the socket, which has no name any more.
    socket: OwnedFd,
    handlers: usize,
    stopping: Arc<AtomicBool>,
}

impl Backend {
    /// Listens on a Unix socket of its own, and answers with `handlers` threads.
    pub fn start(handlers: usize, handler: Handler) -> io::Result<Backend> {
        let directory =
            tempfile::Builder::new().prefix("propromo-chat-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        let path = directory.path().join("http");
        let listener = UnixListener::bind(&path)?;
        // From now on only this descriptor leads to the socket. So no other process finds it, and nothing is left
        // behind after a kill.
        let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        directory.close()?;
        let server = Arc::new(tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?);
        let stopping = Arc::new(AtomicBool::new(false));
        // Made before the threads: if one can't be started, dropping this ends the others.
        let backend = Backend { server, socket, handlers, stopping };
        for _ in 0..handlers {
            let (server, stopping, handler) = (backend.server.clone(), backend.stopping.clone(), handler.clone());
            thread::Builder::new()
                .name("http".to_owned())
                .stack_size(HANDLER_STACK)
                .spawn(move || handle(&server, &stopping, &handler))?;
        }
        Ok(backend)
    }

    /// Opens a new connection to it.
    pub fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!("/proc/self/fd/{}", self.socket.as_raw_fd()))
    }

    /// The same backend, which no longer accepts connections.
    #[cfg(test)]
    pub fn deaf(mut self) -> Backend {
        self.socket = std::fs::File::open("/dev/null").unwrap().into();
        self
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for _ in 0..self.handlers {
            self.server.unblock();
        }
    }
}

/// Runs on each handler thread.
fn handle(server: &tiny_http::Server, stopping: &AtomicBool, handler: &Handler) {
    while !stopping.load(Ordering::Acquire) {
        let mut received = match server.recv() {
            Ok(received) => received,
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => {
                // tiny_http accepts no more connections, but still serves the open ones. The gateway starts another.
                tracing::error!(%error, "the inner HTTP server can't accept connections");
                continue;
            }
        };
        let reply = or_500(|| match read(&mut received) {
            Ok(Some((request, id))) => handler.answer(request, &id),
            Ok(None) => Reply { status: 204, headers: Vec::new(), body: Vec::new() },
            Err(refusal) => Reply::from(refusal),
        });
        // Fails if the gateway has given up on this request: then nobody waits for the answer.
        let _ = received.respond(response(reply));
    }
}

/// The request as the router sees it, with its id; `None` for a greeting.
fn read(received: &mut tiny_http::Request) -> Result<Option<(Request, RequestId)>, Refusal> {
    let method = Method::from_name(received.method().as_str()).ok_or(Reason::NotImplemented)?;
    let (path, query) = match received.url().split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (received.url().to_owned(), None),
    };
    let (mut client, mut secure, mut id) = (None, false, None);
    let mut headers = Vec::with_capacity(received.headers().len());
    for header in received.headers() {
        let name = header.field.as_str().as_str().to_ascii_lowercase();
        match name.as_str() {
            name if name.eq_ignore_ascii_case(request_id::HEADER) => {
                id = Some(RequestId::passed_on(header.value.as_str()))
            }
            SECURE_HEADER => secure = true,
            CLIENT_HEADER => client = header.value.as_str().parse().ok(),
            _ => headers.push((name, header.value.as_str().to_owned())),
        }
    }
    let (Some(client), Some(id)) = (client, id) else { return Ok(None) };
    let mut body = Vec::with_capacity(received.body_length().unwrap_or(0));
    received.as_reader().read_to_end(&mut body).map_err(|_| Reason::Internal)?;
    Ok(Some((Request { method, segments: head::segments(&path)?, path, query, headers, body, client, secure }, id)))
}

/// The reply in tiny_http's form: with its length and never chunked, whatever its size.
fn response(reply: Reply) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let mut headers = Vec::with_capacity(reply.headers.len() + 1);
    headers.push(("Server", answer::SERVER.to_owned()));
    headers.extend(reply.headers);
    let headers = headers.into_iter().filter(|(name, value)| answer::is_fit(name, value));
    let headers = headers.filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value).ok());
    let length = reply.body.len();
    tiny_http::Response::new(
        tiny_http::StatusCode(reply.status),
        headers.collect(),
        io::Cursor::new(reply.body),
        Some(length),
        None,
    )
    .with_chunked_threshold(usize::MAX)
}
