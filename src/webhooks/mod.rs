//! Outgoing webhooks: they tell a program of the operators what is stored, and who comes and goes. Events are signed,
//! and sent at least once, in the order of each room.
//!
//! ```text
//! log, feed ─▶ queue (which rooms have news) ─▶ senders ─▶ endpoint
//!                                                  └─ read the log from its position; move it when an event is taken
//! ```
//!
//! Events of messages are never kept in memory. They are read from the log, and a store keeps the position of each room
//! ([`Outbox`]), so a crash loses none. Comings and goings are in no log, so those that wait at the end are lost.

mod endpoint;
mod event;
mod queue;
mod sender;

use crate::{
    chat::Chat,
    room::observer::Observer,
    store::{
        error::StoreError,
        outage::Outages,
        outbox::{LEASE, Outbox},
    },
    vital,
};
use endpoint::Endpoint;
use queue::Queue;
use sender::Sender;
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many events are sent at the same time.
const SENDERS: usize = 8;

/// How often the lease is renewed, and the position of idle rooms noted.
const RENEW_EVERY: Duration = Duration::from_secs(4);

/// How long before the end of the lease this process stops relying on it: asking takes time too.
const SPARE: Duration = Duration::from_secs(3);

/// How often the log is searched even if nothing seems to be missing.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How many rooms one search of the log returns.
const LOOK: usize = queue::MAX_ROOMS / 2;

/// How long the shutdown waits for events that are being sent.
const STOP_WAIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The handle to the threads that send webhooks.
pub struct Webhooks {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Webhooks {
    /// Starts the threads, if there is an endpoint.
    pub fn start(chat: &Arc<Chat>) -> io::Result<Option<Webhooks>> {
        let (Some(settings), Some(outbox)) = (&chat.config.webhooks, &chat.outbox) else { return Ok(None) };
        let queue = Arc::new(Queue::default());
        chat.rooms.on_news(queue.clone());
        let endpoint = Arc::new(Endpoint::new(settings.clone(), SENDERS));
        let (failing, storing) =
            (Arc::new(Outages::new("webhook endpoint")), Arc::new(Outages::new("store of webhooks")));
        let mut threads = Vec::with_capacity(SENDERS + 1);
        for n in 0..SENDERS {
            let sender = Sender {
                queue: queue.clone(),
                outbox: outbox.clone(),
                endpoint: endpoint.clone(),
                events: settings.events.clone(),
                give_up: settings.give_up,
                failing: failing.clone(),
                storing: storing.clone(),
                metrics: chat.metrics.webhooks.clone(),
                chat: Arc::downgrade(chat),
            };
            threads.push(vital::spawn(format!("webhook-{n}"), move || sender.run())?);
        }
        let keeper = Keeper { queue: queue.clone(), outbox: outbox.clone(), storing };
        threads.push(vital::spawn("webhooks", move || keeper.run())?);
        let looked_at = queue.clone();
        chat.metrics.look(move |metrics| {
            let (metrics, now) = (&metrics.webhooks, looked_at.metrics());
            metrics.rooms.set(now.rooms as i64);
            metrics.lag.set(now.lag.as_secs() as i64);
            metrics.gone.set(i64::from(now.gone));
            metrics.dropped.inc_by(now.dropped);
        });
        tracing::info!(endpoint = ?settings.url, events = settings.events.join(","), "events are sent");
        Ok(Some(Webhooks { queue, threads }))
    }

    /// Tries the endpoint again at once, even if it was gone. Returns whether it was gone.
    pub fn resume(&self) -> bool {
        self.queue.resume()
    }

    /// Sends no more events; those on their way may still arrive.
    pub fn stop(&self) {
        self.queue.stop();
        let until = Instant::now() + STOP_WAIT;
        while !self.threads.iter().all(JoinHandle::is_finished) && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Decides whether this process sends, and finds rooms whose events are only in the log.
struct Keeper {
    queue: Arc<Queue>,
    outbox: Arc<dyn Outbox>,
    storing: Arc<Outages>,
}

impl Keeper {
    fn run(self) {
        let mut looked = Instant::now();
        let mut noted = None;
        let mut asked: Option<Instant> = None;
        loop {
            vital::may_panic("webhooks");
            if asked.is_none_or(|asked| asked.elapsed() >= RENEW_EVERY) {
                asked = Some(Instant::now());
                self.lead();
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.queue.missed();
            }
            if self.queue.wants_look() {
                match self.judged(self.outbox.behind(LOOK)) {
                    Some((rooms, more)) => self.queue.found(rooms, more),
                    None => {
                        // Still to be done, but not at once.
                        thread::sleep(Duration::from_secs(1));
                        self.queue.found(Vec::new(), true);
                    }
                }
            }
            let told = self.queue.all_told().filter(|told| noted.is_none_or(|noted| noted < *told));
            if let Some(told) = told
                && self.judged(self.outbox.all_told(told)).is_some()
            {
                noted = Some(told);
            }
            if !self.queue.rest(RENEW_EVERY) {
                // Lets another node continue now, not only after the lease has expired.
                self.judged(self.outbox.resign());
                return;
            }
        }
    }

    fn lead(&self) {
        let began = Instant::now();
        match self.judged(self.outbox.acquire_lease()) {
            Some(true) => self.queue.lead(began + LEASE - SPARE),
            Some(false) => self.queue.follow(),
            // It is unknown whether another process leads: the lease ends by itself.
            None => {}
        }
    }

    fn judged<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(done) => {
                self.storing.worked(sender::STORE);
                Some(done)
            }
            Err(error) => {
                self.storing.failed(sender::STORE, &error.source);
                None
            }
        }
    }
}
