//! Taking a place in a room, the same at every door: join, replay what was said before, go live.

use super::session::Link;
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

/// Which messages a newcomer hears first.
#[derive(Clone, Copy, Debug)]
pub enum Replay<'a> {
    /// So many of the last ones.
    Latest(usize),
    /// So many of the last ones as this reads from the newest.
    AsNewestSays(fn(&Message) -> usize),
    /// All after this one; or, if they are not all kept any more, this text and then the latest
    /// `HISTORY_ON_JOIN`.
    Since { after: MessageId, or_say: &'a str },
    /// All that came after this one, which was the last (`None`: the room was empty) a moment ago.
    Behind(Option<MessageId>),
}

/// Joins `room` and replays: no gap and no double between history and live messages.
///
/// Pages are read in turn with others: `claimant` says whose turn it is. The member must leave the room in the end.
pub fn enter(
    link: &Link,
    room: &RoomName,
    person: Person,
    encoder: &'static dyn Encoder,
    (claimant, replay): (Claimant, Replay),
) -> Result<Arc<Member>, Close> {
    let rooms = &link.chat.rooms;
    let member = rooms.join(room, person, encoder, link.outbound.clone());
    // Its lane holds everything for it, and history is read, before it sees the `101`: what is said from then on
    // is live for it, and missed by nobody.
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

/// Writes history to the member; answers the last id that it has now.
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

/// Writes the newest messages, so many.
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
        // Long messages are read a page at a time: the first of them is where the replay begins.
        while left > 0
            && is_full_page(&page)
            && let Some(first) = page.first()
        {
            // Others have theirs in between.
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
        // What followed was trimmed meanwhile: it goes on with what is kept.
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

/// Writes a page, or as much of it as its socket's queue has room for beside what else may come. Answers the last
/// entry that was written.
///
/// Whoever waits for the socket holds nothing but the frames in its queue, which are counted, and no turn.
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
    Ok(last)
}

fn gone(_: io::Error) -> Close {
    Close::SLOW
}

/// Why a socket is closed whose history can't be read.
pub fn unavailable(error: StoreError) -> Close {
    error.log("history can't be read");
    Close::UNAVAILABLE
}

/// Refuses a token that was issued before its account's password was changed or its access revoked.
pub fn admit_current(chat: &Chat, claims: &Claims) -> Result<(), Refusal> {
    // Of an account that is gone something else is said.
    let ended = chat.accounts.epoch(claims.user)?.is_some_and(|epoch| epoch.ended(claims.epoch.as_deref()));
    if ended { Err(Reason::TokenRevoked.into()) } else { Ok(()) }
}

/// Who the owner of `claims` is in the room of this monitor, if it may enter.
pub fn admit_to_monitor(chat: &Chat, claims: &Claims, monitor: &str) -> Result<Entrant, Refusal> {
    admit_current(chat, claims)?;
    let entrant = chat.accounts.entrant(claims.user, monitor)?;
    match entrant.membership {
        Membership::Member => Ok(entrant),
        // The same answer, so that nobody can find out which monitors there are.
        Membership::NotAMember | Membership::NoSuchMonitor | Membership::NoAccount => Err(Reason::RoomDenied.into()),
    }
}
