//! What the rooms count, for `/metrics`: once for a batch, a run of messages or a slice of a room, never for each
//! member.

use super::histogram::Histogram;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use std::borrow::Cow;

/// The counts. Clones share them.
#[derive(Clone, Debug)]
pub struct MessageMetrics {
    /// The four counts below, by the outcome of a message.
    pub messages: Family<[(&'static str, Cow<'static, str>); 1], Counter>,
    /// Messages that got an id, also those that are not kept.
    pub stored: Counter,
    /// Messages that were stored before; their senders repeated them.
    pub repeated: Counter,
    /// Messages that could not be stored; their senders were told.
    pub not_stored: Counter,
    /// Messages whose outcome nobody could find out in time; their senders were told so.
    pub unknown: Counter,
    /// Rooms whose log went back behind what their members were shown.
    pub set_back: Counter,
    /// How long storing a batch takes.
    pub append: Histogram,
    /// Messages handed to sockets, one for each member.
    pub deliveries: Counter,
    /// Comings and goings, by the way in which they are reported.
    pub attendance: Family<[(&'static str, Cow<'static, str>); 1], Counter>,
    /// The three counts below, one for each coming and going.
    pub told_at_once: Counter,
    pub told_later: Counter,
    pub told_as_count: Counter,
    /// Messages for inboxes, by the way in which they are reported.
    pub inbox_news: Family<[(&'static str, Cow<'static, str>); 1], Counter>,
    /// The two counts below, one each time when something is new in a room.
    pub news_at_once: Counter,
    pub news_later: Counter,
    /// Rooms of accounts that have more rooms than an inbox reports.
    pub inbox_rooms_left_out: Counter,
    /// Nodes that hold a lease, with this one; 0 if there are no others.
    pub nodes: Gauge,
    /// Rooms that this node hears from other nodes; 0 if there are none.
    pub rooms_heard: Gauge,
    /// Leases of this node that ended before it renewed them.
    pub leases_lost: Counter,
    /// Rooms whose members were compared with what the store says.
    pub rooms_compared: Counter,
    /// What the comparison found: lost claims of this node, and comings and goings without an announcement.
    pub claims_corrected: Counter,
    pub presence_corrected: Counter,
    /// From storing a message (with other nodes: from hearing that it is stored) until it is sent to the last member of
    /// a lane.
    pub delivery: Histogram,
}

impl Default for MessageMetrics {
    fn default() -> MessageMetrics {
        let (messages, attendance, inbox_news) = (Family::default(), Family::default(), Family::default());
        let result = |word: &'static str| messages.get_or_create_owned(&[("result", word.into())]);
        let told = |word: &'static str| attendance.get_or_create_owned(&[("told", word.into())]);
        let news = |word: &'static str| inbox_news.get_or_create_owned(&[("told", word.into())]);
        MessageMetrics {
            stored: result("stored"),
            repeated: result("repeated"),
            not_stored: result("not_stored"),
            unknown: result("unknown"),
            set_back: Counter::default(),
            append: Histogram::default(),
            deliveries: Counter::default(),
            told_at_once: told("at_once"),
            told_later: told("later"),
            told_as_count: told("counted"),
            news_at_once: news("at_once"),
            news_later: news("later"),
            inbox_rooms_left_out: Counter::default(),
            nodes: Gauge::default(),
            rooms_heard: Gauge::default(),
            leases_lost: Counter::default(),
            rooms_compared: Counter::default(),
            claims_corrected: Counter::default(),
            presence_corrected: Counter::default(),
            delivery: Histogram::default(),
            messages,
            attendance,
            inbox_news,
        }
    }
}
