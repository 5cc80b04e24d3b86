//! What the archiver counts, for `/metrics`.

use crate::store::archive::Figures;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct ArchiveMetrics {
    entries: Counter,
    failures: Counter,
    rooms_lost: Counter,
    messages_lost: Counter,
    hot: Gauge,
    lag: Gauge<f64, AtomicU64>,
}

impl ArchiveMetrics {
    /// What the archiver has done by now.
    pub fn show(&self, figures: &Figures) {
        for (counter, figure) in [
            (&self.entries, &figures.archived),
            (&self.failures, &figures.failed),
            (&self.rooms_lost, &figures.rooms_lost),
            (&self.messages_lost, &figures.messages_lost),
        ] {
            counter.inner().store(figure.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.hot.set(figures.hot.load(Ordering::Relaxed) as i64);
        self.lag.set(figures.lag.load(Ordering::Relaxed) as f64 / 1000.0);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Messages and changes that this node has copied to the archive";
        registry.register("archived_entries", help, self.entries.clone());
        registry.register("archive_failures", "Times that archiving failed", self.failures.clone());
        let help = "Rooms that went on from the archive, since Redis had lost what it had of them";
        registry.register("archive_rooms_lost", help, self.rooms_lost.clone());
        let help = "Messages that this node had confirmed, and that were lost because Redis lost them before they were archived";
        registry.register("archive_messages_lost", help, self.messages_lost.clone());
        let help = "Messages of each room that stay in Redis at present; 0 on nodes that don't archive";
        registry.register("archive_hot_entries", help, self.hot.clone());
        let help = "For how long there may be messages that are not archived; 0 on nodes that don't archive";
        registry.register_with_unit("archive_lag", help, Unit::Seconds, self.lag.clone());
    }
}
