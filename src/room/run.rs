//! Runs: messages of one room that go out together, encoded once for each door.

use super::{member::Room, voice::Voice};
use crate::{
    message::{Message, MessageId},
    socket::{frame, memory},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{sync::Arc, time::Instant};

/// Messages of one room, in order, stored and about to be delivered.
pub struct Run {
    pub room: Arc<Room>,
    pub messages: Vec<Message>,
    /// When they were stored, or heard of.
    pub stored: Instant,
    /// What each door makes of them; as many entries as there are doors into this room.
    encoded: Mutex<Vec<(&'static str, Arc<Encoded>)>>,
}

/// Whole frames, joined, and where each ends.
pub struct Encoded {
    pub frames: Bytes,
    pub ends: Vec<(MessageId, usize)>,
}

impl Run {
    pub fn new(room: Arc<Room>, first: Message) -> Run {
        Run::of(room, vec![first])
    }

    pub fn of(room: Arc<Room>, messages: Vec<Message>) -> Run {
        Run { room, messages, stored: Instant::now(), encoded: Mutex::default() }
    }

    /// The frames in this door's words; encoded by the first lane that needs them.
    pub fn encoded(&self, voice: &dyn Voice) -> Arc<Encoded> {
        let mut all = self.encoded.lock();
        if let Some((_, encoded)) = all.iter().find(|(name, _)| *name == voice.name()) {
            return encoded.clone();
        }
        let encoded = Arc::new(Encoded::new(self, voice));
        all.push((voice.name(), encoded.clone()));
        encoded
    }
}

/// What a frame holds besides the message's text, roughly.
const OVERHEAD: usize = 192;

impl Encoded {
    fn new(run: &Run, voice: &dyn Voice) -> Encoded {
        let size = run.messages.iter().map(|message| message.text.len() + OVERHEAD).sum();
        let mut frames = Vec::with_capacity(size);
        let mut ends = Vec::with_capacity(run.messages.len());
        for message in &run.messages {
            frame::text(&mut frames, |out| voice.message(&run.room.name, message, out));
            ends.push((message.id, frames.len()));
        }
        Encoded { frames: memory::counted(frames), ends }
    }

    /// The frames of messages newer than `last`, and how many there are.
    pub fn after(&self, last: MessageId) -> (Bytes, usize) {
        let old = self.ends.partition_point(|(id, _)| *id <= last);
        let start = if old == 0 { 0 } else { self.ends[old - 1].1 };
        (self.frames.slice(start..), self.ends.len() - old)
    }
}
