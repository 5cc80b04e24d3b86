//! What the server depends on and does not do itself, for `/metrics`: room on its disk, the end of its certificate.

use crate::{chat::Chat, config::certificate::Identity, metrics::Metrics};
use rustix::fs::statvfs;
use std::{path::Path, time::UNIX_EPOCH};

/// Has both looked at each time before the metrics are shown.
pub fn watch(chat: &Chat) {
    let (data_dir, identity) = (chat.config.data_dir.clone(), chat.config.tls.clone());
    chat.metrics.look(move |metrics: &Metrics| {
        if let Some(free) = free(&data_dir) {
            metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        }
        metrics.certificate_end.set(identity.as_deref().and_then(end).unwrap_or(0));
    });
}

/// Bytes that are left for this user where `directory` is, or will be made.
fn free(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let disk = statvfs(existing).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// When the certificate that is shown now ends, in seconds since 1970.
fn end(identity: &Identity) -> Option<i64> {
    let since = identity.until()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_yet_to_be_made_is_on_the_disk_of_its_parents() {
        let directory = tempfile::tempdir().unwrap();
        assert!(free(&directory.path().join("a/b")).is_some_and(|bytes| bytes > 0));
        assert!(free(Path::new("data")).is_some());
    }
}
