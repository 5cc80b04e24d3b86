//! Runs: entries of one room that go out together, encoded once for each door.

use super::{encoder::Encoder, member::Room};
use crate::{
    entry::Entry,
    message::MessageId,
    socket::{frame, memory},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{sync::Arc, time::Instant};

/// Entries of one room, in order, stored and about to be delivered.
pub struct Run {
    pub room: Arc<Room>,
    pub entries: Vec<Entry>,
    /// When they were stored, or when this node heard of them.
    pub stored: Instant,
    /// The frames of each door that has members in this room.
    encoded: Mutex<Vec<(&'static str, Arc<Encoded>)>>,
}

/// Whole frames, joined, and where each ends. An entry that this door does not show has none.
pub struct Encoded {
    pub frames: Bytes,
    pub ends: Vec<(MessageId, usize)>,
}

impl Run {
    pub fn new(room: Arc<Room>, first: Entry) -> Run {
        Run::of(room, vec![first])
    }

    pub fn of(room: Arc<Room>, entries: Vec<Entry>) -> Run {
        Run { room, entries, stored: Instant::now(), encoded: Mutex::default() }
    }

    /// The frames of this door; encoded by the first lane that needs them.
    pub fn encoded(&self, encoder: &dyn Encoder) -> Arc<Encoded> {
        let mut all = self.encoded.lock();
        if let Some((_, encoded)) = all.iter().find(|(name, _)| *name == encoder.name()) {
            return encoded.clone();
        }
        let encoded = Arc::new(Encoded::new(self, encoder));
        all.push((encoder.name(), encoded.clone()));
        encoded
    }
}

/// Roughly how many bytes a frame has besides the message's text.
const OVERHEAD: usize = 192;

impl Encoded {
    fn new(run: &Run, encoder: &dyn Encoder) -> Encoded {
        let size = run.entries.iter().map(|entry| entry.message().map_or(0, |message| message.text.len()) + OVERHEAD);
        let mut frames = Vec::with_capacity(size.sum());
        let mut ends = Vec::with_capacity(run.entries.len());
        for entry in &run.entries {
            let start = frames.len();
            say(encoder, &run.room, entry, &mut frames);
            if frames.len() > start {
                ends.push((entry.id(), frames.len()));
            }
        }
        Encoded { frames: memory::counted(frames), ends }
    }

    /// The frames of entries newer than `last`, and their number.
    pub fn after(&self, last: MessageId) -> (Bytes, usize) {
        let old = self.ends.partition_point(|(id, _)| *id <= last);
        let start = if old == 0 { 0 } else { self.ends[old - 1].1 };
        (self.frames.slice(start..), self.ends.len() - old)
    }
}

/// Appends the frame of a door for an entry, if the door shows the entry.
pub fn say(encoder: &dyn Encoder, room: &Room, entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Message(message) => frame::text(out, |out| encoder.message(&room.name, message, out)),
        Entry::Change(change) => frame::text_if_any(out, |out| encoder.change(&room.name, change, out)),
    }
}
