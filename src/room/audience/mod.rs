//! A room's members in one lane, and what they have not been sent.
//!
//! Members are served in turn, without end. The next member gets everything that it has not been sent in one go, also
//! what came in while the members before it were served. So in a busy room each member is served as often as time
//! allows, and on average a message waits for half of a turn.

use super::{
    encoder::Encoder,
    member::{Member, Room},
    run::{Encoded, Run},
};
use crate::{
    event::Event,
    message::MessageId,
    metrics::messages::MessageMetrics,
    socket::{close::Close, frame, memory, outbound::Outbound},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

#[cfg(test)]
mod tests;

#[derive(Default)]
pub(super) struct Audience {
    /// Whether it is in the lane's list of rooms to serve.
    pub has_turn: bool,
    recipients: Vec<Recipient>,
    /// The recipient to serve next, or one past the last.
    next: usize,
    backlog: Backlog,
}

/// One member.
struct Recipient {
    id: u64,
    member: Arc<Member>,
    /// Copies of the member's fields: each send needs them, and a copy here saves a memory access.
    encoder: &'static dyn Encoder,
    outbound: Arc<Outbound>,
    /// How much of the backlog it has been sent.
    heard: u64,
    /// `Some` until the newcomer's history is written.
    held: Option<Held>,
    /// The last message of the newcomer's history. Messages can be read before they are delivered, so older ones may
    /// still arrive here.
    found: Option<MessageId>,
}

/// What a newcomer will hear once its history is written.
#[derive(Default)]
struct Held {
    items: Vec<HeldItem>,
    bytes: usize,
}

enum HeldItem {
    Messages(Arc<Encoded>),
    Other(Bytes),
}

impl Audience {
    pub fn len(&self) -> usize {
        self.recipients.len()
    }

    /// Whether some member has not been sent everything.
    pub fn is_behind(&self) -> bool {
        !self.backlog.items.is_empty()
    }

    /// Adds a newcomer, and holds for it what comes from now on.
    pub fn join(&mut self, member: Arc<Member>) {
        let (id, encoder, outbound) = (member.id(), member.encoder, member.outbound.clone());
        let (heard, held) = (self.backlog.end(), Some(Held::default()));
        self.backlog.at_end += 1;
        self.recipients.push(Recipient { id, member, encoder, outbound, heard, held, found: None });
    }

    /// Queues a run of messages.
    pub fn put(&mut self, runs: &Arc<[Run]>, at: usize) {
        let waiting = std::mem::take(&mut self.backlog.at_end);
        self.backlog.items.push_back(Item { what: What::Run(runs.clone(), at), waiting });
    }

    /// Queues an event, between the messages.
    pub fn announce(&mut self, announcement: &Arc<Announcement>) {
        let waiting = std::mem::take(&mut self.backlog.at_end);
        self.backlog.items.push_back(Item { what: What::Event(announcement.clone()), waiting });
        self.backlog.events += 1;
    }

    /// Serves at most `most` members. Returns how many messages and events have now reached every member; so do all
    /// functions below that return a number.
    pub fn serve(&mut self, most: usize, metrics: &MessageMetrics) -> usize {
        let mut joined = Joined::default();
        let (mut sent, mut finished) = (0, 0);
        let mut left = most;
        while left > 0 && self.is_behind() {
            if self.next >= self.recipients.len() {
                self.next = 0;
            }
            let place = self.next;
            self.next += 1;
            if self.recipients[place].heard < self.backlog.end() {
                left -= 1;
                let (count, done) = self.bring(place, &Bytes::new(), &mut joined, metrics);
                sent += count;
                finished += done;
            }
        }
        metrics.deliveries.inc_by(sent as u64);
        finished
    }

    /// Sends frames to one member alone, behind all that came before.
    pub fn reply(&mut self, to: u64, frames: &Bytes, metrics: &MessageMetrics) -> usize {
        let Some(place) = self.find(to) else { return 0 };
        self.catch_up(place, frames, metrics)
    }

    /// Sends a newcomer what was held for it. Its history ended with `last`.
    pub fn release(&mut self, id: u64, last: Option<MessageId>, metrics: &MessageMetrics) -> usize {
        let Some(place) = self.find(id) else { return 0 };
        let finished = self.catch_up(place, &Bytes::new(), metrics);
        let recipient = &mut self.recipients[place];
        let Some(held) = recipient.held.take() else { return finished };
        recipient.found = last;
        let mut frames = Vec::with_capacity(held.bytes);
        for item in held.items {
            match item {
                HeldItem::Messages(encoded) => {
                    let (new, count) = encoded.after(last.unwrap_or(MessageId::BEFORE_ALL));
                    frames.extend_from_slice(&new);
                    metrics.deliveries.inc_by(count as u64);
                }
                HeldItem::Other(other) => frames.extend_from_slice(&other),
            }
        }
        recipient.send(&memory::counted(frames));
        finished
    }

    /// Removes a member, after what came before it left.
    pub fn leave(&mut self, id: u64, metrics: &MessageMetrics) -> usize {
        let Some(place) = self.find(id) else { return 0 };
        let finished = self.catch_up(place, &Bytes::new(), metrics);
        self.recipients.swap_remove(place);
        self.backlog.at_end -= 1;
        finished
    }

    /// Sends a farewell to all members, also to those for whom messages are held, and closes them, behind all that came
    /// before. Each leaves when its own thread notices.
    pub fn close(&mut self, farewell: &Bytes, close: Close, metrics: &MessageMetrics) -> usize {
        let finished = self.serve(usize::MAX, metrics);
        for recipient in &self.recipients {
            recipient.send(farewell);
            recipient.outbound.close(close);
        }
        finished
    }

    /// Sends one member what it has not been sent, and `frames` behind it.
    fn catch_up(&mut self, place: usize, frames: &Bytes, metrics: &MessageMetrics) -> usize {
        let (sent, finished) = self.bring(place, frames, &mut Joined::default(), metrics);
        metrics.deliveries.inc_by(sent as u64);
        finished
    }

    /// The same. Also returns how many messages it was sent; they are not counted in the metrics yet.
    fn bring(&mut self, place: usize, frames: &Bytes, joined: &mut Joined, metrics: &MessageMetrics) -> (usize, usize) {
        let recipient = &mut self.recipients[place];
        let heard = recipient.heard;
        let (due, sent) = recipient.due(&self.backlog, joined);
        match (due.is_empty(), frames.is_empty()) {
            (_, true) => recipient.send(&due),
            (true, false) => recipient.hear(frames),
            (false, false) => recipient.send(&memory::counted([due, frames.clone()].concat())),
        }
        (sent, self.backlog.heard(heard, metrics))
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.recipients.iter().position(|recipient| recipient.id == id)
    }
}

impl Recipient {
    /// What this member has not been sent, and how many messages that is. For a newcomer it is held instead.
    fn due(&mut self, backlog: &Backlog, joined: &mut Joined) -> (Bytes, usize) {
        let from = std::mem::replace(&mut self.heard, backlog.end());
        let encoder = self.encoder;
        if let Some(held) = &mut self.held {
            for what in backlog.from(from) {
                match what {
                    What::Run(runs, at) => held.hold(&self.outbound, HeldItem::Messages(runs[*at].encoded(encoder))),
                    What::Event(event) => {
                        let frames = event.frames(encoder);
                        if !frames.is_empty() && event.is_for(self.id, &self.member.person.user) {
                            held.hold(&self.outbound, HeldItem::Other(frames));
                        }
                    }
                }
            }
            return (Bytes::new(), 0);
        }
        if let Some(found) = self.found
            && let Some(run) = backlog.from(from).find_map(What::run)
        {
            if run.entries.first().is_some_and(|entry| entry.id() <= found) {
                return self.join_after(found, backlog.from(from));
            }
            // Ids only grow: everything from here on is new.
            self.found = None;
        }
        let is_for_me = |event: &Announcement| event.is_for(self.id, &self.member.person.user);
        if backlog.events > 0 && !backlog.from(from).filter_map(What::event).all(is_for_me) {
            return self.join_after(MessageId::BEFORE_ALL, backlog.from(from));
        }
        joined.get(self, from, backlog)
    }

    /// The frames of messages newer than `last` and of events for this member, and the number of messages.
    fn join_after<'a>(&self, last: MessageId, whats: impl Iterator<Item = &'a What>) -> (Bytes, usize) {
        let (mut frames, mut count) = (Vec::new(), 0);
        for what in whats {
            match what {
                What::Run(runs, at) => {
                    let (new, messages) = runs[*at].encoded(self.encoder).after(last);
                    frames.extend_from_slice(&new);
                    count += messages;
                }
                What::Event(event) if event.is_for(self.id, &self.member.person.user) => {
                    frames.extend_from_slice(&event.frames(self.encoder));
                }
                What::Event(_) => {}
            }
        }
        (memory::counted(frames), count)
    }

    /// Holds frames behind the held ones, or sends them if nothing is held.
    fn hear(&mut self, frames: &Bytes) {
        match &mut self.held {
            Some(held) if !frames.is_empty() => held.hold(&self.outbound, HeldItem::Other(frames.clone())),
            _ => self.send(frames),
        }
    }

    fn send(&self, frames: &Bytes) {
        if !frames.is_empty() {
            self.outbound.send(frames);
        }
    }
}

