//! A message from the log to the sockets of all members: log thread, lane, and one send a member and run.
//!
//! The log stores nothing here, so that the lane is what is seen; the sockets are real, and one thread
//! reads them all.

use crate::{store::draft, wire};
use criterion::{BenchmarkId, Criterion, Throughput};
use propromo_chat::facade::steps::{
    AnnouncePolicy, Appended, Bounds, Draft, Encoder, Entry, Flusher, Member, Message, MessageId, MessageLog, NewEntry,
    Outbound, Person, PropromoEncoder, RoomName, Rooms, StoreError, frame,
};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};
use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Messages on their way at a time in the second group, as many as workload A of docs/BENCHMARKS.md has.
const WINDOW: u64 = 40;

pub fn all(c: &mut Criterion) {
    for (group, window) in [("delivery one by one", 1), ("delivery in runs", WINDOW)] {
        let mut group = c.benchmark_group(group);
        for members in [10, 100, 1000] {
            let room = CrowdedRoom::with(members);
            group.throughput(Throughput::Elements(members));
            group.bench_function(BenchmarkId::new("members", members), |b| {
                b.iter_custom(|messages| {
                    let started = Instant::now();
                    room.say(messages, window);
                    started.elapsed()
                });
            });
        }
        group.finish();
    }
}

/// A room whose members' other ends are read and counted.
struct CrowdedRoom {
    rooms: Rooms,
    members: Vec<Arc<Member>>,
    draft: Draft,
    /// Bytes that one message makes for one member.
    frame: u64,
    read: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
}

impl CrowdedRoom {
    fn with(count: u64) -> CrowdedRoom {
        let bounds = Bounds {
            announce: AnnouncePolicy { users: 200, rate: None },
            inbox_rooms: 500,
            patience: Duration::from_secs(10),
        };
        let rooms = Rooms::start(Arc::new(Forgetful), 1, bounds).unwrap();
        let flusher = Flusher::start(usize::MAX).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let draft = draft("delivery");
        let (members, peers): (Vec<_>, Vec<_>) = (0..count)
            .map(|id| {
                let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                let outbound = Outbound::new(id, stream, 1 << 30, Duration::from_secs(60), flusher.clone());
                let person = Person::unnamed(format!("user {id}").into());
                let member = rooms.join(&draft.room, person, &PropromoEncoder, outbound);
                rooms.release(&member, None);
                (member, peer)
            })
            .unzip();
        let mut frame = Vec::new();
        frame::text(&mut frame, |out| PropromoEncoder.message(&draft.room, &wire::message(&draft.text), out));
        let (read, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let reader = {
            let (read, stop) = (read.clone(), stop.clone());
            Some(thread::spawn(move || read_all(&peers, &read, &stop)))
        };
        CrowdedRoom { rooms, members, draft, frame: frame.len() as u64, read, stop, reader }
    }

    /// Says so many messages, at most `window` of them not heard by all members yet.
    fn say(&self, messages: u64, window: u64) {
        let delivery = self.frame * self.members.len() as u64;
        let before = self.read.load(Ordering::Acquire);
        for n in 0..messages {
            self.heard(before + (n + 1).saturating_sub(window) * delivery);
            self.rooms.post(&self.members[n as usize % self.members.len()], self.draft.clone());
        }
        self.heard(before + messages * delivery);
    }

    fn heard(&self, bytes: u64) {
        while self.read.load(Ordering::Acquire) < bytes {
            thread::yield_now();
        }
    }
}

impl Drop for CrowdedRoom {
    fn drop(&mut self) {
        self.members.iter().for_each(|member| self.rooms.leave(member));
        self.rooms.stop();
        self.stop.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

fn read_all(peers: &[TcpStream], read: &AtomicU64, stop: &AtomicBool) {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (n, peer) in peers.iter().enumerate() {
        peer.set_nonblocking(true).unwrap();
        epoll::add(&ready, peer, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN).unwrap();
    }
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut events = Vec::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    while !stop.load(Ordering::Acquire) {
        events.clear();
        epoll::wait(&ready, spare_capacity(&mut events), Some(&wait)).unwrap();
        for event in events.drain(..) {
            let mut peer = &peers[event.data.u64() as usize];
            if let Ok(n) = peer.read(&mut buffer) {
                read.fetch_add(n as u64, Ordering::AcqRel);
            }
        }
    }
}

/// Gives each message an id, and keeps none.
struct Forgetful;

impl MessageLog for Forgetful {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        Ok(entries.iter().map(|_| Appended::Stored(MessageId(Uuid::now_v7()))).collect())
    }

    fn history(&self, _: &RoomName, _: Option<MessageId>, _: usize) -> Result<Vec<Message>, StoreError> {
        Ok(Vec::new())
    }

    fn newer(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Vec<Message>, StoreError> {
        Ok(Vec::new())
    }

    fn since(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(None)
    }

    fn message(&self, _: &RoomName, _: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(None)
    }

    fn forget_before(&self, _: &RoomName, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn rooms(&self, _: Option<&RoomName>, _: usize) -> Result<Vec<RoomName>, StoreError> {
        Ok(Vec::new())
    }

    fn forget(&self, _: &RoomName) -> Result<(), StoreError> {
        Ok(())
    }

    fn set_aside(&self, _: &RoomName, _: &RoomName) -> Result<(), StoreError> {
        Ok(())
    }

    fn entries(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }

    fn scrub(&self, _: &[RoomName]) -> Result<(), StoreError> {
        Ok(())
    }

    fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
