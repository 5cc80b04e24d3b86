//! A sender: takes a room, reads what is new in it, and sends the events to the endpoint one by one.

use super::{
    endpoint::{Endpoint, Failure},
    event::{self, Absent, Event, MAX_ABSENT},
    queue::{Outcome, Queue, Turn},
};
use crate::{
    chat::Chat,
    entry::Entry,
    likeness::email_key,
    message::{MessageId, RoomName},
    metrics::webhooks::WebhookMetrics,
    store::{error::StoreError, log::is_full_page, outage::Outages, outbox::Outbox},
    vital,
};
use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// What the stores can't do during an outage.
pub const STORE: &str = "say what is to be sent";

/// What the endpoint can't do.
const TAKE: &str = "take events";

/// How many entries of a room are read and sent before other rooms have their turn.
const PAGE: usize = 64;

/// How long a turn lasts while other rooms wait: an endpoint that is slow is slow for all.
const TURN: Duration = Duration::from_secs(1);

pub struct Sender {
    pub queue: Arc<Queue>,
    pub outbox: Arc<dyn Outbox>,
    pub endpoint: Arc<Endpoint>,
    /// The kinds of events that are wanted.
    pub events: Vec<&'static str>,
    pub give_up: Duration,
    pub failing: Arc<Outages>,
    pub storing: Arc<Outages>,
    pub metrics: WebhookMetrics,
    pub chat: Weak<Chat>,
}

/// Why a room's turn ends before everything is sent.
enum Stop {
    Failed(Outcome),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

impl Sender {
    /// Runs until the queue is stopped.
    pub fn run(self) {
        while let Some(mut turn) = self.queue.turn() {
            vital::may_panic("webhook");
            let outcome = match self.tell(&mut turn) {
                Ok(more) => {
                    self.storing.worked(STORE);
                    Outcome::Told { more }
                }
                Err(Stop::Failed(outcome)) => outcome,
                Err(Stop::Store(error)) => {
                    self.storing.failed(STORE, &error.source);
                    Outcome::Later
                }
            };
            self.queue.done(turn, &outcome);
        }
    }

    /// Sends what is new in a room. Returns whether there is more.
    fn tell(&self, turn: &mut Turn) -> Result<bool, Stop> {
        let entries = self.outbox.next(&turn.room, PAGE)?;
        let more = entries.len() == PAGE || is_full_page(&entries);
        let absent = self.absent(&turn.room, &entries)?;
        let (mut passed, begun) = (None, Instant::now());
        for entry in &entries {
            if begun.elapsed() >= TURN && self.queue.others_wait() {
                self.pass(&turn.room, passed)?;
                return Ok(true);
            }
            let told = self.comings(turn, Some(entry.id())).and_then(|()| {
                let Some(event) = self.event(&turn.room, entry, absent.as_deref()) else {
                    passed = Some(entry.id());
                    return Ok(());
                };
                self.send(&turn.room, &event)?;
                passed = None;
                self.outbox.told(&turn.room, entry.id())?;
                self.queue.worked(Some(entry.id()));
                Ok(())
            });
            if told.is_err() {
                self.pass(&turn.room, passed)?;
                return told.map(|()| more);
            }
        }
        self.pass(&turn.room, passed)?;
        if !more {
            self.comings(turn, None)?;
        }
        Ok(more)
    }

    /// Notes that all entries up to `passed` were read, and that none of them needs to be sent.
    fn pass(&self, room: &RoomName, passed: Option<MessageId>) -> Result<(), StoreError> {
        passed.map_or(Ok(()), |passed| self.outbox.told(room, passed))
    }

    /// Sends comings and goings: those before the entry `before`, or all.
    fn comings(&self, turn: &mut Turn, before: Option<MessageId>) -> Result<(), Stop> {
        while let Some(coming) = turn.comings.front()
            && before.is_none_or(|before| coming.after < Some(before))
        {
            let event = event::coming(&turn.room, coming);
            if self.events.contains(&event.kind) {
                self.send(&turn.room, &event)?;
                self.queue.worked(None);
            }
            turn.comings.pop_front();
        }
        Ok(())
    }

    /// The event of an entry, if its kind is wanted.
    fn event(&self, room: &RoomName, entry: &Entry, absent: Option<&[Absent]>) -> Option<Event> {
        let kind = event::kind(entry).filter(|kind| self.events.contains(kind))?;
        Some(match entry {
            Entry::Message(message) => event::message(room, message, absent),
            Entry::Change(change) => event::change(kind, room, change),
        })
    }

    /// Sends an event. An event that has failed for too long is given up, which also counts as success.
    fn send(&self, room: &RoomName, event: &Event) -> Result<(), Stop> {
        let Err(failure) = self.endpoint.send(&event.header(), &event.body) else {
            self.failing.worked(TAKE);
            self.metrics.sent.inc();
            return Ok(());
        };
        self.metrics.failed.inc();
        let since = event.id.millis();
        let pause = match failure {
            Failure::Gone => {
                tracing::error!(
                    "the webhook endpoint answers 410: nothing more is sent to it until SIGHUP or a restart; what is stored meanwhile \
                     is sent then"
                );
                return Err(Stop::Failed(Outcome::Gone));
            }
            Failure::Refused { pause, .. } => pause,
            Failure::Unreachable(_) => None,
        };
        self.failing.failed(TAKE, &failure);
        if self.queue.is_given_up(room, since, self.give_up) {
            if self.metrics.given_up.inc() == 0 {
                tracing::error!(
                    room = room.as_str(),
                    id = event.header(),
                    seconds = self.give_up.as_secs(),
                    "an event is given up after it was tried for so long, and the next is tried; webhook_events{{result=\"given_up\"}} \
                     counts them"
                );
            }
            return Ok(());
        }
        Err(Stop::Failed(Outcome::Failed { since, pause }))
    }

    /// The members of a monitor's room who are not connected to it, on any node. `None` for other rooms, and if no
    /// wanted event lists them.
    fn absent(&self, room: &RoomName, entries: &[Entry]) -> Result<Option<Vec<Absent>>, StoreError> {
        let asked = entries.iter().any(|entry| event::kind(entry) == Some("message.created"))
            && self.events.contains(&"message.created");
        let Some(chat) = self.chat.upgrade().filter(|_| asked && room.is_monitor()) else { return Ok(None) };
        let here = chat.rooms.connections(room)?;
        let here: HashSet<String> = here.iter().map(|present| email_key(&present.person.user)).collect();
        // One more, because the sender is left out.
        let mut members = chat.accounts.members(room.local(), MAX_ABSENT + 1 + here.len())?;
        members.retain(|(_, email)| !here.contains(&email_key(email)));
        Ok(Some(members))
    }
}
