//! Makes an answer once for all who ask for it at the same time.

use parking_lot::{Condvar, Mutex};
use std::{collections::HashMap, hash::Hash, sync::Arc};

/// The answers that are being made, by key.
pub struct SingleFlight<K, T> {
    makings: Mutex<HashMap<K, Arc<Making<T>>>>,
}

struct Making<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

struct State<T> {
    /// How many have been begun and ended so far; one runs at a time.
    begun: u64,
    ended: u64,
    /// The last answer; `None` if making it failed.
    made: Option<T>,
}

impl<K: Hash + Eq + Clone, T: Clone> SingleFlight<K, T> {
    pub fn new() -> SingleFlight<K, T> {
        SingleFlight { makings: Mutex::default() }
    }

    /// The result of `make`, from this thread or from another one that asked for the same. It was begun after this
    /// call.
    pub fn get(&self, key: &K, make: impl FnOnce() -> T) -> T {
        let making = self.makings.lock().entry(key.clone()).or_default().clone();
        let made = making.get(make);
        let mut makings = self.makings.lock();
        // Only this reference and the table's are left.
        if Arc::strong_count(&making) == 2 {
            makings.remove(key);
        }
        made
    }
}

impl<T> Default for Making<T> {
    fn default() -> Making<T> {
        Making { state: Mutex::new(State { begun: 0, ended: 0, made: None }), done: Condvar::new() }
    }
}

impl<T: Clone> Making<T> {
    fn get(&self, make: impl FnOnce() -> T) -> T {
        let mut state = self.state.lock();
        // One that began before this call may have missed what the caller must see.
        let wanted = state.begun + 1;
        loop {
            if state.ended >= wanted
                && let Some(made) = &state.made
            {
                return made.clone();
            }
            if state.begun == state.ended {
                break;
            }
            self.done.wait(&mut state);
        }
        state.begun += 1;
        drop(state);
        let ending = Ending(self);
        let made = make();
        self.state.lock().made = Some(made.clone());
        drop(ending);
        made
    }
}

/// Ends the making of an answer, even after a panic: then the next one begins.
struct Ending<'a, T>(&'a Making<T>);

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.ended = state.begun;
        if std::thread::panicking() {
            state.made = None;
        }
        self.0.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    #[test]
    fn those_who_ask_meanwhile_get_the_next_one_together() {
        let once = SingleFlight::new();
        let made = AtomicUsize::new(0);
        let (go, may_go) = bounded::<()>(0);
        let make = || {
            let number = made.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                may_go.recv().unwrap();
            }
            number
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| once.get(&"list", make));
            while made.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let others: Vec<_> = (0..20).map(|_| scope.spawn(|| once.get(&"list", make))).collect();
            // Each waits for the making that began before its call, and then for the next.
            while Arc::strong_count(&once.makings.lock()["list"]) < 22 {
                thread::sleep(Duration::from_millis(1));
            }
            go.send(()).unwrap();
            assert_eq!(first.join().unwrap(), 0);
            for other in others {
                assert!(other.join().unwrap() > 0, "older than the question");
            }
        });
        assert!(made.load(Ordering::SeqCst) <= 3, "made {} times", made.load(Ordering::SeqCst));
        assert!(once.makings.lock().is_empty());
    }

    #[test]
    fn different_things_do_not_wait_for_each_other() {
        let once = SingleFlight::new();
        assert_eq!(once.get(&1, || once.get(&2, || "inner")), "inner");
    }

    #[test]
    fn a_panic_keeps_nobody_waiting() {
        let once = SingleFlight::new();
        assert!(catch_unwind(AssertUnwindSafe(|| once.get(&1, || panic!("as asked")))).is_err());
        assert_eq!(once.get(&1, || 7), 7);
    }
}