impl Held {
    fn hold(&mut self, outbound: &Arc<Outbound>, item: HeldItem) {
        self.bytes += match &item {
            HeldItem::Messages(encoded) => encoded.frames.len(),
            HeldItem::Other(frames) => frames.len(),
        };
        // History that is on its way to the newcomer counts too.
        if self.bytes + outbound.waiting() > outbound.limit() {
            self.items.clear();
            outbound.drop_member();
        } else {
            self.items.push(item);
        }
    }
}

/// Runs and events that some member has not been sent, in order.
#[derive(Default)]
struct Backlog {
    items: VecDeque<Item>,
    /// How many items came before these.
    gone: u64,
    /// How many members have been sent everything.
    at_end: usize,
    /// How many of the items are events. Not every member hears the same events, so such sends are joined for each
    /// member.
    events: usize,
}

struct Item {
    what: What,
    /// How many members have been sent everything before this item, but not this item.
    waiting: usize,
}

enum What {
    /// The batch, and the index of the run in it.
    Run(Arc<[Run]>, usize),
    Event(Arc<Announcement>),
}

impl What {
    fn run(&self) -> Option<&Run> {
        if let What::Run(runs, at) = self { Some(&runs[*at]) } else { None }
    }

    fn event(&self) -> Option<&Announcement> {
        if let What::Event(event) = self { Some(event) } else { None }
    }
}

