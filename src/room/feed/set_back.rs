//! Logs that went back: a failover to a replica that lacked the last messages, or a clock that is behind.

use crate::{
    message::{MessageId, RoomName},
    metrics::messages::MessageMetrics,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How often it is logged; a failover sets all rooms back at once.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Rooms whose log lacks what members were shown.
#[derive(Default)]
pub(super) struct SetBack {
    /// The messages that each log must stay above. An entry stays here until the log has accepted it.
    pub shown: HashMap<RoomName, MessageId>,
    untold: Option<Untold>,
    told: Option<Instant>,
}

/// The content of the next log line.
struct Untold {
    rooms: u64,
    /// The room that was set back furthest.
    room: RoomName,
    by: Duration,
}

impl SetBack {
    /// Notes that members of this room were shown `shown`, but its log goes on from `to`.
    pub fn note(&mut self, room: &RoomName, shown: MessageId, to: MessageId, metrics: &MessageMetrics) {
        metrics.set_back.inc();
        self.shown.insert(room.clone(), shown);
        // If the room has nothing any more, it is unknown how much is lost.
        let by = match to {
            MessageId::BEFORE_ALL => Duration::MAX,
            to => Duration::from_millis(shown.millis().saturating_sub(to.millis())),
        };
        let untold = self.untold.get_or_insert_with(|| Untold { rooms: 0, room: room.clone(), by });
        untold.rooms += 1;
        if by > untold.by {
            (untold.room, untold.by) = (room.clone(), by);
        }
        self.tell();
    }

    /// Logs it, unless that was done a short time ago.
    pub fn tell(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        let Some(Untold { rooms, room, by }) = self.untold.take() else { return };
        self.told = Some(Instant::now());
        let how_far = if by == Duration::MAX { "all".to_owned() } else { format!("{:.3} s", by.as_secs_f64()) };
        tracing::warn!(
            rooms,
            room = room.as_str(),
            lost = how_far,
            "the log went back: messages that were shown are not in it any more; it goes on with ids above theirs"
        );
    }
}
