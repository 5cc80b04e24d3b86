//! One connection, on its own thread: reads requests one by one and routes each on its own.
//!
//! Plain requests go through the gateway. An upgrade may follow them, and turns the connection into a WebSocket. It is
//! opened here, and then runs on a thread of its own.

use super::{
    answers::Answers,
    linger::linger,
    pace::Pace,
    reader::{End, Reader},
    upgrade::{Session, Upgrades},
};
use crate::{
    config::Limits,
    door::conversation::Rest,
    gateway::Gateway,
    http::{
        answer::{self, Persistence},
        head::{BodyLength, Head, Method},
        intake::Intake,
        reply::Reply,
    },
    limits::places::{AddressPlace, AddressPlaces},
    metrics::Metrics,
    refusal::{Reason, Refusal},
    request_id::{self, RequestId},
    vital,
};
use ipnet::IpNet;
use std::{
    io::{self, ErrorKind, IoSlice, Write},
    net::{IpAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The names in the log for refusals that come from neither an endpoint nor a door.
const CONNECTION: &str = "connection";
const GATEWAY: &str = "gateway";

/// What the connections of one listener share.
pub struct Service {
    limits: Limits,
    trusted: Vec<IpNet>,
    gateway: Gateway,
    upgrades: Box<dyn Upgrades>,
    intake: Option<Box<dyn Intake>>,
    /// Whether these connections are encrypted.
    over_tls: bool,
    answers: Answers,
    metrics: Arc<Metrics>,
    /// Places for requests that proxies pass on; direct connections took theirs when they were accepted.
    by_address: AddressPlaces,
    in_flight: AtomicUsize,
    stopping: AtomicBool,
}

impl Service {
    pub fn new(
        limits: Limits,
        trusted: Vec<IpNet>,
        gateway: Gateway,
        upgrades: Box<dyn Upgrades>,
        metrics: Arc<Metrics>,
        by_address: AddressPlaces,
    ) -> Service {
        let (in_flight, stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
        let answers = Answers::new(limits.memory_budget);
        Service {
            limits,
            trusted,
            gateway,
            upgrades,
            intake: None,
            over_tls: false,
            answers,
            metrics,
            by_address,
            in_flight,
            stopping,
        }
    }

    /// Adds an intake that reads some large bodies as they arrive.
    pub fn with_intake(self, intake: Option<Box<dyn Intake>>) -> Service {
        Service { intake, ..self }
    }

    /// Says whether the connections come out of TLS.
    pub fn over_tls(self, over_tls: bool) -> Service {
        Service { over_tls, ..self }
    }

    /// Serves a connection until it ends. Returns the rest if it has become a WebSocket.
    pub fn serve(&self, stream: TcpStream, peer: IpAddr) -> Option<Rest> {
        self.set_up(&stream).ok()?;
        let mut reader = Reader::new(&stream, peer, &self.limits, &self.trusted);
        let (session, place) = loop {
            let head = match reader.head() {
                Ok(head) => Head { secure: head.secure || self.over_tls, ..head },
                Err(end) => {
                    self.end(&stream, peer, end, None);
                    return None;
                }
            };
            vital::may_panic("connection");
            let _request = head.id.enter();
            let _in_flight = InFlight::begin(&self.in_flight);
            let place = match self.place(peer, head.client) {
                Ok(place) => place,
                Err(refusal) => {
                    self.end(&stream, peer, End::Refused(refusal), Some(&head));
                    return None;
                }
            };
            match self.next(&mut reader, &head) {
                Ok(Next::Open(session)) => break (session, place),
                Ok(Next::Answer(bytes, persistence)) => {
                    let Some(answer) = self.answers.keep(bytes, head.client) else {
                        let sentence = "Too many large answers are being read at the moment; try again.";
                        let refusal = Refusal::new(Reason::Overloaded, sentence).retry_after(Duration::from_secs(5));
                        self.end(&stream, peer, End::Refused(refusal), Some(&head));
                        return None;
                    };
                    self.send(&stream, answer.parts()).ok()?;
                    if persistence == Persistence::Closed {
                        linger(&stream);
                        return None;
                    }
                }
                Err(end) => {
                    self.end(&stream, peer, end, Some(&head));
                    return None;
                }
            }
        };
        let early = reader.into_early();
        // A session sets its own time-outs.
        stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(None)).ok()?;
        let rest = session(stream, early)?;
        Some(Box::new(move || {
            let _place = place;
            rest();
        }))
    }

    /// The place that a request of this client takes if a proxy passed it on.
    fn place(&self, peer: IpAddr, client: IpAddr) -> Result<Option<AddressPlace>, Refusal> {
        if client == peer.to_canonical() {
            return Ok(None);
        }
        self.by_address.take(client).map(Some).ok_or_else(|| {
            self.metrics.sockets_refused_by_address.inc();
            let sentence = "Your address has reached its limit of connections; try again.";
            Refusal::new(Reason::Overloaded, sentence).retry_after(Duration::from_secs(5))
        })
    }

    /// How many bytes the large answers take that clients are being sent.
    pub fn answers(&self) -> usize {
        self.answers.held()
    }

    /// From now on no connection is kept, and no WebSocket is opened.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// How many requests are being read, answered or sent.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// How many plain requests can be answered at a time, and how many are being answered.
    pub fn workers(&self) -> (usize, usize) {
        self.gateway.workers()
    }

    fn set_up(&self, stream: &TcpStream) -> io::Result<()> {
        // On systems other than Linux the socket inherits this from the listener.
        stream.set_nonblocking(false)?;
        // Fails for the pair of sockets behind TLS, where nothing is delayed.
        let _ = stream.set_nodelay(true);
        // Bounds each write; the pace bounds the whole answer.
        stream.set_write_timeout(Some(self.limits.send_stall))
    }

    fn next(&self, reader: &mut Reader, head: &Head) -> Result<Next, End> {
        let segments = head.segments()?;
        if head.upgrade {
            return Ok(match self.upgrade(head, &segments) {
                Ok(session) => Next::Open(session),
                Err(reply) => self.reply(head, reply),
            });
        }
        // The root is both the home page and a door.
        let reads = matches!(head.method, Method::Get | Method::Head);
        if reads && !segments.is_empty() && self.upgrades.owns(&segments) {
            let reply = self.refuse(head, &segments, Reason::UpgradeRequired.into());
            return Ok(self.reply(head, reply));
        }
        let body = match &self.intake {
            Some(intake) if intake.takes(head.method, &segments) => match digested(&**intake, reader, head)? {
                Ok(body) => body,
                Err(refusal) => {
                    let reply = self.metrics.refuse(refusal, head.client, CONNECTION, Reply::from);
                    return Ok(self.reply(head, reply));
                }
            },
            _ => reader.body(head)?,
        };
        let persistence = self.persistence(head);
        Ok(match self.gateway.exchange(head, &body, persistence) {
            Ok(bytes) => Next::Answer(bytes, persistence),
            Err(refusal) => {
                let reply = self.metrics.refuse(refusal, head.client, GATEWAY, Reply::from);
                let mut reply = reply.with(request_id::HEADER, head.id.as_str());
                self.upgrades.permit(head, &mut reply);
                Next::Answer(answer::encode(&reply, persistence, head.method == Method::Head), persistence)
            }
        })
    }

    fn upgrade(&self, head: &Head, segments: &[String]) -> Result<Session, Reply> {
        if !self.upgrades.owns(segments) {
            return Err(self.refuse(head, segments, Reason::NotFound.into()));
        }
        if self.is_stopping() {
            let refusal = Refusal::new(Reason::Unavailable, "The server is shutting down; try again.");
            return Err(self.refuse(head, segments, refusal.retry_after(Duration::from_secs(1))));
        }
        self.upgrades.open(head, segments)
    }

    /// Reports a refusal that comes from neither a door nor an endpoint, in the form that is usual at this path.
    fn refuse(&self, head: &Head, segments: &[String], refusal: Refusal) -> Reply {
        self.metrics.refuse(refusal, head.client, CONNECTION, |refusal| self.upgrades.refuse(segments, &refusal))
    }

    /// An answer to a request whose body was not read.
    fn reply(&self, head: &Head, reply: Reply) -> Next {
        let mut reply = reply.with(request_id::HEADER, head.id.as_str());
        self.upgrades.permit(head, &mut reply);
        let persistence = match head.body {
            BodyLength::Known(0) => self.persistence(head),
            _ => Persistence::Closed,
        };
        Next::Answer(answer::encode(&reply, persistence, head.method == Method::Head), persistence)
    }

    fn persistence(&self, head: &Head) -> Persistence {
        if !head.keep_alive || self.is_stopping() {
            Persistence::Closed
        } else if head.header("connection").is_some() {
            Persistence::KeptAsAsked
        } else {
            Persistence::Kept
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends the connection. If there is a refusal, sends it first.
    fn end(&self, stream: &TcpStream, peer: IpAddr, end: End, head: Option<&Head>) {
        let End::Refused(refusal) = end else { return };
        // A request with an unreadable head has no id yet.
        let id = head.map_or_else(RequestId::next, |head| head.id.clone());
        let _request = id.enter();
        let client = head.map_or(peer, |head| head.client);
        let reply = self.metrics.refuse(refusal, client, CONNECTION, Reply::from);
        let mut reply = reply.with(request_id::HEADER, id.as_str());
        if let Some(head) = head {
            self.upgrades.permit(head, &mut reply);
        }
        let to_head_request = head.is_some_and(|head| head.method == Method::Head);
        let bytes = answer::encode(&reply, Persistence::Closed, to_head_request);
        if self.send(stream, [&bytes, &[]]).is_ok() {
            linger(stream);
        }
    }

    fn send(&self, mut stream: &TcpStream, [mut head, mut body]: [&[u8]; 2]) -> io::Result<()> {
        let size = head.len() + body.len();
        let pace = Pace::of(size, self.limits.send_stall);
        let mut sent = 0;
        while sent < size {
            match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    let of_head = length.min(head.len());
                    (head, body) = (&head[of_head..], &body[length - of_head..]);
                    sent += length;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if sent < size && pace.left(sent).is_none() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

/// What the endpoint gets in place of a large body, or why the body is refused.
fn digested(intake: &dyn Intake, reader: &mut Reader, head: &Head) -> Result<Result<Vec<u8>, Refusal>, End> {
    let mut body = reader.streamed(head, intake.most())?;
    let digest = intake.digest(head, &mut body);
    match body.end() {
        Some(end) => Err(end),
        None => Ok(digest),
    }
}

enum Next {
    Answer(Vec<u8>, Persistence),
    Open(Session),
}

/// Counts a request while it is in work, whatever its outcome.
struct InFlight<'a>(&'a AtomicUsize);

impl InFlight<'_> {
    fn begin(count: &AtomicUsize) -> InFlight<'_> {
        count.fetch_add(1, Ordering::AcqRel);
        InFlight(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
