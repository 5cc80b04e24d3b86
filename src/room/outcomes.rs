//! Finds out the outcome of messages when the store's answer was lost, beside the log thread, which goes on meanwhile.
//!
//! The authors hear nothing until the outcome is known, or the time for that is over. Then each is told once. If the
//! message is stored, the author hears its echo like everybody else.

use super::{lanes::Lanes, post::Post};
use crate::{
    metrics::messages::MessageMetrics,
    store::log::{Appended, FoundOut, MessageLog, Open},
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the store is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How many lost answers may wait. While a store is away there is one at a time, and then none, because the outage is
/// known.
const QUEUE: usize = 64;

/// The way to the thread that asks for outcomes.
#[derive(Clone)]
pub(super) struct Outcomes {
    tasks: Sender<Task>,
    store: Arc<dyn MessageLog>,
    metrics: MessageMetrics,
}

enum Task {
    FindOut(Vec<(Open, Post)>),
    /// Notify the sender when no outcome is open any more.
    Settle(Sender<()>),
}

impl Outcomes {
    /// Starts the thread, which ends with the last handle. `patience`: for how long the store is asked about each
    /// batch.
    pub fn start(
        store: Arc<dyn MessageLog>,
        lanes: Lanes,
        metrics: MessageMetrics,
        patience: Duration,
    ) -> io::Result<Outcomes> {
        let (tasks, waiting) = bounded(QUEUE);
        let mut thread = Thread {
            store: store.clone(),
            lanes,
            metrics: metrics.clone(),
            patience,
            open: Vec::new(),
            settling: Vec::new(),
        };
        vital::spawn("log-outcomes", move || thread.run(&waiting))?;
        Ok(Outcomes { tasks, store, metrics })
    }

    /// Has the authors of these posts told as soon as their outcome is known.
    pub fn find_out(&self, open: Vec<(Open, Post)>) {
        if let Err(TrySendError::Full(Task::FindOut(open)) | TrySendError::Disconnected(Task::FindOut(open))) =
            self.tasks.try_send(Task::FindOut(open))
        {
            // What is only to wait must not be tried any more. The store knows a batch until it is told so.
            let mut left = HashMap::new();
            for (Open { batch, .. }, post) in open {
                let is_stored_nowhere =
                    *left.entry(batch).or_insert_with(|| self.store.leave_open(batch) == FoundOut::Nothing);
                if is_stored_nowhere {
                    self.metrics.not_stored.inc();
                    post.not_stored();
                } else {
                    self.metrics.unknown.inc();
                    post.unknown();
                }
            }
        }
    }

    /// Waits until all authors have been told; `false` if that takes until after `until`.
    pub fn settle(&self, until: Instant) -> bool {
        let (told, settled) = bounded(1);
        self.tasks.send_deadline(Task::Settle(told), until).is_ok() && settled.recv_deadline(until).is_ok()
    }
}

/// Messages that were appended to one room together.
struct Batch {
    id: u64,
    until: Instant,
    /// The posts, each with its place among what was appended.
    posts: Vec<(usize, Post)>,
}

struct Thread {
    store: Arc<dyn MessageLog>,
    lanes: Lanes,
    metrics: MessageMetrics,
    patience: Duration,
    open: Vec<Batch>,
    settling: Vec<Sender<()>>,
}

impl Thread {
    fn run(&mut self, waiting: &Receiver<Task>) {
        loop {
            vital::may_panic("log-outcomes");
            let next = match self.open.is_empty() {
                true => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => waiting.recv_timeout(ASK_EVERY),
            };
            match next {
                Ok(task) => self.take(task),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Before the store is asked, which takes longer than it takes the writer to add the next.
            waiting.try_iter().for_each(|task| self.take(task));
            let open = std::mem::take(&mut self.open);
            self.open = open.into_iter().filter_map(|batch| self.ask(batch)).collect();
            if self.open.is_empty() {
                for told in self.settling.drain(..) {
                    // Fails if nobody waits any more.
                    let _ = told.try_send(());
                }
            }
        }
    }

    fn take(&mut self, task: Task) {
        match task {
            Task::FindOut(open) => self.add(open),
            Task::Settle(told) => self.settling.push(told),
        }
    }

    fn add(&mut self, open: Vec<(Open, Post)>) {
        let until = Instant::now() + self.patience;
        for (Open { batch: id, place, .. }, post) in open {
            match self.open.iter_mut().rev().find(|batch| batch.id == id) {
                Some(batch) => batch.posts.push((place, post)),
                None => self.open.push(Batch { id, until, posts: vec![(place, post)] }),
            }
        }
    }

    /// Tells the authors if the outcome is known, or never will be; otherwise returns the batch.
    fn ask(&self, batch: Batch) -> Option<Batch> {
        let outcomes = match self.store.find_out(batch.id) {
            Ok(FoundOut::Done(outcomes)) => outcomes,
            Ok(FoundOut::Nothing) => vec![Appended::NotStored; batch.places()],
            Ok(FoundOut::Lost) => Vec::new(),
            // The store logs by itself why it can't tell.
            Ok(FoundOut::Undecided) | Err(_) if Instant::now() < batch.until => return Some(batch),
            Ok(FoundOut::Undecided) | Err(_) => match self.store.leave_open(batch.id) {
                FoundOut::Nothing => vec![Appended::NotStored; batch.places()],
                _ => Vec::new(),
            },
        };
        let mut replies = Vec::new();
        for (place, post) in &batch.posts {
            let outcome = outcomes.get(*place).copied().unwrap_or(Appended::Unknown);
            match outcome {
                Appended::NotStored => {
                    self.metrics.not_stored.inc();
                    post.not_stored();
                    continue;
                }
                Appended::Unknown | Appended::Open(_) => {
                    self.metrics.unknown.inc();
                    post.unknown();
                    continue;
                }
                Appended::Stored(_) | Appended::StoredAlone(_) => drop(self.metrics.stored.inc()),
                Appended::Repeated(_) => drop(self.metrics.repeated.inc()),
                Appended::Refused(_) => {}
            }
            replies.extend(Post::reply(&post.author, &post.entry, outcome));
        }
        if !replies.is_empty() {
            self.lanes.deliver(Vec::new(), replies, false);
        }
        None
    }
}

impl Batch {
    fn places(&self) -> usize {
        self.posts.iter().map(|(place, _)| place + 1).max().unwrap_or(0)
    }
}
