//! Checks access again while clients are connected. A client that has lost its access is closed (1008); others notice
//! nothing. Also updates what each may do: see [`LiveRights`].
//!
//! One thread checks everybody each `RECHECK_INTERVAL`, and within about a second after the store of accounts reports
//! that somebody may have lost access ([`Accounts::access_changes`]). All nodes share that store, so a revocation
//! reaches each of them, wherever messages are kept. A node that was cut off sees the changed number when it is back.
//! While a store is away, nobody is closed.

#[cfg(test)]
mod tests;

use crate::{
    auth::token::room_mark,
    limits::rights::LiveRights,
    message::RoomName,
    socket::{close::Close, outbound::Outbound},
    start_error::StartError,
    store::{
        accounts::{Accounts, UserId},
        chat_rooms::{ChatRooms, RoomKey},
        error::StoreError,
        outage::Outages,
    },
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the store is asked whether somebody lost access.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// For how many accounts the store is asked at a time.
const BATCH: usize = 500;

/// The close for an account that may no longer be in its room.
const DENIED: Close = Close::policy("room_denied");

/// The close for an account that the operators disconnect.
const DISCONNECTED: Close = Close::policy("disconnected");

/// The close for an account whose password was changed, or whose access was revoked, after it got its token.
const REVOKED: Close = Close::policy("token_revoked");

/// The close for a member of a room that was deleted, or that has another password now.
const CHANGED: Close = Close::policy("room_changed");

/// What can't be done while a store is away.
const WORK: &str = "tell who still has access";

/// Everybody who is in a room, and the thread that checks their access.
pub struct Recheck {
    present: Arc<Mutex<Present>>,
    /// Dropping it ends the thread.
    wake: Sender<()>,
}

#[derive(Default)]
struct Present {
    /// How many checks of everybody have begun.
    checks: u64,
    /// By socket; bounded by the number of open sockets.
    guests: HashMap<u64, Arc<Guest>>,
    /// Sockets whose access was looked up before the latest check began, but which were added after that.
    late: Vec<u64>,
}

/// The number of the last check that had begun before somebody's access was looked up.
#[derive(Clone, Copy)]
pub struct CheckNumber(u64);

/// What an account hears about rooms without being in them.
pub trait Subscription: Send + Sync {
    fn rooms(&self) -> Vec<RoomName>;

    /// Stops reporting this room.
    fn lose(&self, room: &RoomName);
}

/// What the right to be in a room depends on.
pub enum Access {
    /// This account may enter this room, of a monitor or a channel.
    Account { user: UserId, epoch: Option<String>, room: RoomName, rights: Arc<LiveRights> },
    /// This account exists, and may enter those of the rooms that it hears about.
    Inbox { user: UserId, epoch: Option<String>, rooms: Arc<dyn Subscription> },
    /// This room of the rooms door exists, and its password is still the one that the client proved.
    ChatRoom { id: i64, mark: Option<String> },
}

struct Guest {
    access: Access,
    outbound: Arc<Outbound>,
    client: IpAddr,
}

/// Has access checked again until it is dropped.
pub struct Pass {
    present: Arc<Mutex<Present>>,
    id: u64,
}

impl Recheck {
    /// Starts the thread, which checks everybody once in each `interval`.
    pub fn start(
        accounts: Arc<dyn Accounts>,
        chat_rooms: Arc<dyn ChatRooms>,
        interval: Duration,
    ) -> Result<Recheck, StartError> {
        let present = Arc::new(Mutex::new(Present::default()));
        let (wake, woken) = bounded(1);
        let checker = Checker {
            accounts,
            chat_rooms,
            present: present.clone(),
            interval,
            outages: Outages::new("account store"),
            changes: None,
        };
        vital::spawn("recheck", move || checker.run(&woken))
            .map_err(|error| StartError(format!("can't start the thread recheck: {error}")))?;
        Ok(Recheck { present, wake })
    }

    /// Call it before looking up the access of somebody who wants to enter.
    pub fn current(&self) -> CheckNumber {
        CheckNumber(self.present.lock().checks)
    }

    /// Adds a client with its address. Its access was looked up after `check` was asked for.
    pub fn enter(&self, outbound: &Arc<Outbound>, client: IpAddr, check: CheckNumber, access: Access) -> Pass {
        let id = outbound.id();
        let guest = Guest { access, outbound: outbound.clone(), client };
        let mut present = self.present.lock();
        present.guests.insert(id, Arc::new(guest));
        if present.checks != check.0 {
            // That lookup may be older than a change, and the check that would have noticed the change missed this
            // client.
            present.late.push(id);
            // Fails if the channel is full: then the thread will wake anyway.
            let _ = self.wake.try_send(());
        }
        Pass { present: self.present.clone(), id }
    }
}

impl Recheck {
    /// Closes all sockets of an account in rooms and inboxes on this node. Returns how many there were.
    pub fn disconnect(&self, account: UserId) -> usize {
        let present = self.present.lock();
        let of_account = |guest: &&Arc<Guest>| matches!(guest.access, Access::Account { user, .. } | Access::Inbox { user, .. } if user == account);
        let guests: Vec<_> = present.guests.values().filter(of_account).cloned().collect();
        drop(present);
        guests.iter().for_each(|guest| guest.close(DISCONNECTED));
        guests.len()
    }
}

impl Recheck {
    /// Mutes an account in this room on this node at once. The store tells the other nodes.
    pub fn mute(&self, account: UserId, muted_in: &RoomName, until: Option<u64>) {
        for guest in self.present.lock().guests.values() {
            if let Access::Account { user, room, rights, .. } = &guest.access
                && *user == account
                && room == muted_in
            {
                rights.mute(until);
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.present.lock().guests.remove(&self.id);
    }
}

/// A socket in a room: the epoch of its token, and what its account may do there.
type Member<'g> = (&'g Guest, Option<&'g str>, &'g Arc<LiveRights>);

/// A socket of an inbox, which all sockets of an account share: the epoch of its token.
type Listener<'g> = (&'g Guest, Option<&'g str>, &'g Arc<dyn Subscription>);

struct Checker {
    accounts: Arc<dyn Accounts>,
    chat_rooms: Arc<dyn ChatRooms>,
    present: Arc<Mutex<Present>>,
    interval: Duration,
    outages: Outages,
    /// The number that the store reported before the last complete check of everybody.
    changes: Option<i64>,
}

impl Checker {
    fn run(mut self, woken: &Receiver<()>) {
        let mut last = Instant::now();
        while woken.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Disconnected) {
            vital::may_panic("recheck");
            if self.present.lock().guests.is_empty() {
                last = Instant::now();
                continue;
            }
            match self.look(last.elapsed() >= self.interval) {
                Ok(true) => last = Instant::now(),
                Ok(false) => {}
                // What is due stays due.
                Err(error) => {
                    self.outages.failed(WORK, &error.source);
                    continue;
                }
            }
            self.outages.worked(WORK);
        }
    }

    /// Checks everybody if that is due for any reason, and otherwise those who came too late for the last check.
    /// Returns whether it checked everybody.
    fn look(&mut self, due: bool) -> Result<bool, StoreError> {
        let changes = Some(self.accounts.access_changes()?);
        let everybody = due || self.changes != changes;
        let guests: Vec<Arc<Guest>> = {
            let mut present = self.present.lock();
            let late = mem::take(&mut present.late);
            if everybody {
                present.checks += 1;
                present.guests.values().cloned().collect()
            } else {
                late.iter().filter_map(|id| present.guests.get(id)).cloned().collect()
            }
        };
        if let Err(error) = self.judge(&guests) {
            if !everybody {
                self.present.lock().late.extend(guests.iter().map(|guest| guest.outbound.id()));
            }
            return Err(error);
        }
        if everybody {
            self.changes = changes;
        }
        Ok(everybody)
    }

    /// Asks once about each account, and once about it in each room, whatever the number of its sockets.
    fn judge(&self, guests: &[Arc<Guest>]) -> Result<(), StoreError> {
        let mut members: HashMap<(UserId, &RoomName), Vec<Member<'_>>> = HashMap::new();
        let mut inboxes: HashMap<UserId, Vec<Listener<'_>>> = HashMap::new();
        let mut visitors: HashMap<i64, Vec<(&Guest, &Option<String>)>> = HashMap::new();
        for guest in guests {
            match &guest.access {
                Access::Account { user, epoch, room, rights } => {
                    members.entry((*user, room)).or_default().push((guest, epoch.as_deref(), rights));
                }
                Access::Inbox { user, epoch, rooms } => {
                    inboxes.entry(*user).or_default().push((guest, epoch.as_deref(), rooms));
                }
                Access::ChatRoom { id, mark } => visitors.entry(*id).or_default().push((guest, mark)),
            }
        }
        for batch in members.into_iter().collect::<Vec<_>>().chunks(BATCH) {
            self.judge_members(batch)?;
        }
        for batch in inboxes.into_iter().collect::<Vec<_>>().chunks(BATCH) {
            self.judge_listeners(batch)?;
        }
        for (id, visitors) in visitors {
            let room = self.chat_rooms.find(RoomKey::Id(id))?;
            let mark = room.as_ref().map(room_mark);
            for (guest, known) in visitors {
                // Everybody may stay in a room that is open to everybody by now.
                if mark.as_ref().is_none_or(|mark| mark.is_some() && mark != known) {
                    guest.close(CHANGED);
                }
            }
        }
        Ok(())
    }

    fn judge_members(&self, members: &[((UserId, &RoomName), Vec<Member<'_>>)]) -> Result<(), StoreError> {
        let places: Vec<(UserId, &RoomName)> = members.iter().map(|(place, _)| *place).collect();
        let asked: Vec<(UserId, &str)> = places.iter().map(|(user, room)| (*user, room.local())).collect();
        let users: Vec<UserId> = places.iter().map(|(user, _)| *user).collect();
        let now = self.accounts.memberships(&asked)?.into_iter().zip(self.accounts.epochs(&users)?);
        let now = now.zip(self.accounts.rights(&places)?);
        for (((_, room), sockets), ((membership, epoch), may)) in members.iter().zip(now) {
            let is_open = membership.room(room.local()).as_ref() == Some(*room);
            for (guest, then, rights) in sockets {
                rights.set(may);
                if !is_open {
                    guest.close(DENIED);
                } else if epoch.as_ref().is_some_and(|epoch| epoch.ended(*then)) {
                    guest.close(REVOKED);
                }
            }
        }
        Ok(())
    }

    fn judge_listeners(&self, listeners: &[(UserId, Vec<Listener<'_>>)]) -> Result<(), StoreError> {
        let users: Vec<UserId> = listeners.iter().map(|(user, _)| *user).collect();
        for ((user, sockets), epoch) in listeners.iter().zip(self.accounts.epochs(&users)?) {
            let Some(epoch) = epoch else {
                sockets.iter().for_each(|(guest, ..)| guest.close(DENIED));
                continue;
            };
            let mut inboxes: Vec<&Arc<dyn Subscription>> = Vec::new();
            for (guest, then, inbox) in sockets {
                if epoch.ended(*then) {
                    guest.close(REVOKED);
                } else if !inboxes.iter().any(|known| Arc::ptr_eq(known, inbox)) {
                    inboxes.push(inbox);
                }
            }
            for inbox in inboxes {
                self.judge_inbox(*user, &**inbox)?;
            }
        }
        Ok(())
    }

    /// Removes from an inbox the rooms that its account may no longer enter.
    fn judge_inbox(&self, user: UserId, inbox: &dyn Subscription) -> Result<(), StoreError> {
        for rooms in inbox.rooms().chunks(BATCH) {
            let asked: Vec<(UserId, &str)> = rooms.iter().map(|room| (user, room.local())).collect();
            for (room, now) in rooms.iter().zip(self.accounts.memberships(&asked)?) {
                if now.room(room.local()).as_ref() != Some(room) {
                    inbox.lose(room);
                }
            }
        }
        Ok(())
    }
}

impl Guest {
    fn close(&self, close: Close) {
        tracing::info!(reason = close.reason, client = %self.client, "connection closed");
        self.outbound.close(close);
    }
}
