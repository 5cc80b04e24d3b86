//! Waits until the index has followed the log.

use crate::store::error::StoreError;
use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, Sender, bounded};
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that was deleted, edited and trimmed is gone from the index.
    Losses,
    /// Everything new is in the index as well.
    #[cfg(test)]
    All,
}

/// What a caller asks for, and where its answer goes.
pub(super) type Asked = (Extent, Sender<Result<(), StoreError>>);

/// The callers that wait.
pub(super) struct Waiting {
    /// Passes what a caller asks for to the thread that follows.
    pub wanted: Sender<Asked>,
    pub work: Arc<Work>,
    /// How long a caller waits while nothing gets done.
    pub patience: Duration,
}

/// What the thread and its waiting callers know of each other.
#[derive(Default)]
pub(super) struct Work {
    /// Transactions so far.
    pub done: AtomicU64,
    /// How many callers wait.
    pub awaited: AtomicUsize,
    /// Entries so far that were indexed.
    pub indexed: AtomicU64,
    /// Rooms so far that were looked at for what they have lost.
    #[cfg(test)]
    pub swept: AtomicU64,
}

impl Waiting {
    /// Waits as long as the thread makes progress, however long it rests in between: removing many messages takes a
    /// while. `None`: it makes none.
    pub fn wait(&self, extent: Extent) -> Option<Result<(), StoreError>> {
        self.work.awaited.fetch_add(1, Ordering::SeqCst);
        let caught_up = self.ask_and_wait(extent);
        self.work.awaited.fetch_sub(1, Ordering::SeqCst);
        caught_up
    }

    fn ask_and_wait(&self, extent: Extent) -> Option<Result<(), StoreError>> {
        let (mut answer, caught_up) = bounded(1);
        let mut done = self.work.done.load(Ordering::SeqCst);
        let mut gets_on = || {
            let before = mem::replace(&mut done, self.work.done.load(Ordering::SeqCst));
            before != done
        };
        while let Err(unsent) = self.wanted.send_timeout((extent, answer), self.patience) {
            let SendTimeoutError::Timeout((_, unheard)) = unsent else { return None };
            answer = unheard;
            if !gets_on() {
                return None;
            }
        }
        loop {
            match caught_up.recv_timeout(self.patience) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if gets_on() => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::Receiver;
    use std::{thread, time::Instant};

    /// Less than a thread may take that is kept from its work.
    const PATIENCE: Duration = Duration::from_millis(800);

    /// The same where it works: a busy machine may keep it from doing so for a while.
    const LONG_PATIENCE: Duration = Duration::from_secs(5);

    fn waiting(patience: Duration) -> (Waiting, Receiver<Asked>) {
        let (wanted, asked) = bounded(0);
        (Waiting { wanted, work: Arc::default(), patience }, asked)
    }

    /// Takes twice the patience, and makes progress all the while.
    fn work_for_long(work: &Work) {
        let begun = Instant::now();
        while begun.elapsed() < 2 * LONG_PATIENCE {
            thread::park_timeout(LONG_PATIENCE / 100);
            work.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    // Seen to fail where the thread's transactions don't count: a caller gives up while the thread works.
    #[test]
    fn who_waits_does_so_as_long_as_the_thread_gets_on_before_it_hears_of_it_and_after() {
        let (waiting, asked) = waiting(LONG_PATIENCE);
        let work = waiting.work.clone();
        let follower = thread::spawn(move || {
            work_for_long(&work);
            let (_, answer) = asked.recv().unwrap();
            work_for_long(&work);
            answer.send(Ok(())).unwrap();
        });
        assert!(matches!(waiting.wait(Extent::Losses), Some(Ok(()))));
        assert_eq!(waiting.work.awaited.load(Ordering::SeqCst), 0);
        follower.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_thread_that_does_nothing() {
        let (waiting, asked) = waiting(PATIENCE);
        assert!(waiting.wait(Extent::Losses).is_none());
        let follower = thread::spawn(move || asked.recv().unwrap());
        assert!(waiting.wait(Extent::Losses).is_none());
        drop(follower.join().unwrap());
    }
}
