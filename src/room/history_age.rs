//! `HISTORY_MAX_AGE`: deletes older messages in every room, within an hour.

use crate::{
    store::{error::StoreError, log::MessageLog, outage::Outages},
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often old messages are looked for.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// How many rooms are listed at a time.
const ROOMS: usize = 500;

/// What can't be done during an outage.
const WORK: &str = "delete old messages";

/// The handle to the thread that deletes old messages; the thread ends when this is dropped.
pub struct HistoryAge {
    _stop: Sender<()>,
}

impl HistoryAge {
    /// Starts the thread, which begins at once.
    pub fn start(log: Arc<dyn MessageLog>, age: Duration) -> io::Result<HistoryAge> {
        let (stop, stopped) = bounded(0);
        vital::spawn("history-age", move || run(&*log, age, &stopped))?;
        Ok(HistoryAge { _stop: stop })
    }
}

fn run(log: &dyn MessageLog, age: Duration, stopped: &Receiver<()>) {
    let outages = Outages::new("message log");
    let mut pause = Duration::ZERO;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        vital::may_panic("history-age");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match delete(log, now.saturating_sub(age).as_millis() as u64, stopped) {
            Ok(()) => outages.worked(WORK),
            Err(error) => outages.failed(WORK, &error.source),
        }
        pause = EVERY;
    }
}

/// Deletes messages from before this Unix time (in milliseconds) in all rooms.
fn delete(log: &dyn MessageLog, before: u64, stopped: &Receiver<()>) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let rooms = log.rooms(after.as_ref(), ROOMS)?;
        for room in &rooms {
            if stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                return Ok(());
            }
            log.forget_before(room, before)?;
        }
        match rooms.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}
