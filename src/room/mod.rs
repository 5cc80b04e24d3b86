//! Rooms: where messages get their order, are stored, and go out to every member.
//!
//! ```text
//! Rooms::post ─▶ log thread (order, one transaction a batch) ─▶ lanes ─▶ Outbound of each member
//! ```
//!
//! Joining without gap or double: [`Rooms::join`] puts the newcomer into its lane, which holds live
//! frames for it; the connection's thread reads and writes history, then [`Rooms::release`] names the
//! last id it wrote, and the lane lets go of what is newer.

pub mod lane;
pub mod log;
pub mod member;
pub mod message;
pub mod run;
#[cfg(test)]
mod tests;
pub mod voice;

use crate::{
    socket::{close::Close, frame, outbound::Outbound},
    store::MessageLog,
};
use crossbeam_channel::{Sender, bounded};
use lane::Command;
use log::{Author, Entry, Post};
use member::{Member, Room};
use message::{Draft, MessageId, RoomName};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};
use voice::{Event, Voice};

/// Messages that may wait for the log thread; senders beyond that wait themselves.
const LOG_QUEUE: usize = 1024;

/// Commands that may wait for a lane: batches of messages, joins and leaves.
const LANE_QUEUE: usize = 1024;

/// How long a publisher waits for its message to be stored.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// The most lanes there can be: a room keeps one bit for each.
const MAX_LANES: usize = 64;

/// The handle to all rooms.
pub struct Rooms {
    log: Sender<Entry>,
    log_thread: Mutex<Option<thread::JoinHandle<()>>>,
    lanes: Arc<[Sender<Command>]>,
    directory: Mutex<Directory>,
    hasher: RandomState,
}

impl Rooms {
    /// Starts the log thread and `lanes` lanes.
    pub fn start(store: Arc<dyn MessageLog>, lanes: usize) -> io::Result<Rooms> {
        let lanes: io::Result<Vec<_>> = (0..lanes.clamp(1, MAX_LANES))
            .map(|index| {
                let (sender, commands) = bounded(LANE_QUEUE);
                let lane = Arc::new(lane::Lane::new(index, commands));
                let runner = lane.clone();
                thread::Builder::new().name(format!("lane-{index}")).spawn(move || runner.run())?;
                Ok((sender, lane))
            })
            .collect();
        let lanes = lanes?;
        let commands = lanes.iter().map(|(sender, _)| sender.clone()).collect();
        let (sender, posts) = bounded(LOG_QUEUE);
        let log = log::LogThread::new(store, posts, lanes);
        let log_thread = thread::Builder::new().name("log".into()).spawn(move || log.run())?;
        Ok(Rooms {
            log: sender,
            log_thread: Mutex::new(Some(log_thread)),
            lanes: commands,
            directory: Mutex::default(),
            hasher: RandomState::new(),
        })
    }

    /// Puts a socket into a room; from now on its lane holds the room's messages for it.
    ///
    /// The caller replays history, then calls [`release`](Self::release), and in the end
    /// [`leave`](Self::leave).
    pub fn join(
        &self,
        name: &RoomName,
        user: Arc<str>,
        voice: &'static dyn Voice,
        outbound: Arc<Outbound>,
    ) -> Arc<Member> {
        let home = self.hasher.hash_one(name) as usize % self.lanes.len();
        let room = self.directory.lock().room(name, self.lanes.len());
        let (lane, first) = room.enter(&user, home);
        let member = Arc::new(Member { room, lane, user, voice, outbound });
        self.command(lane, Command::Join(member.clone()));
        if first {
            let event = Event::Joined { user: member.user.clone() };
            self.announce(&member.room, event, Some(member.id()));
        }
        member
    }

    /// Ends the holding: history was written up to `last` (`None`: the room had none).
    pub fn release(&self, member: &Arc<Member>, last: Option<MessageId>) {
        self.command(member.lane, Command::Release(member.clone(), last));
    }

