//! The thread that archives: on one node at a time, by a lease. A node that does not notice the end of its
//! lease does no harm.

use super::{
    copier::{Copier, Figures, ROOMS},
    log::ArchivedLog,
};
use crate::{
    message::{MessageId, RoomName},
    store::{error::StoreError, outage::Outages, redis::hot::Head},
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

/// How long a node leads after Redis has confirmed it.
const LEASE: Duration = Duration::from_secs(8);

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(2);

/// The shortest pause between two passes over all rooms. It is longer if a pass takes longer, so that passes take at
/// most a twentieth of Redis' time.
const PAUSE: Duration = Duration::from_millis(500);
const SHARE_OF_TIME: u32 = 20;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// How often each node reads which archived entry is the newest.
const NEWEST: Duration = Duration::from_secs(5);

/// Rooms checked at a time after a loss, and rooms that one log line names.
const RESUMED: usize = 500;
const NAMED: usize = 10;

const WORK: &str = "archive messages";

/// The thread; it ends when this is dropped.
pub struct Archiver {
    _stop: Sender<()>,
    figures: Arc<Figures>,
}

impl Archiver {
    pub fn start(log: &ArchivedLog) -> io::Result<Archiver> {
        let (stop, stopped) = bounded(0);
        let figures = log.copier.figures.clone();
        let mut work = Work {
            copier: log.copier.clone(),
            stopped,
            losses: None,
            counted: 0,
            asked: None,
            newest: None,
            complete: None,
            looking: Duration::ZERO,
            memory: None,
            is_short: false,
        };
        vital::spawn("archiver", move || work.run())?;
        Ok(Archiver { _stop: stop, figures })
    }

    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }
}

struct Work {
    copier: Arc<Copier>,
    stopped: Receiver<()>,
    /// How often Redis had lost data when rooms were last resumed from the archive; `None`: this node does not lead.
    losses: Option<u64>,
    /// How often Redis had lost data when it was last counted what is lost.
    counted: u64,
    /// When Redis last confirmed that this node leads.
    asked: Option<Instant>,
    /// When the newest archived entry was last read.
    newest: Option<Instant>,
    /// Everything stored before this is archived.
    complete: Option<SystemTime>,
    /// How long it took in this pass to find what is to be copied.
    looking: Duration,
    /// When Redis was last asked how much memory it uses.
    memory: Option<Instant>,
    /// Whether rooms are to be trimmed of which nothing is to be copied.
    is_short: bool,
}

