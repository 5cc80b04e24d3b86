//! Taking a place in a room, the same at every door: join, replay what was said before, go live.

use super::session::Link;
use crate::{
    auth::token::Claims,
    chat::Chat,
    message::{Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    room::{member::Member, voice::Voice},
    socket::{close::Close, frame},
    store::{accounts::Membership, error::StoreError},
};
use std::{io, sync::Arc};

/// Replayed frames are joined into sends of about this many bytes.
const REPLAY_SEND: usize = 64 << 10;

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
/// The member must leave the room in the end.
pub fn take(
    link: &Link,
    room: &RoomName,
    user: &Arc<str>,
    voice: &'static dyn Voice,
    replay: Replay,
) -> Result<Arc<Member>, Close> {
    let rooms = &link.chat.rooms;
    let member = rooms.join(room, user.clone(), voice, link.outbound.clone());
    // Its lane holds everything for it, and history is read, before it sees the `101`: what is said from then on
    // is live for it, and missed by nobody.
    match replayed(link, &member, replay).and_then(|last| link.open().map(|()| last).map_err(gone)) {
        Ok(last) => {
            rooms.release(&member, last);
            link.seated(&member);
            Ok(member)
        }
        Err(close) => {
            rooms.leave(&member);
            Err(close)
        }
    }
}

/// Writes history to the member; answers the last id that it has now.
fn replayed(link: &Link, member: &Member, replay: Replay) -> Result<Option<MessageId>, Close> {
    link.chat.rooms.follow(&member.room).map_err(unavailable)?;
    let newest = match replay {
        Replay::Latest(count) => count,
        Replay::AsNewestSays(count) => {
            let newest = link.chat.log.history(&member.room.name, None, 1).map_err(unavailable)?;
            newest.first().map_or(0, count)
        }
        Replay::Since { after, or_say } => {
            if let Some(last) = replayed_since(link, member, after)? {
                return Ok(Some(last));
            }
            link.say(or_say);
            link.chat.config.history_on_join
        }
        Replay::Behind(None) => REPLAY_PAGE,
        Replay::Behind(Some(after)) => {
            if let Some(last) = replayed_since(link, member, after)? {
                return Ok(Some(last));
            }
            REPLAY_PAGE
        }
    };
    if newest == 0 {
        return Ok(None);
    }
    let messages = link.chat.log.history(&member.room.name, None, newest).map_err(unavailable)?;
    write(link, member, &messages)?;
    Ok(messages.last().map(|message| message.id))
}

fn replayed_since(link: &Link, member: &Member, after: MessageId) -> Result<Option<MessageId>, Close> {
    let mut last = after;
    loop {
        let page = link.chat.log.since(&member.room.name, last, REPLAY_PAGE).map_err(unavailable)?;
        let Some(messages) = page else { return Ok(None) };
        let Some(newest) = messages.last() else { return Ok(Some(last)) };
        last = newest.id;
        write(link, member, &messages)?;
    }
}

fn write(link: &Link, member: &Member, messages: &[Message]) -> Result<(), Close> {
    link.open().map_err(gone)?;
    let mut out = Vec::new();
    for message in messages {
        frame::text(&mut out, |out| member.voice.message(&member.room.name, message, out));
        if out.len() >= REPLAY_SEND {
            link.outbound.send_waiting(&std::mem::take(&mut out).into()).map_err(gone)?;
        }
    }
    if !out.is_empty() {
        link.outbound.send_waiting(&out.into()).map_err(gone)?;
    }
    Ok(())
}

fn gone(_: io::Error) -> Close {
    Close::SLOW
}

/// Why a socket is closed whose history can't be read.
pub fn unavailable(error: StoreError) -> Close {
    error.log("history can't be read");
    Close::UNAVAILABLE
}

/// Whether the owner of `claims` may enter the room of this monitor.
pub fn admit_to_monitor(chat: &Chat, claims: &Claims, monitor: &str) -> Result<(), Refusal> {
    match chat.accounts.membership(claims.user, monitor)? {
        Membership::Member => Ok(()),
        // The same answer, so that nobody can find out which monitors there are.
        Membership::NotAMember | Membership::NoSuchMonitor | Membership::NoAccount => Err(Reason::RoomDenied.into()),
    }
}