    /// Takes a socket out of its room.
    pub fn leave(&self, member: &Arc<Member>) {
        self.command(member.lane, Command::Leave(member.clone()));
        if member.room.exit(&member.user, member.lane) {
            self.announce(&member.room, Event::Left { user: member.user.clone() }, None);
        }
    }

    /// Hands a member's message to the log. The member hears it as everybody does, or that it could
    /// not be stored. Waits while the log's queue is full.
    pub fn post(&self, author: &Arc<Member>, draft: Draft) {
        self.submit(Post { author: Author::Member(author.clone()), room: author.room.clone(), draft });
    }

    /// Says something in a room from outside. Answers how many members hear it, once it is stored;
    /// nothing if it could not be stored.
    pub fn publish(&self, draft: Draft) -> Option<usize> {
        let room = self.directory.lock().room(&draft.room, self.lanes.len());
        let members = room.count();
        let (answer, stored) = bounded(1);
        self.submit(Post { author: Author::Outsider(answer), room, draft });
        stored.recv_timeout(PUBLISH_WAIT).ok().filter(|stored| *stored).map(|_| members)
    }

    fn submit(&self, post: Post) {
        if let Err(refused) = self.log.send(Entry::Post(post))
            && let Entry::Post(post) = refused.0
        {
            post.not_stored();
        }
    }

    /// Tells everybody in the room, except the socket `except`.
    pub fn announce(&self, room: &Arc<Room>, event: Event, except: Option<u64>) {
        let lanes = room.lanes();
        let event = Arc::new(event);
        for lane in (0..self.lanes.len()).filter(|lane| lanes & (1 << lane) != 0) {
            self.command(lane, Command::Announce { room: room.clone(), event: event.clone(), except });
        }
    }

    /// Closes the sockets of all who are in a room, after telling them why.
    ///
    /// A newcomer whose [`join`](Self::join) comes later is not closed: it must look by itself whether it
    /// still may come in.
    pub fn close(&self, name: &RoomName, farewell: &str, close: Close) {
        let Some(room) = self.find(name) else { return };
        let (farewell, lanes) = (frame::text_of(farewell), room.lanes());
        for lane in (0..self.lanes.len()).filter(|lane| lanes & (1 << lane) != 0) {
            self.command(lane, Command::Close { room: room.clone(), farewell: farewell.clone(), close });
        }
    }

    /// Deletes a room's messages, after what was posted before is stored.
    pub fn forget(&self, name: &RoomName) {
        // Fails only if the log thread has stopped; what is left then is never shown.
        let _ = self.log.send(Entry::Forget(name.clone()));
    }

    /// The room of this name, if somebody is in it or was a moment ago.
    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.directory.lock().rooms.get(name)?.upgrade()
    }

    /// Stores what waits and takes no more.
    pub fn stop(&self) {
        // Fails only if the log thread has stopped already.
        let _ = self.log.send(Entry::Stop);
        let thread = self.log_thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log thread had failed");
        }
    }

    fn command(&self, lane: usize, command: Command) {
        // A lane lives as long as its senders; this one is such a sender.
        let _ = self.lanes[lane].send(command);
    }
}

/// The rooms that somebody holds: its members, and messages on their way.
///
/// Weak, because a message may outlive its author's membership: whoever joins meanwhile must find
/// the same room, or would not hear that message.
#[derive(Default)]
struct Directory {
    rooms: HashMap<RoomName, Weak<Room>>,
    /// Entries when rooms that are gone were last swept out.
    swept: usize,
}

impl Directory {
    fn room(&mut self, name: &RoomName, lanes: usize) -> Arc<Room> {
        if let Some(room) = self.rooms.get(name).and_then(Weak::upgrade) {
            return room;
        }
        if self.rooms.len() > 2 * self.swept + 64 {
            self.rooms.retain(|_, room| room.strong_count() > 0);
            self.swept = self.rooms.len();
        }
        let room = Arc::new(Room::new(name.clone(), lanes));
        self.rooms.insert(name.clone(), Arc::downgrade(&room));
        room
    }
}