impl Work {
    fn run(&mut self) {
        let outages = Outages::new("message archive");
        let mut pause = Duration::ZERO;
        while self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            vital::may_panic("archiver");
            self.looking = Duration::ZERO;
            match self.turn() {
                Ok(()) => outages.worked(WORK),
                Err(error) => {
                    self.copier.figures.failed.fetch_add(1, Ordering::Relaxed);
                    if !error.is_known() {
                        outages.failed(WORK, &error.source);
                    }
                }
            }
            let hot = if self.asked.is_some() { self.copier.hot.entries() } else { 0 };
            self.copier.figures.hot.store(hot, Ordering::Relaxed);
            let lag = self.complete.filter(|_| self.asked.is_some()).and_then(|complete| complete.elapsed().ok());
            self.copier.figures.lag.store(lag.unwrap_or_default().as_millis() as u64, Ordering::Relaxed);
            pause = (self.looking * SHARE_OF_TIME).clamp(PAUSE, LONGEST);
        }
        if self.asked.is_some() {
            // Another node need not wait until the lease is over.
            let _ = self.copier.redis.leads_archiving(0);
        }
    }

    fn turn(&mut self) -> Result<(), StoreError> {
        let losses = self.copier.redis.losses();
        if losses != self.counted {
            self.copier.count_lost()?.log();
            self.counted = losses;
        }
        if self.newest.is_none_or(|looked| looked.elapsed() >= NEWEST) {
            self.look_for_the_newest()?;
            self.copier.forget_archived()?;
        }
        if !self.leads()? {
            return Ok(());
        }
        let (begun, losses) = (SystemTime::now(), self.copier.redis.losses());
        let is_first = self.losses.is_none();
        if self.losses != Some(losses) {
            self.look_for_the_newest()?;
            self.resume_all()?;
            self.losses = Some(losses);
            // The node that led before may have got no further.
            self.complete.get_or_insert(begun);
        }
        self.look_at_memory();
        let is_short = std::mem::take(&mut self.is_short);
        match self.archive_all(is_first, is_short) {
            Ok(true) => self.complete = Some(begun),
            Ok(false) => self.is_short |= is_short,
            Err(error) => {
                self.is_short |= is_short;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets fewer entries stay in Redis while its memory is short, so that it does not refuse new ones for archived ones.
    fn look_at_memory(&mut self) {
        if self.memory.is_some_and(|looked| looked.elapsed() < PAUSE) {
            return;
        }
        if let Some(used) = self.copier.redis.memory_used() {
            self.is_short |= self.copier.hot.adapt(used);
        }
        self.memory = Some(Instant::now());
    }

    /// Makes new ids greater than the newest archived one, whatever Redis has lost.
    fn look_for_the_newest(&mut self) -> Result<(), StoreError> {
        self.copier.redis.archived_up_to(self.copier.archive.newest_of_all()?);
        self.newest = Some(Instant::now());
        Ok(())
    }

    /// Whether this node archives.
    fn leads(&mut self) -> Result<bool, StoreError> {
        if self.asked.is_some_and(|asked| asked.elapsed() < RENEW) {
            return Ok(true);
        }
        let asked = Instant::now();
        let leads = self.copier.redis.leads_archiving(LEASE.as_millis()).inspect_err(|_| self.asked = None)?;
        self.asked = leads.then_some(asked);
        if !leads {
            (self.losses, self.complete) = (None, None);
        }
        Ok(leads)
    }

    /// Resumes all rooms after their archived part, and logs which had lost something.
    fn resume_all(&mut self) -> Result<(), StoreError> {
        let mut after: Option<RoomName> = None;
        let (mut lost, mut named) = (0, Vec::new());
        loop {
            let rooms: Vec<(RoomName, MessageId)> = self.copier.archive.archived_rooms(after.as_ref(), RESUMED)?;
            let Some((last, _)) = rooms.last() else { break };
            after = Some(last.clone());
            let some = self.copier.resume(&rooms)?;
            lost += some.len();
            named.extend(some.into_iter().take(NAMED - named.len().min(NAMED)));
            if !self.leads()? {
                return Ok(());
            }
        }
        if lost > 0 {
            let rooms = named.iter().map(RoomName::as_str).collect::<Vec<_>>().join(", ");
            let since = self.complete.map(|time| jiff::Timestamp::try_from(time).map(|time| time.to_string()));
            let since = since.and_then(Result::ok).unwrap_or_else(|| "not known".into());
            tracing::warn!(
                lost,
                rooms,
                since,
                "Redis has lost what it had of rooms; they go on from the archive, and what was said in them since, and \
                 not archived yet, is gone"
            );
        }
        Ok(())
    }

    /// Archives everything stored by now. Returns whether nothing is left. `anew`: reads the rooms' positions from the
    /// archive. `all_rooms`: also trims rooms of which nothing is to be copied.
    fn archive_all(&mut self, anew: bool, all_rooms: bool) -> Result<bool, StoreError> {
        let copier = self.copier.clone();
        let (mut all, mut looking, mut begun) = (true, Duration::ZERO, Instant::now());
        let looked = copier.redis.each_room(&mut |rooms| {
            let heads = copier.redis.heads(&rooms)?;
            let mut waiting: VecDeque<Head> = if anew {
                let positions = copier.archive.positions(&rooms)?;
                let is_due = |(head, archived): &(Head, MessageId)| all_rooms || is_behind(head, *archived);
                let positions = positions.iter().map(|position| position.upto);
                heads.into_iter().zip(positions).filter(is_due).map(|(head, _)| head).collect()
            } else {
                heads.into_iter().filter(|head| all_rooms || head.last > head.archived).collect()
            };
            looking += begun.elapsed();
            while !waiting.is_empty() {
                if !self.leads()? || self.stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                    all = false;
                    return Ok(());
                }
                self.look_at_memory();
                let some: Vec<Head> = waiting.drain(..ROOMS.min(waiting.len())).collect();
                // After the others: no room waits for one that has much.
                waiting.extend(copier.copy(some)?);
            }
            begun = Instant::now();
            Ok(())
        });
        self.looking = looking;
        looked.map(|()| all)
    }
}

fn is_behind(head: &Head, archived: MessageId) -> bool {
    head.last > archived || head.last > head.archived || head.archived < archived
}
