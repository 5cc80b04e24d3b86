//! How much one check asks of the stores.

use super::{Access, Checker, Guest, Present, Subscription};
use crate::{
    limits::rights::LiveRights,
    message::RoomName,
    socket::{flusher::Flusher, outbound::Outbound},
    store::{
        accounts::{Account, Accounts, Entrant, Epoch, Membership, Monitor, UserId},
        error::StoreError,
        moderation::{Moderation, Rights},
        outage::Outages,
        sqlite::{accounts::SqliteAccounts, chat_rooms::SqliteChatRooms},
        suite::Opened,
    },
};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Accounts that count what is asked about them.
struct Counted {
    accounts: Opened<SqliteAccounts>,
    memberships: AtomicUsize,
    others: AtomicUsize,
}

impl Moderation for Counted {
    fn rights(&self, asked: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError> {
        self.others.fetch_add(asked.len(), Ordering::Relaxed);
        self.accounts.rights(asked)
    }

    fn mute(&self, _: &RoomName, _: UserId, _: u64, _: Option<u64>) -> Result<bool, StoreError> {
        unreachable!("a check changes nothing")
    }

    fn unmute(&self, _: &RoomName, _: UserId) -> Result<bool, StoreError> {
        unreachable!("a check changes nothing")
    }

    fn appoint(&self, _: &str, _: UserId, _: bool) -> Result<bool, StoreError> {
        unreachable!("a check changes nothing")
    }

    fn moderators(&self, _: &str) -> Result<Vec<String>, StoreError> {
        unreachable!("a check asks about rights")
    }
}

impl Accounts for Counted {
    fn memberships(&self, asked: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError> {
        self.memberships.fetch_add(asked.len(), Ordering::Relaxed);
        self.accounts.memberships(asked)
    }

    fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError> {
        self.others.fetch_add(users.len(), Ordering::Relaxed);
        self.accounts.epochs(users)
    }

    fn access_changes(&self) -> Result<i64, StoreError> {
        self.accounts.access_changes()
    }

    fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        self.accounts.by_email(email)
    }

    fn by_id(&self, _: UserId) -> Result<Option<Account>, StoreError> {
        unreachable!("a check needs no names")
    }

    fn display_names(&self, _: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
        unreachable!("a check needs no names")
    }

    fn entrant(&self, _: UserId, _: &str) -> Result<Entrant, StoreError> {
        unreachable!("a check lets nobody in")
    }

    fn is_monitor(&self, _: &str) -> Result<bool, StoreError> {
        unreachable!("a check asks about memberships")
    }

    fn members(&self, _: &str, _: usize) -> Result<Vec<(UserId, String)>, StoreError> {
        unreachable!("a check asks about memberships")
    }

    fn monitors_of(&self, _: UserId) -> Result<Vec<Monitor>, StoreError> {
        unreachable!("a check asks about memberships")
    }

    fn revoke(&self, _: UserId) -> Result<(), StoreError> {
        unreachable!("a check changes nothing")
    }

    fn announce_access_change(&self) -> Result<(), StoreError> {
        unreachable!("a check changes nothing")
    }

    fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The rooms that an inbox reports.
struct Rooms(Mutex<Vec<RoomName>>);

impl Subscription for Rooms {
    fn rooms(&self) -> Vec<RoomName> {
        self.0.lock().clone()
    }

    fn lose(&self, room: &RoomName) {
        self.0.lock().retain(|own| own != room);
    }
}

const SOCKETS: u64 = 50;

// Seen to fail where each socket of an inbox is asked about: 2502 memberships instead of 52.
#[test]
fn an_account_is_asked_about_once_however_many_sockets_it_has() {
    let accounts = Opened::new(|dir| {
        let accounts = SqliteAccounts::open(&dir.join("chat.db")).unwrap();
        accounts.seed_demo().unwrap();
        accounts
    });
    let alice = accounts.by_email("alice@propromo.example").unwrap().unwrap().id;
    let chat_rooms = Arc::new(SqliteChatRooms::beside(&accounts));
    let counted = Arc::new(Counted { accounts, memberships: AtomicUsize::new(0), others: AtomicUsize::new(0) });
    let present = Arc::new(Mutex::new(Present::default()));
    let flusher = Flusher::start(usize::MAX).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (room, lost) = (RoomName::channel("lobby"), RoomName::monitor("a monitor that is gone"));
    let own = (0..49).map(|n| RoomName::channel(&format!("channel {n}"))).chain([lost.clone(), room.clone()]);
    let inbox = Arc::new(Rooms(Mutex::new(own.collect())));
    let (mut peers, mut rights) = (Vec::new(), Vec::new());
    for id in 0..2 * SOCKETS {
        peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let stream = listener.accept().unwrap().0;
        let outbound = Outbound::new(id, stream, 1 << 20, Duration::from_secs(20), flusher.clone());
        let access = if id % 2 == 0 {
            Access::Inbox { user: alice, epoch: None, rooms: inbox.clone() }
        } else {
            let live = LiveRights::of(Rights { muted_until: Some(u64::MAX), ..Rights::default() });
            rights.push(live.clone());
            Access::Account { user: alice, epoch: None, room: room.clone(), rights: live }
        };
        let client = IpAddr::from([192, 0, 2, 1]);
        present.lock().guests.insert(id, Arc::new(Guest { access, outbound, client }));
    }
    let mut checker = Checker {
        accounts: counted.clone(),
        chat_rooms,
        present: present.clone(),
        interval: Duration::MAX,
        outages: Outages::new("account store"),
        changes: None,
    };
    assert!(checker.look(true).unwrap());
    let asked = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert_eq!((asked(&counted.memberships), asked(&counted.others)), (1 + 51, 3));
    assert!(!inbox.rooms().contains(&lost) && inbox.rooms().len() == 50, "what is lost is still lost");
    assert!(rights.iter().all(|rights| rights.muted().is_none()), "each socket has its account's rights");
    assert!(present.lock().guests.values().all(|guest| !guest.outbound.is_closing()));
}
