//! Imports what an embedded installation kept for its accounts. The accounts themselves are Propromo's, and are here
//! already.

use super::{
    accounts::{PostgresAccounts, STORE, as_text, is_text},
    channels,
    connection::{Session as Connected, Typed},
    reads::ADVANCE,
    sessions::INSERT,
};
use crate::store::{
    accounts::{Account, Accounts, Epoch},
    channels::Beginner,
    error::StoreError,
    moving::{Begun, Belongings},
    sessions::Spent,
};
use postgres::Transaction;
use std::collections::BTreeMap;

/// The second call does nothing: what was copied and deleted since does not come back.
pub(super) const MOVED: &str = "INSERT INTO chat.moved VALUES ($1) ON CONFLICT DO NOTHING";

/// Revoked access stays revoked.
const REVOKE: &str = "
    INSERT INTO chat.revocations AS known VALUES ($1, $2)
    ON CONFLICT (account) DO UPDATE SET count = greatest(known.count, excluded.count)";

const REVOCATIONS: &str = "SELECT coalesce((SELECT count FROM chat.revocations WHERE account = $1), 0)";

const MUTE: &str = "INSERT INTO chat.mutes (account, room, until) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const IS_MONITOR: &str = "SELECT EXISTS (SELECT 1 FROM monitors WHERE monitor_hash::text = $1)";

const APPOINT: &str = "
    INSERT INTO chat.moderators (monitor, account)
    SELECT id::bigint, $2 FROM monitors WHERE monitor_hash::text = $1 ON CONFLICT DO NOTHING";

/// What was imported for an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// An earlier run imported the rest.
    pub before: bool,
    pub sessions: usize,
    /// Sessions that were left out, since the account has another password here.
    pub ended: usize,
    pub reads: usize,
    pub mutes: usize,
    pub moderates: usize,
    pub channels: usize,
    /// Moderator rights for monitors that are not here.
    pub elsewhere: usize,
}

impl Taken {
    /// Adds the numbers of another account.
    pub fn add(&mut self, other: &Taken) {
        self.sessions += other.sessions;
        self.ended += other.ended;
        self.reads += other.reads;
        self.mutes += other.mutes;
        self.moderates += other.moderates;
        self.channels += other.channels;
        self.elsewhere += other.elsewhere;
    }
}

impl PostgresAccounts {
    /// Imports what the account of the same address had, all or none, and only once. `None`: there is no such account.
    pub fn take(&self, belongings: &Belongings) -> Result<Option<Taken>, StoreError> {
        let Some(account) = self.by_email(&belongings.email)? else { return Ok(None) };
        let belongings = belongings.clone();
        let taken = self.database().write(STORE, "take over what an account has", move |session: &mut Connected| {
            let mut tx = session.client.transaction()?;
            let mut taken = Taken::default();
            if is_new(&mut tx, format!("account:{}", account.id.0))? {
                take(&mut tx, &account, &belongings, &mut taken)?;
            } else {
                taken.before = true;
            }
            appoint(&mut tx, &account, &belongings, &mut taken)?;
            tx.commit()?;
            Ok(taken)
        })?;
        Ok(Some(taken))
    }

    /// Imports which channels and streams those have begun who have no account, by beginner, only once. Returns how many
    /// rooms those are.
    pub fn take_channels(&self, begun: BTreeMap<String, Vec<Begun>>) -> Result<usize, StoreError> {
        self.database().write(STORE, "take over who has begun channels", move |session: &mut Connected| {
            let mut tx = session.client.transaction()?;
            let mut taken = 0;
            for (beginner, begun) in &begun {
                if is_new(&mut tx, format!("channels:{beginner}"))? {
                    taken += channels::take(&mut tx, beginner, begun)?;
                }
            }
            tx.commit()?;
            Ok(taken)
        })
    }
}

fn take(
    tx: &mut Transaction<'_>,
    account: &Account,
    belongings: &Belongings,
    taken: &mut Taken,
) -> Result<(), postgres::Error> {
    let id = account.id.0;
    if belongings.revocations > 0 {
        tx.execute_typed(REVOKE, &[id.typed(), belongings.revocations.typed()])?;
    }
    let revocations = tx.query_typed(REVOCATIONS, &[id.typed()])?.first().map_or(0, |row| row.get(0));
    let epoch = Epoch::of(&account.password_hash, revocations);
    for session in &belongings.sessions {
        if session.epoch != epoch.as_str() {
            taken.ended += 1;
            continue;
        }
        let (key, current, spent) = (session.id.to_vec(), session.current.to_vec(), Spent::encode(&session.spent));
        let row = [
            key.typed(),
            id.typed(),
            session.epoch.typed(),
            session.begun.typed(),
            session.used.typed(),
            current.typed(),
            spent.typed(),
        ];
        taken.sessions += tx.execute_typed(INSERT, &row)? as usize;
    }
    let reads = belongings.reads.iter().filter(|(room, _)| is_text(room.as_str()));
    let (rooms, marks): (Vec<String>, Vec<String>) =
        reads.map(|(room, mark)| (room.as_str().to_owned(), mark.to_string())).unzip();
    let accounts = vec![id; rooms.len()];
    taken.reads = tx.query_typed(ADVANCE, &[accounts.typed(), rooms.typed(), marks.typed()])?.len();
    for (room, until) in &belongings.mutes {
        let (room, until) = (as_text(room.as_str()), i64::try_from(*until).unwrap_or(i64::MAX));
        taken.mutes += tx.execute_typed(MUTE, &[id.typed(), room.typed(), until.typed()])? as usize;
    }
    taken.channels = channels::take(tx, &Beginner::Account(account.id).to_string(), &belongings.channels)?;
    Ok(())
}

/// Handles each monitor by itself: Propromo may get a missing one before the next run.
fn appoint(
    tx: &mut Transaction<'_>,
    account: &Account,
    belongings: &Belongings,
    taken: &mut Taken,
) -> Result<(), postgres::Error> {
    for monitor in &belongings.moderates {
        let hash = as_text(monitor);
        if !tx.query_typed_one(IS_MONITOR, &[hash.typed()])?.get::<_, bool>(0) {
            taken.elsewhere += 1;
        } else if is_new(tx, format!("moderator:{}:{hash}", account.id.0))? {
            taken.moderates += tx.execute_typed(APPOINT, &[hash.typed(), account.id.0.typed()])?.min(1) as usize;
        }
    }
    Ok(())
}

fn is_new(tx: &mut Transaction<'_>, what: String) -> Result<bool, postgres::Error> {
    Ok(tx.execute_typed(MOVED, &[what.typed()])? == 1)
}
