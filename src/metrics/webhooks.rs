//! What webhooks count, for `/metrics`.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::borrow::Cow;

/// The counts. Clones share them.
#[derive(Clone)]
pub struct WebhookMetrics {
    events: Family<[(&'static str, Cow<'static, str>); 1], Counter>,
    /// Events that the endpoint accepted.
    pub sent: Counter,
    /// Attempts that failed and are repeated.
    pub failed: Counter,
    /// Events that are not tried any more.
    pub given_up: Counter,
    /// Comings and goings that were dropped because too many others waited.
    pub dropped: Counter,
    /// Rooms with events to send.
    pub rooms: Gauge,
    /// The age of the oldest waiting event, in seconds.
    pub lag: Gauge,
    /// 1 if the endpoint has answered that it is gone.
    pub gone: Gauge,
}

impl Default for WebhookMetrics {
    fn default() -> WebhookMetrics {
        let events = Family::default();
        let result = |word: &'static str| events.get_or_create_owned(&[("result", word.into())]);
        let (sent, failed, given_up, dropped) =
            (result("sent"), result("failed"), result("given_up"), result("dropped"));
        let (rooms, lag, gone) = (Gauge::default(), Gauge::default(), Gauge::default());
        WebhookMetrics { events, sent, failed, given_up, dropped, rooms, lag, gone }
    }
}

impl WebhookMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Events for the endpoint of webhooks: sent, attempts that failed, given up, dropped";
        registry.register("webhook_events", help, self.events.clone());
        registry.register("webhook_rooms", "Rooms that have something for the endpoint", self.rooms.clone());
        let help = "How long the oldest event for the endpoint waits";
        registry.register_with_unit("webhook_lag", help, Unit::Seconds, self.lag.clone());
        let help = "Whether the endpoint has said that it is gone (410), so that nothing is sent";
        registry.register("webhook_gone", help, self.gone.clone());
    }
}
