//! A member (one open socket in one room), and the room as all threads share it.

use super::encoder::Encoder;
use crate::{
    event::Person,
    message::{MessageId, RoomName},
    socket::outbound::Outbound,
    store::presence::Present,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// The handle through which a lane reaches one socket.
pub struct Member {
    pub room: Arc<Room>,
    /// The number of the lane that owns this member.
    pub(super) lane: usize,
    pub person: Person,
    pub encoder: &'static dyn Encoder,
    pub outbound: Arc<Outbound>,
}

impl Member {
    /// The number of its socket, unique among the members of all rooms.
    pub fn id(&self) -> u64 {
        self.outbound.id()
    }
}

/// A room with members, or with messages on their way.
pub struct Room {
    pub name: RoomName,
    /// One bit for each lane that has members of it. The bit is set before the member's history is read: if a batch did
    /// not see the bit, its messages are in that history.
    lanes: AtomicU64,
    /// How many sockets are on the roster.
    count: AtomicUsize,
    pub(super) roster: Mutex<Roster>,
    /// The last message that the feed has handed to the lanes; `None` until that is known. See `room::feed`.
    pub(super) position: Mutex<Option<MessageId>>,
}

/// Who is in a room.
#[derive(Default)]
pub(super) struct Roster {
    /// How many members each lane has.
    lanes: Vec<usize>,
    /// The users who are here, with how many sockets each.
    users: BTreeMap<Arc<str>, Present>,
}

/// How many consecutive members of a room share a lane, so that most rooms wake one lane and the largest wake all.
/// While a lane works, more messages come in and are joined into its next sends. Two lanes that take turns on a busy
/// core send twice as often, and use one and a half times the processor time.
const LANE_SHARE: usize = 1024;

/// In rooms of up to this many members, members take the writer themselves (`writer`) and wait for their turn when they
/// are woken (`socket::wakeups`). In larger rooms a reader does better to read on: what comes in meanwhile is stored
/// and sent together, and many wait for it.
const SMALL_ROOM: usize = 16;

impl Room {
    pub(super) fn new(name: RoomName, lanes: usize) -> Room {
        let roster = Roster { lanes: vec![0; lanes], users: BTreeMap::new() };
        Room {
            name,
            lanes: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            roster: Mutex::new(roster),
            position: Mutex::default(),
        }
    }

    /// One bit for each lane that has members.
    pub(super) fn lanes(&self) -> u64 {
        self.lanes.load(Ordering::SeqCst)
    }

    /// Counts a user's socket in. Returns the lane that takes it, and whether it is the user's first.
    pub(super) fn enter(&self, person: &Person, home: usize) -> (usize, bool) {
        let mut roster = self.roster.lock();
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let lane = (home + count / LANE_SHARE) % roster.lanes.len();
        roster.lanes[lane] += 1;
        self.lanes.fetch_or(1 << lane, Ordering::SeqCst);
        let nobody_yet = || Present { person: person.clone(), sockets: 0 };
        let present = roster.users.entry(person.user.clone()).or_insert_with(nobody_yet);
        present.sockets += 1;
        // The account's name may have changed.
        present.person.name.clone_from(&person.name);
        (lane, present.sockets == 1)
    }

    /// Counts a socket out. Returns whether it was the user's last.
    pub(super) fn exit(&self, user: &str, lane: usize) -> bool {
        let mut roster = self.roster.lock();
        self.count.fetch_sub(1, Ordering::Relaxed);
        roster.lanes[lane] -= 1;
        if roster.lanes[lane] == 0 {
            self.lanes.fetch_and(!(1 << lane), Ordering::SeqCst);
        }
        match roster.users.get_mut(user) {
            Some(present) if present.sockets > 1 => {
                present.sockets -= 1;
                false
            }
            _ => {
                roster.users.remove(user);
                true
            }
        }
    }

    /// How many sockets are in this room, on this node.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many users are in this room, on this node.
    pub(super) fn user_count(&self) -> usize {
        self.roster.lock().users.len()
    }

    /// Whether this user is in this room, on this node.
    pub(super) fn has(&self, user: &str) -> bool {
        self.roster.lock().users.contains_key(user)
    }

    /// Whether it is so small, on this node, that its members store and deliver by themselves.
    pub fn is_small(&self) -> bool {
        self.count() <= SMALL_ROOM
    }

    /// The users who are here, on this node, in alphabetical order.
    pub(super) fn everybody(&self) -> Vec<Present> {
        self.roster.lock().users.values().cloned().collect()
    }
}
