//! Entering a room, the same at every door: join, replay the history, go live.

use super::conversation::Link;
use crate::{
    auth::token::Claims,
    chat::Chat,
    entry::Entry,
    event::Person,
    limits::turns::{Claimant, Turn},
    message::{Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    room::{encoder::Encoder, member::Member, run},
    socket::{close::Close, memory},
    store::{
        accounts::{Entrant, Membership},
        error::StoreError,
        log::is_full_page,
    },
};
use std::{io, sync::Arc};

/// Messages read from the store at a time.
const REPLAY_PAGE: usize = 1000;

/// Which messages a newcomer gets first.
#[derive(Clone, Copy, Debug)]
pub enum Replay<'a> {
    /// This many of the newest.
    Latest(usize),
    /// As many of the newest as this function reads from the newest one.
    AsNewestSays(fn(&Message) -> usize),
    /// All after this one. If not all of them are kept any more: this text, then the newest `HISTORY_ON_JOIN`.
    Since { after: MessageId, or_say: &'a str },
    /// All after this one, which was the newest a moment ago (`None`: the room was empty).
    Behind(Option<MessageId>),
}

/// Joins `room` and replays the history, without gaps or duplicates between history and live messages.
///
/// Pages are read in turn with others: `claimant` says whose turn it is. The caller must make the member leave in the
/// end.
pub fn enter(
    link: &Link,
    room: &RoomName,
    person: Person,
    encoder: &'static dyn Encoder,
    (claimant, replay): (Claimant, Replay),
) -> Result<Arc<Member>, Close> {
    let rooms = &link.chat.rooms;
    let member = rooms.join(room, person, encoder, link.outbound.clone());
    // The client sees the `101` only after its lane holds live messages for it and the history is read. So it misses
    // nothing that is said after the `101`.
    match replayed(link, &member, claimant, replay).and_then(|last| link.open().map(|()| last).map_err(gone)) {
        Ok(last) => {
            rooms.release(&member, last);
            link.joined(&member);
            Ok(member)
        }
        Err(close) => {
            rooms.leave(&member);
            Err(close)
        }
    }
}

/// Writes history to the member. Returns the last id that the member has now.
fn replayed(link: &Link, member: &Member, claimant: Claimant, replay: Replay) -> Result<Option<MessageId>, Close> {
    link.chat.rooms.follow(&member.room).map_err(unavailable)?;
    let newest = match replay {
        Replay::Latest(count) => count,
        Replay::AsNewestSays(count) => {
            let _turn = link.chat.turns.wait(claimant);
            let newest = link.chat.log.history(&member.room.name, None, 1).map_err(unavailable)?;
            newest.first().map_or(0, count)
        }
        Replay::Since { after, or_say } => {
            if let Some(last) = replayed_since(link, member, claimant, after)? {
                return Ok(Some(last));
            }
            link.say(or_say);
            link.chat.config.history_on_join
        }
        Replay::Behind(None) => REPLAY_PAGE,
        Replay::Behind(Some(after)) => {
            if let Some(last) = replayed_since(link, member, claimant, after)? {
                return Ok(Some(last));
            }
            REPLAY_PAGE
        }
    };
    replayed_latest(link, member, claimant, newest)
}

/// Writes the newest `count` messages.
fn replayed_latest(link: &Link, member: &Member, claimant: Claimant, count: usize) -> Result<Option<MessageId>, Close> {
    let read = |before, limit| link.chat.log.history(&member.room.name, before, limit).map_err(unavailable);
    let mut last = None;
    if count == 0 {
        return Ok(last);
    }
    loop {
        let mut turn = link.chat.turns.wait(claimant);
        let mut page = read(None, count)?;
        let (mut left, mut whole) = (count - page.len(), true);
        // Pages of long messages hold fewer: reads backwards to the message where the replay begins.
        while left > 0
            && is_full_page(&page)
            && let Some(first) = page.first()
        {
            // Others get their turns in between.
            drop(turn);
            turn = link.chat.turns.wait(claimant);
            let older = read(Some(first.id), left)?;
            if older.is_empty() {
                break;
            }
            (left, whole, page) = (left - older.len(), false, older);
        }
        page.retain(|message| last.is_none_or(|last| message.id > last));
        let Some(newest) = page.last().map(|message| message.id) else { return Ok(last) };
        let written = write(link, member, page.into_iter().map(Entry::Message).collect(), turn)?;
        if whole && written == newest {
            return Ok(Some(written));
        }
        last = Some(written);
        if let Some(last) = replayed_since(link, member, claimant, written)? {
            return Ok(Some(last));
        }
        // What followed was trimmed meanwhile: goes on with what is kept.
    }
}

fn replayed_since(
    link: &Link,
    member: &Member,
    claimant: Claimant,
    after: MessageId,
) -> Result<Option<MessageId>, Close> {
    let mut last = after;
    loop {
        let turn = link.chat.turns.wait(claimant);
        let page = link.chat.log.since(&member.room.name, last, REPLAY_PAGE).map_err(unavailable)?;
        let Some(entries) = page else { return Ok(None) };
        let Some(newest) = entries.last().map(Entry::id) else { return Ok(Some(last)) };
        let whole = entries.len() < REPLAY_PAGE && !is_full_page(&entries);
        last = write(link, member, entries, turn)?;
        if whole && last == newest {
            return Ok(Some(last));
        }
    }
}

/// Writes a page, or as much of it as fits into half of the socket's queue; the other half is for what else may come.
/// Returns the last entry that was written.
///
/// While it waits for the socket it holds no turn, and only the frames in the queue, which are counted.
fn write(link: &Link, member: &Member, page: Vec<Entry>, turn: Turn<'_>) -> Result<MessageId, Close> {
    let most = link.outbound.limit() / 2;
    let (mut out, mut last) = (Vec::new(), MessageId::BEFORE_ALL);
    for entry in &page {
        let end = out.len();
        run::say(member.encoder, &member.room, entry, &mut out);
        if out.len() > most && end > 0 {
            out.truncate(end);
            break;
        }
        last = entry.id();
    }
    drop((page, turn));
    link.open().map_err(gone)?;
    link.outbound.send_waiting(memory::counted(out)).map_err(gone)?;
    // Somebody has closed it meanwhile: nobody hears what would follow.
    if link.outbound.is_closing() { Err(Close::NORMAL) } else { Ok(last) }
}

fn gone(_: io::Error) -> Close {
    Close::SLOW
}

/// Logs that history can't be read, and returns the close for it.
pub fn unavailable(error: StoreError) -> Close {
    error.log("history can't be read");
    Close::UNAVAILABLE
}

/// Refuses a token that was issued before its account's password was changed or its access revoked.
pub fn admit_current(chat: &Chat, claims: &Claims) -> Result<(), Refusal> {
    // An account that no longer exists gets another refusal later.
    let ended = chat.accounts.epoch(claims.user)?.is_some_and(|epoch| epoch.ended(claims.epoch.as_deref()));
    if ended { Err(Reason::TokenRevoked.into()) } else { Ok(()) }
}

/// The membership, name and rights of the owner of `claims` in this monitor's room. Refuses an owner that may not
/// enter.
pub fn admit_to_monitor(chat: &Chat, claims: &Claims, monitor: &str) -> Result<Entrant, Refusal> {
    admit_current(chat, claims)?;
    let entrant = chat.accounts.entrant(claims.user, monitor)?;
    match entrant.membership {
        Membership::Member => Ok(entrant),
        // The same answer for all, so that nobody can find out which monitors exist.
        Membership::NotAMember | Membership::NoSuchMonitor | Membership::NoAccount => Err(Reason::RoomDenied.into()),
    }
}