/// An event of a room, on its way to the members.
pub(super) struct Announcement {
    pub room: Arc<Room>,
    pub event: Event,
    /// The socket that does not hear it.
    pub except: Option<u64>,
    /// The frame of each door.
    said: Mutex<Vec<(&'static str, Bytes)>>,
}

impl Announcement {
    pub fn new(room: Arc<Room>, event: Event, except: Option<u64>) -> Announcement {
        Announcement { room, event, except, said: Mutex::default() }
    }

    fn is_for(&self, id: u64, user: &str) -> bool {
        self.except != Some(id) && !self.event.is_of(user)
    }

    /// The frame of this door, or nothing; encoded once.
    fn frames(&self, encoder: &dyn Encoder) -> Bytes {
        let mut said = self.said.lock();
        if let Some((_, frames)) = said.iter().find(|(name, _)| *name == encoder.name()) {
            return frames.clone();
        }
        let frames = event_frame(encoder, &self.room, &self.event);
        said.push((encoder.name(), frames.clone()));
        frames
    }
}

impl Backlog {
    fn end(&self) -> u64 {
        self.gone + self.items.len() as u64
    }

    fn from(&self, place: u64) -> impl Iterator<Item = &What> {
        self.items.range((place - self.gone) as usize..).map(|item| &item.what)
    }

    /// One more member has reached the end, from place `from`. Forgets what all members have been sent, and returns how
    /// many messages and events that is.
    fn heard(&mut self, from: u64, metrics: &MessageMetrics) -> usize {
        let Some(item) = self.items.get_mut((from - self.gone) as usize) else { return 0 };
        item.waiting -= 1;
        self.at_end += 1;
        let mut finished = 0;
        // No member is further behind than the first item.
        while let Some(item) = self.items.pop_front_if(|item| item.waiting == 0) {
            finished += match &item.what {
                What::Run(runs, at) => {
                    metrics.delivery.observe(runs[*at].stored.elapsed());
                    runs[*at].entries.len()
                }
                What::Event(_) => {
                    self.events -= 1;
                    1
                }
            };
            self.gone += 1;
        }
        finished
    }
}

/// Joined frames up to the end of the backlog. Most members that are served one after the other have reached the same
/// place and use the same door.
#[derive(Default)]
struct Joined(Vec<(&'static str, u64, Bytes, usize)>);

impl Joined {
    fn get(&mut self, recipient: &Recipient, from: u64, backlog: &Backlog) -> (Bytes, usize) {
        let encoder = recipient.encoder;
        let is_same = |(name, place, ..): &&(&str, u64, Bytes, usize)| *place == from && *name == encoder.name();
        if let Some((_, _, frames, count)) = self.0.iter().rev().find(is_same) {
            return (frames.clone(), *count);
        }
        let mut whats = backlog.from(from);
        let (frames, count) = match (whats.next(), whats.next()) {
            (Some(What::Run(runs, at)), None) => {
                let encoded = runs[*at].encoded(encoder);
                (encoded.frames.clone(), encoded.ends.len())
            }
            _ => recipient.join_after(MessageId::BEFORE_ALL, backlog.from(from)),
        };
        self.0.push((encoder.name(), from, frames.clone(), count));
        (frames, count)
    }
}

fn event_frame(encoder: &dyn Encoder, room: &Room, event: &Event) -> Bytes {
    let mut out = Vec::new();
    frame::text_if_any(&mut out, |out| encoder.event(&room.name, event, out));
    if out.is_empty() {
        return Bytes::new();
    }
    memory::counted(out)
}
