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
    /// When they were stored, or heard of.
    pub stored: Instant,
    /// What each door makes of them; as many entries as there are doors into this room.
    encoded: Mutex<Vec<(&'static str, Arc<Encoded>)>>,
}

/// Whole frames, joined, and where each ends. There is none for an entry of which this door says nothing.
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

    /// The frames in this door's words; encoded by the first lane that needs them.
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

/// What a frame holds besides the message's text, roughly.
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

    /// The frames of entries newer than `last`, and how many there are.
    pub fn after(&self, last: MessageId) -> (Bytes, usize) {
        let old = self.ends.partition_point(|(id, _)| *id <= last);
        let start = if old == 0 { 0 } else { self.ends[old - 1].1 };
        (self.frames.slice(start..), self.ends.len() - old)
    }
}

/// Appends the frame in which a door tells of an entry, if it does.
pub fn say(encoder: &dyn Encoder, room: &Room, entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Message(message) => frame::text(out, |out| encoder.message(&room.name, message, out)),
        Entry::Change(change) => frame::text_if_any(out, |out| encoder.change(&room.name, change, out)),
    }
}
