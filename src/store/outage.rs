//! Outages: what a store can't do at present. The log has one line when an outage begins and one when it ends.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// The source of an error that is not news: the outage behind it was logged when it began.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KnownOutage(pub String);

/// How many things each store of this process can't do at present.
static ALL: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

/// How many things each store can't do at present.
pub fn all() -> Vec<(&'static str, usize)> {
    ALL.lock().iter().map(|(store, count)| (*store, *count)).collect()
}

/// Keeps a store that is away from filling the log: failures for the same reason are one event, however many calls
/// fail.
pub struct Outages {
    /// As in [`StoreError`](super::error::StoreError): `account store`, `message log` or the like.
    store: &'static str,
    /// Whether the list has entries. Normally it has none, and working calls take no lock.
    any: AtomicBool,
    /// Bounded by the number of things that a store can do.
    open: Mutex<Vec<Outage>>,
}

struct Outage {
    what: &'static str,
    since: Instant,
    failed: u64,
}

impl Outages {
    pub fn new(store: &'static str) -> Outages {
        ALL.lock().entry(store).or_default();
        Outages { store, any: AtomicBool::new(false), open: Mutex::new(Vec::new()) }
    }

    /// Notes a failure: the store can't `what` (a verb phrase, such as `be reached`).
    ///
    /// `cause` is logged, so it must not hold a secret.
    pub fn failed(&self, what: &'static str, cause: &dyn Display) {
        let mut open = self.open.lock();
        match open.iter_mut().find(|outage| outage.what == what) {
            Some(outage) => outage.failed += 1,
            None => {
                tracing::warn!(%cause, "the {} can't {what}; it is tried again, and logged when it works", self.store);
                open.push(Outage { what, since: Instant::now(), failed: 1 });
                self.any.store(true, Ordering::Release);
                *ALL.lock().entry(self.store).or_default() += 1;
            }
        }
    }

    /// Notes a success: the store can `what`, perhaps again.
    pub fn worked(&self, what: &'static str) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|outage| outage.what == what) {
            let Outage { since, failed, .. } = open.swap_remove(at);
            let seconds = since.elapsed().as_secs();
            tracing::info!(seconds, failed, "the {} can {what} again", self.store);
            self.forget(1);
        }
        self.any.store(!open.is_empty(), Ordering::Release);
    }

    fn forget(&self, outages: usize) {
        if let Some(count) = ALL.lock().get_mut(self.store) {
            *count = count.saturating_sub(outages);
        }
    }

    /// Whether it failed at the last attempt.
    pub fn is_on(&self, what: &'static str) -> bool {
        self.any.load(Ordering::Acquire) && self.open.lock().iter().any(|outage| outage.what == what)
    }
}

impl Drop for Outages {
    fn drop(&mut self) {
        let left = self.open.get_mut().len();
        self.forget(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{self, Write},
        sync::Arc,
    };

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce(&Outages)) -> Vec<String> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || work(&Outages::new("account store")));
        let bytes = log.0.lock().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_outage_is_two_lines_however_long_it_is() {
        let lines = logged(|outages| {
            for _ in 0..100 {
                outages.failed("be reached", &"connection refused");
            }
            for _ in 0..100 {
                outages.worked("be reached");
            }
        });
        let [begin, end] = &lines[..] else { panic!("{lines:?}") };
        assert!(begin.contains("account store can't be reached") && begin.contains("connection refused"), "{begin}");
        assert!(end.contains("can be reached again") && end.contains("failed=100"), "{end}");
    }

    #[test]
    fn what_works_ends_only_its_own_outage() {
        logged(|outages| {
            outages.failed("look up an account", &"permission denied");
            outages.worked("list an account's monitors");
            assert!(outages.is_on("look up an account"));
            outages.worked("look up an account");
            assert!(!outages.is_on("look up an account"));
        });
    }

    #[test]
    fn without_an_outage_nothing_is_logged() {
        assert_eq!(logged(|outages| outages.worked("be reached")), [""; 0]);
    }
}
