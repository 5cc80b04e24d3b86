//! What the rooms count, for `/metrics`: once a batch, a run of messages or a slice of a room, never once a member.

use super::histogram::Histogram;
use prometheus_client::metrics::{counter::Counter, family::Family};
use std::borrow::Cow;

/// The counts; a clone counts to the same ones.
#[derive(Clone, Debug)]
pub struct MessageMetrics {
    /// The four below, by what became of a message.
    pub messages: Family<[(&'static str, Cow<'static, str>); 1], Counter>,
    /// Messages that got an id, those too that are not to be kept.
    pub stored: Counter,
    /// Messages that had been stored before; their sender repeated them.
    pub repeated: Counter,
    /// Messages that could not be stored; their senders were told.
    pub not_stored: Counter,
    /// Messages of which nobody could find out in time what became of them; their senders were told that.
    pub unknown: Counter,
    /// How long storing a batch takes.
    pub append: Histogram,
    /// Messages handed to sockets, one for each member.
    pub deliveries: Counter,
    /// From storing (with other nodes: from hearing that it is stored) to having sent to the last member of a lane.
    pub delivery: Histogram,
}

impl Default for MessageMetrics {
    fn default() -> MessageMetrics {
        let messages = Family::default();
        let result = |word: &'static str| messages.get_or_create_owned(&[("result", word.into())]);
        let (stored, repeated, not_stored) = (result("stored"), result("repeated"), result("not_stored"));
        let unknown = result("unknown");
        let (append, delivery) = (Histogram::default(), Histogram::default());
        let deliveries = Counter::default();
        MessageMetrics { messages, stored, repeated, not_stored, unknown, append, deliveries, delivery }
    }
}
