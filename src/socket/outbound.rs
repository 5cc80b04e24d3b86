//! The writing side of a socket: everything that is written to it passes here, in one order.
//!
//! The contract, to be kept by changes of this file:
//!
//! 1. [`Outbound::send`] never blocks and never waits for the network: lanes call it for each member.
//! 2. Frames are never interleaved or reordered. Only the holder of the queue's lock writes, and it writes past the
//!    queue only while the queue is empty.
//! 3. Nothing goes out before the `101`, which [`Outbound::open`] sends; nothing follows a close frame.
//! 4. What waits is bounded. A member past the limit, or without progress for too long, is dropped (1013), and no other
//!    member notices. If too much waits in all, members with most waiting are dropped too (`flusher`).
//! 5. The lock is held across non-blocking system calls only. Lock order: this queue, then the flusher's table.

use super::{close::Close, flusher::Flusher, frame, memory};
use crate::request_id::RequestId;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendFlags, send},
};
use std::{
    collections::VecDeque,
    io,
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Why members are dropped, for the log.
const SLOW_READER: &str = "slow_reader";
const MEMORY_BUDGET: &str = "memory_budget";

/// How much is still sent to a member that is dropped to save memory.
const MOST_LEFT: usize = 64 << 10;

/// How long a waiting thread sleeps at a time.
const POLL: Duration = Duration::from_millis(100);

/// The writing side of one open socket.
pub struct Outbound {
    id: u64,
    stream: TcpStream,
    /// How many bytes may wait.
    limit: usize,
    /// How long waiting bytes may make no progress.
    stall: Duration,
    queue: Mutex<Queue>,
    /// Follows the queue's stage, for readers without its lock.
    closing: AtomicBool,
    flusher: Arc<Flusher>,
    /// The request that opened the socket, for the log: other threads write here too.
    request: Option<RequestId>,
}

struct Queue {
    stage: Stage,
    /// Whether the `101` is still to be sent; everything else must follow it.
    held: bool,
    /// What the socket did not take yet. The first `begun` bytes of the first chunk have been sent.
    waiting: VecDeque<Bytes>,
    begun: usize,
    /// How many bytes of `waiting` have not been sent.
    bytes: usize,
    /// Since when nothing could be sent; without meaning while nothing waits.
    progress: Instant,
    /// Whether the flusher watches this socket.
    armed: bool,
    /// Whether it was dropped for not reading. From then on the connection's thread ignores what the client says.
    dropped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// A close frame is queued or sent.
    Closing,
    /// Nothing is written any more.
    Gone,
}

impl Outbound {
    pub fn new(id: u64, stream: TcpStream, limit: usize, stall: Duration, flusher: Arc<Flusher>) -> Arc<Outbound> {
        let queue = Queue {
            stage: Stage::Open,
            held: false,
            waiting: VecDeque::new(),
            begun: 0,
            bytes: 0,
            progress: Instant::now(),
            armed: false,
            dropped: false,
        };
        let closing = AtomicBool::new(false);
        let (queue, request) = (Mutex::new(queue), RequestId::current());
        Arc::new(Outbound { id, stream, limit, stall, queue, closing, flusher, request })
    }

    /// This socket's number, unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The socket, for its reading thread.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How many bytes may wait for this member.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Lets everything wait, close frames too, until [`open`](Self::open).
    pub fn hold(&self) {
        self.queue.lock().held = true;
    }

    /// Sends the `101`, then all that waits for it. Fails as [`send_waiting`](Self::send_waiting) does.
    pub fn open(self: &Arc<Self>, response: Bytes) -> io::Result<()> {
        {
            let mut queue = self.queue.lock();
            if queue.stage != Stage::Gone {
                queue.held = false;
                queue.bytes += response.len();
                queue.waiting.push_front(response);
                queue.progress = Instant::now();
                self.write_out(&mut queue)?;
                if queue.bytes > 0 {
                    self.arm(&mut queue);
                }
            }
        }
        self.drain(None)
    }

    /// How many bytes wait for this member now.
    pub fn waiting(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Drops a member that can't keep up (1013).
    pub fn drop_member(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if queue.stage == Stage::Open {
            self.drop_slow(&mut queue, SLOW_READER);
            self.arm(&mut queue);
        }
    }

    /// Drops a member for which much waits, because too much waits in this process.
    pub(super) fn drop_for_memory(&self) {
        let mut queue = self.queue.lock();
        if queue.stage == Stage::Open && queue.bytes > 0 {
            self.drop_slow(&mut queue, MEMORY_BUDGET);
        }
        // A long frame that was sent in part would stay in memory until the member reads it, so it gets no goodbye.
        if queue.bytes > MOST_LEFT {
            self.give_up(&mut queue);
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends whole frames, or lets them wait. Never blocks. Does nothing after a close frame.
    pub fn send(self: &Arc<Self>, frames: &Bytes) {
        let mut queue = self.queue.lock();
        if queue.stage == Stage::Open {
            self.push(&mut queue, frames);
        }
    }

    /// Sends whole frames, and waits until the socket has taken them. For a connection's own thread, which writes
    /// history faster than the queue should grow.
    ///
    /// Fails if the socket is closed, or makes no progress for the stall time.
    pub fn send_waiting(self: &Arc<Self>, frames: Bytes) -> io::Result<()> {
        self.send(&frames);
        // Only the queue holds them now, so they are freed if the member is dropped.
        drop(frames);
        self.drain(None)
    }

    /// Sends a close frame; nothing can follow it. The socket stays open for reading.
    pub fn close(self: &Arc<Self>, close: Close) {
        self.send_close(&frame::close(close));
    }

    /// Sends a close frame that is already encoded.
    pub fn send_close(self: &Arc<Self>, frame: &Bytes) {
        let mut queue = self.queue.lock();
        if queue.stage == Stage::Open {
            queue.stage = Stage::Closing;
            self.closing.store(true, Ordering::Release);
            self.push(&mut queue, frame);
        }
    }

    /// Whether this end has sent its close frame: what the client says afterwards does not count.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether this member was dropped because it did not read.
    pub fn is_dropped(&self) -> bool {
        self.queue.lock().dropped
    }

    /// Waits until nothing waits, at most until `until`. Fails as [`send_waiting`](Self::send_waiting) does.
    pub fn drain_until(&self, until: Instant) -> io::Result<()> {
        self.drain(Some(until))
    }

    fn drain(&self, until: Option<Instant>) -> io::Result<()> {
        loop {
            let patience = {
                let mut queue = self.queue.lock();
                self.write_out(&mut queue)?;
                // No thread waits for a dropped member: it gets no more, and its thread holds more memory than the queue.
                if queue.stage == Stage::Gone || (queue.dropped && until.is_none()) {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                if queue.bytes == 0 {
                    return Ok(());
                }
                let stalls = queue.progress + self.stall;
                until.map_or(stalls, |until| until.min(stalls)).saturating_duration_since(Instant::now())
            };
            if patience.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // Bounded too, since another thread may write meanwhile, which this one would not notice.
            let wait = Timespec { tv_sec: 0, tv_nsec: patience.min(POLL).subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the socket up: nothing is written any more, and a thread that blocks in `read` wakes.
    pub fn cut(&self) {
        let mut queue = self.queue.lock();
        self.give_up(&mut queue);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Called by the flusher when the socket takes bytes again.
    pub(super) fn flush(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        if self.write_out(&mut queue).is_err() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        // Under the queue's lock, because otherwise a send in between would wait for ever.
        queue.armed = queue.bytes > 0;
        if queue.armed {
            self.flusher.watch(self);
        } else {
            self.flusher.forget(self.id);
        }
    }

    /// Called by the flusher now and then: drops a member without progress.
    pub(super) fn drop_if_stalled(&self) {
        let mut queue = self.queue.lock();
        if queue.bytes > 0 && queue.progress.elapsed() >= self.stall {
            match queue.stage {
                Stage::Open => self.drop_slow(&mut queue, SLOW_READER),
                Stage::Closing | Stage::Gone => {
                    self.give_up(&mut queue);
                    let _ = self.stream.shutdown(Shutdown::Both);
                }
            }
        }
    }

    /// Writes at once if the queue is empty, and queues what the socket does not take.
    fn push(self: &Arc<Self>, queue: &mut Queue, frames: &Bytes) {
        let mut sent = 0;
        if queue.bytes == 0 && !queue.held {
            match send(&self.stream, frames, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) if n == frames.len() => return,
                Ok(n) => sent = n,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return self.lost(queue),
            }
            queue.progress = Instant::now();
            queue.begun = sent;
        }
        queue.waiting.push_back(frames.clone());
        queue.bytes += frames.len() - sent;
        if queue.bytes > self.limit && queue.stage == Stage::Open {
            self.drop_slow(queue, SLOW_READER);
        }
        self.arm(queue);
        self.flusher.look_at_memory();
    }

    fn arm(self: &Arc<Self>, queue: &mut Queue) {
        if !queue.armed && !queue.held {
            queue.armed = true;
            self.flusher.watch(self);
        }
    }

    fn write_out(&self, queue: &mut Queue) -> io::Result<()> {
        while !queue.held
            && let Some(chunk) = queue.waiting.front()
        {
            match send(&self.stream, &chunk[queue.begun..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) => {
                    queue.progress = Instant::now();
                    queue.bytes -= n;
                    queue.begun += n;
                    if queue.begun == chunk.len() {
                        queue.waiting.pop_front();
                        queue.begun = 0;
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.lost(queue);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Forgets what waits, except a frame that is sent in part, and sends the close frame 1013.
    fn drop_slow(&self, queue: &mut Queue, reason: &'static str) {
        let _request = self.request.as_ref().map(RequestId::enter);
        tracing::info!(socket = self.id, waiting = queue.bytes, reason, "member dropped");
        self.flusher.dropped.inc();
        // A copy, since otherwise the whole chunk would stay in memory for half a frame.
        let half = queue
            .waiting
            .pop_front()
            .filter(|_| queue.begun > 0)
            .map(|chunk| memory::counted(chunk[queue.begun..frame::boundary(&chunk, queue.begun)].to_vec()));
        queue.waiting.clear();
        (queue.bytes, queue.begun) = (0, 0);
        if let Some(half) = half.filter(|half| !half.is_empty()) {
            queue.bytes = half.len();
            queue.waiting.push_back(half);
        }
        let goodbye = frame::close(Close::SLOW);
        queue.bytes += goodbye.len();
        queue.waiting.push_back(goodbye);
        queue.stage = Stage::Closing;
        queue.dropped = true;
        queue.progress = Instant::now();
        // Its own thread blocks in `read`, and learns of the drop by this end of file.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// The connection is broken; its reading thread will find that out too.
    fn lost(&self, queue: &mut Queue) {
        self.give_up(queue);
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    fn give_up(&self, queue: &mut Queue) {
        queue.stage = Stage::Gone;
        queue.waiting = VecDeque::new();
        queue.bytes = 0;
        queue.begun = 0;
    }

    /// Ends the writing side, and stops the flusher's watch.
    pub(super) fn retire(&self) {
        let mut queue = self.queue.lock();
        self.give_up(&mut queue);
        self.flusher.forget(self.id);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener, sync::atomic::AtomicU64};
    use tungstenite::{
        Message,
        protocol::{Role, WebSocket},
    };

    /// An outbound queue, and the socket at the other end.
    pub(crate) fn outbound(limit: usize, stall: Duration) -> (Arc<Outbound>, TcpStream) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        (Outbound::new(id, stream, limit, stall, Flusher::start(usize::MAX).unwrap()), peer)
    }

    /// All bytes until the end of file.
    fn read_all(mut peer: &TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn frames_come_out_in_the_order_in_which_they_were_sent() {
        let (outbound, peer) = outbound(64 << 20, Duration::from_secs(20));
        let payload = "x".repeat(100_000);
        for n in 0..100 {
            outbound.send(&frame::text_of(&format!("{n} {payload}")));
        }
        outbound.close(Close::NORMAL);
        outbound.send(&frame::text_of("nothing follows a close frame"));
        let mut client = WebSocket::from_raw_socket(peer, Role::Client, None);
        for n in 0..100 {
            assert!(client.read().unwrap().into_text().unwrap().starts_with(&format!("{n} ")));
        }
        assert!(matches!(client.read().unwrap(), Message::Close(_)));
    }

    #[test]
    fn what_is_sent_before_the_101_follows_it() {
        let (outbound, peer) = outbound(64 << 20, Duration::from_secs(20));
        outbound.hold();
        outbound.send(&frame::text_of("farewell"));
        outbound.close(Close::SHUTDOWN);
        outbound.open(Bytes::from_static(b"101")).unwrap();
        outbound.cut();
        let expected = [&b"101"[..], &frame::text_of("farewell"), &frame::close(Close::SHUTDOWN)].concat();
        assert_eq!(read_all(&peer), expected);
    }

    #[test]
    fn a_member_that_does_not_read_is_dropped_at_a_frame_boundary() {
        let (outbound, peer) = outbound(100_000, Duration::from_secs(20));
        let frame = frame::text_of(&"x".repeat(30_000));
        let mut sent = 0;
        while outbound.queue.lock().stage == Stage::Open {
            outbound.send(&frame);
            sent += 1;
        }
        let mut client = WebSocket::from_raw_socket(peer, Role::Client, None);
        let mut read = 0;
        let close = loop {
            match client.read().unwrap() {
                Message::Text(text) => {
                    assert_eq!(text.len(), 30_000);
                    read += 1;
                }
                Message::Close(close) => break close.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(u16::from(close.code), 1013);
        assert!(read < sent, "what waited is forgotten");
    }

    #[test]
    fn a_member_without_progress_is_dropped() {
        let (outbound, peer) = outbound(64 << 20, Duration::from_millis(50));
        // More than the kernel's buffers take, so the rest of this one frame never gets out. First the goodbye waits
        // behind it, then the socket is cut.
        outbound.send(&frame::text_of(&"x".repeat(32 << 20)));
        while outbound.queue.lock().stage != Stage::Gone {
            std::thread::yield_now();
        }
        assert!(!read_all(&peer).is_empty());
    }

    #[test]
    fn a_retired_queue_is_let_go_by_the_flusher() {
        let (outbound, _peer) = outbound(64 << 20, Duration::from_secs(20));
        let frame = frame::text_of(&"x".repeat(1 << 20));
        while outbound.queue.lock().bytes == 0 {
            outbound.send(&frame);
        }
        outbound.retire();
        while Arc::strong_count(&outbound) > 1 {
            std::thread::yield_now();
        }
    }
}
