//! What the server depends on, for `/metrics`: space on its disk, and the end of its certificate.

use crate::{
    chat::Chat,
    config::{ceilings::free_disk, certificate::Identity},
    metrics::Metrics,
};
use std::time::UNIX_EPOCH;

/// Updates both each time before the metrics are shown.
pub fn watch(chat: &Chat) {
    let (data_dir, identity) = (chat.config.data_dir.clone(), chat.config.tls.clone());
    chat.metrics.look(move |metrics: &Metrics| {
        if let Some(free) = free_disk(&data_dir) {
            metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        }
        metrics.certificate_end.set(identity.as_deref().and_then(end).unwrap_or(0));
    });
}

/// When the present certificate ends, in seconds since 1970.
fn end(identity: &Identity) -> Option<i64> {
    let since = identity.until()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
