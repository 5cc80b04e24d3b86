//! The channel door: clients with a ticket or with two tokens, at `/channel/[:room]`. JSON text frames with a `type`.

use super::{
    admission::{Admission, Door, Token},
    beginning,
    channel_change::{self, AskedChange, What},
    channel_frame::{self, Asked, ChannelEncoder},
    channel_history, channel_moderation,
    conversation::{Conversation, Link},
    join::{self, Replay},
    presented::{self, Presented},
};
use crate::{
    auth::token::{Claims, Issued, Kind},
    chat::Chat,
    config::doors::DoorName,
    entry::{NewChange, NewChangeKind, Reach, Unchangeable},
    event::{Event, Person},
    http::head::Head,
    limits::{
        places::{AddressPlace, Place},
        rights::LiveRights,
        turns::Claimant,
    },
    message::{Draft, MessageId, RoomName},
    recheck::{Access, CheckNumber, Pass},
    refusal::{Reason, Refusal},
    room::{member::Member, read_marks::Listening},
    socket::close::Close,
    store::{
        accounts::{Entrant, UserId},
        channels::Beginner,
        moderation::Rights,
    },
};
use std::{
    cell::Cell,
    sync::Arc,
    time::{Instant, SystemTime},
};

/// The room of a path that names no room.
const DEFAULT_ROOM: &str = "lobby";

pub struct Channel;

impl Door for Channel {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn switch(&self) -> DoorName {
        DoorName::Tickets
    }

    fn owns(&self, segments: &[String]) -> bool {
        matches!(segments, [first, rest @ ..] if first == "channel" && rest.len() <= 2)
    }

    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal> {
        let presented = presented::presented(head)?;
        let channel = channel(segments, presented.as_ref())?;
        let place = Destination { channel, since: since(head)? };
        let Some(presented) = presented else { return self.admit_stranger(chat, head, place) };
        let token = Token::verified(chat, &presented, |kind| matches!(kind, Kind::Connection(_)))?;
        token.opens(&place.channel)?;
        let check = chat.recheck.current();
        let (room, name, rights) = room(chat, &token.claims, &place.channel)?;
        let until = Instant::now() + chat.config.limits.auth_deadline;
        let stage = match token.claims.kind {
            Kind::Connection(Issued::TwoStep) => Stage::SecondStep { user: token.claims.user, until },
            _ => Stage::Invited(Invited {
                room: room.clone(),
                account: token.claims.user,
                epoch: token.claims.epoch.clone(),
                person: Person { user: token.claims.email.as_str().into(), name },
                rights,
                check,
            }),
        };
        let reuse = chat.config.ws_token_reuse && matches!(stage, Stage::SecondStep { .. });
        let mut admission = token.admission(chat, &room, Box::new(ChannelConversation { place, stage }));
        if reuse {
            admission.spend = None;
        }
        Ok(admission)
    }

    /// These clients expect the same status for a missing ticket as for a wrong one.
    fn status(&self, reason: Reason) -> u16 {
        match reason {
            Reason::TokenMissing => 401,
            other => other.status(),
        }
    }
}

impl Channel {
    /// Lets in a client without a token, if a place to wait in is free. Its first message must bring the token.
    ///
    /// A token parameter that is there but empty was lost on the way: its client would wait for ever, and send no first
    /// message.
    fn admit_stranger(&self, chat: &Arc<Chat>, head: &Head, place: Destination) -> Result<Admission, Refusal> {
        if !chat.config.first_message_auth || presented::is_empty(head) {
            return Err(Reason::TokenMissing.into());
        }
        let share = chat.unauthenticated_by_address.take(head.client).ok_or_else(|| {
            let sentence =
                "Too many connections from your address are waiting for a token; use a ticket, or try again later.";
            Refusal::new(Reason::Overloaded, sentence)
        })?;
        let waiting = chat.unauthenticated.take().ok_or_else(|| {
            Refusal::new(
                Reason::Overloaded,
                "Too many connections are waiting for a token; use a ticket, or try again later.",
            )
        })?;
        let until = Instant::now() + chat.config.limits.auth_deadline;
        let stage = Stage::Stranger { _waiting: (waiting, share), until };
        Ok(Admission { spend: None, conversation: Box::new(ChannelConversation { place, stage }) })
    }
}

/// Where a client wants to go.
struct Destination {
    channel: String,
    since: Option<MessageId>,
}

/// The channel of a path, without the token that may be the second segment.
fn channel(segments: &[String], presented: Option<&Presented>) -> Result<String, Refusal> {
    let name = match (segments, presented.is_some_and(|presented| presented.in_path)) {
        ([_] | [_, _], true) | ([_], false) => DEFAULT_ROOM,
        ([_, _, name], true) | ([_, name], false) => name,
        _ => return Err(Reason::NotFound.into()),
    };
    if !RoomName::is_fit(name) {
        return Err(Refusal::new(
            Reason::BadRequest,
            "A channel's name has at most 256 bytes and no control characters.",
        ));
    }
    Ok(name.to_owned())
}

fn since(head: &Head) -> Result<Option<MessageId>, Refusal> {
    match head.query_values("since")?.first() {
        None => Ok(None),
        Some(id) => match MessageId::parse(id) {
            Some(id) => Ok(Some(id)),
            None => Err(Refusal::new(Reason::BadRequest, "`since` must be the id of a message.")),
        },
    }
}

/// The room of a channel, the name of the token's owner, and the owner's rights there. Refuses an owner that may not
/// enter.
fn room(chat: &Chat, claims: &Claims, channel: &str) -> Result<(RoomName, Option<Arc<str>>, Rights), Refusal> {
    join::admit_current(chat, claims)?;
    let Entrant { membership, name, rights } = chat.accounts.entrant(claims.user, channel)?;
    Ok((membership.room(channel).ok_or(Reason::RoomDenied)?, name, rights))
}

/// One client at the channel door.
struct ChannelConversation {
    place: Destination,
    stage: Stage,
}

/// How far a client has come.
enum Stage {
    /// No token yet: the first message must bring it.
    Stranger {
        _waiting: (Place, AddressPlace),
        until: Instant,
    },
    /// The first of two tokens was valid; the access token of this user must follow.
    SecondStep {
        user: UserId,
        until: Instant,
    },
    /// May enter as soon as the socket is open.
    Invited(Invited),
    In {
        member: Arc<Member>,
        rights: Arc<LiveRights>,
        account: UserId,
        /// Whether the room has a message, so that no more are needed to begin it.
        begun: Cell<bool>,
        _listening: Listening,
        _pass: Pass,
    },
    Out,
}

/// Who may enter which room.
struct Invited {
    room: RoomName,
    account: UserId,
    epoch: Option<String>,
    person: Person,
    rights: Rights,
    /// Asked for before the account's access was looked up.
    check: CheckNumber,
}

impl Conversation for ChannelConversation {
    fn opened(&mut self, link: &Link) -> Result<(), Close> {
        match std::mem::replace(&mut self.stage, Stage::Out) {
            Stage::Invited(invited) => self.enter(link, invited),
            waiting => {
                self.stage = waiting;
                Ok(())
            }
        }
    }

    fn heard(&mut self, link: &Link, text: &str) -> Result<(), Close> {
        match &self.stage {
            Stage::In { member, rights, account, begun, .. } => {
                self.talk(link, member, (*account, rights, begun), text);
                Ok(())
            }
            Stage::Stranger { .. } => self.identify(link, None, text),
            Stage::SecondStep { user, .. } => {
                let user = *user;
                self.identify(link, Some(user), text)
            }
            Stage::Invited(_) | Stage::Out => Ok(()),
        }
    }

    fn error(&self, reason: Reason, sentence: &str) -> String {
        channel_frame::error(reason.word(), sentence, None)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Stranger { until, .. } | Stage::SecondStep { until, .. } => Some(until),
            Stage::Invited(_) | Stage::In { .. } | Stage::Out => None,
        }
    }

    fn closed(&mut self, link: &Link) {
        if let Stage::In { member, .. } = std::mem::replace(&mut self.stage, Stage::Out) {
            link.chat.rooms.leave(&member);
        }
    }
}

impl ChannelConversation {
    /// Reads the first message of a client without an identity. Anything but a valid token ends the connection.
    fn identify(&mut self, link: &Link, expected: Option<UserId>, text: &str) -> Result<(), Close> {
        let claims = match access_token(link, expected, text) {
            Ok(claims) => claims,
            Err(reason) => return Err(turned_away(link, reason)),
        };
        let check = link.chat.recheck.current();
        let (room, name, rights) =
            room(&link.chat, &claims, &self.place.channel).map_err(|no| turned_away(link, no.reason))?;
        // Frees a stranger's place before the client can know that it is free.
        self.stage = Stage::Out;
        link.say("authentication successful");
        let (account, person) = (claims.user, Person { user: claims.email.as_str().into(), name });
        self.enter(link, Invited { room, account, epoch: claims.epoch, person, rights, check })
    }

    fn enter(&mut self, link: &Link, invited: Invited) -> Result<(), Close> {
        let Invited { room, account, epoch, person, rights, check } = invited;
        let gone =
            channel_frame::error("reload", "Some messages after that one are no longer kept; reload the room.", None);
        let replay = match self.place.since {
            Some(after) => Replay::Since { after, or_say: &gone },
            None => Replay::Latest(link.chat.config.history_on_join),
        };
        link.speaks_for(account);
        let rights = LiveRights::of(rights);
        let access = Access::Account { user: account, epoch, room: room.clone(), rights: rights.clone() };
        // Before the replay, which lasts as long as its reader likes.
        let _pass = link.recheck(check, access);
        let claimed = (Claimant::Account(account), replay);
        let member = join::enter(link, &room, person, &ChannelEncoder, claimed)?;
        let _listening = link.chat.read_marks.listen(account, room, &link.outbound, channel_frame::read);
        self.stage = Stage::In { member, rights, account, begun: Cell::new(false), _listening, _pass };
        Ok(())
    }

    fn talk(
        &self,
        link: &Link,
        member: &Arc<Member>,
        (account, rights, begun): (UserId, &LiveRights, &Cell<bool>),
        text: &str,
    ) {
        let asked = Asked::parse(text);
        if let Ok(asked) = &asked
            && asked.is_heard_by_others()
            && let Some(muted) = rights.muted()
        {
            link.chat.metrics.refused(Reason::Muted);
            return link.say(&channel_moderation::error(muted, asked.reference()));
        }
        match asked {
            Ok(Asked::Message { text, reference, reply_to }) => {
                let (room, Person { user: sender, name }) = (member.room.name.clone(), member.person.clone());
                if !begun.get() && !may_begin(link, &room, account, reference.as_deref()) {
                    return;
                }
                begun.set(true);
                if !is_prepared(link, &room, reply_to, reference.as_deref()) {
                    return;
                }
                link.chat.rooms.post(member, Draft { name, reference, reply_to, ..Draft::new(room, sender, text) });
            }
            Ok(Asked::Change(asked)) => change(link, member, rights, asked),
            Ok(Asked::Mute(asked)) => asked.handle(link, member, rights.may_moderate()),
            Ok(Asked::History { from, limit }) => {
                channel_history::answer(link, &member.room.name, Claimant::Account(account), from, limit);
            }
            Ok(Asked::Search(asked)) => asked.answer(link, &member.room.name, account),
            Ok(Asked::Read { id }) => read(link, member, account, id),
            Ok(Asked::Typing) => {
                let event = Event::Typing(member.person.clone());
                link.chat.rooms.announce(&member.room, event, Some(member.id()));
            }
            Ok(Asked::Presence) => {
                let here = link.chat.rooms.everybody(&member.room);
                link.say(&channel_frame::presence(&here, link.outbound.limit() / 2));
            }
            Ok(Asked::Echo { text }) => link.say(&format!("echo: {text}")),
            Ok(Asked::Ping) => link.say(r#"{"type":"pong"}"#),
            Err(error) => link.say(&channel_frame::error(error.code, error.sentence, error.reference.as_deref())),
        }
    }
}

/// The access token in a first message: of any user, or of the user that the first token named.
fn access_token(link: &Link, expected: Option<UserId>, text: &str) -> Result<Claims, Reason> {
    let token = channel_frame::first_message_token(text, expected.is_none()).ok_or(Reason::TokenMissing)?;
    let verified = link.chat.config.keys.verify(&token, |kind| kind == Kind::Access, SystemTime::now());
    let claims = verified.map_err(|refusal| refusal.reason)?.claims;
    match expected {
        Some(user) if user != claims.user => Err(Reason::TokenWrongKind),
        _ => Ok(claims),
    }
}

/// The close for a client whose first message did not identify it.
fn turned_away(link: &Link, reason: Reason) -> Close {
    link.chat.metrics.refuse(reason.into(), link.client, Channel.name(), |_| match reason {
        Reason::Unavailable => Close::UNAVAILABLE,
        reason => Close::policy(reason.word()),
    })
}

/// Whether the account may begin this room, if nobody has yet; else its client is told that nothing is stored.
fn may_begin(link: &Link, room: &RoomName, account: UserId, reference: Option<&str>) -> bool {
    let Err(refusal) = beginning::may_say(&link.chat, room, Beginner::Account(account)) else { return true };
    link.chat.metrics.refused(refusal.reason);
    let sentence = if refusal.reason == Reason::Unavailable { channel_frame::NOT_STORED } else { &refusal.sentence };
    link.say(&channel_frame::error(refusal.reason.word(), sentence, reference));
    false
}

/// Whether the log can find the message that is to be changed or answered; else its client is told that nothing is stored.
fn is_prepared(link: &Link, room: &RoomName, of: Option<MessageId>, reference: Option<&str>) -> bool {
    let Some(Err(error)) = of.map(|of| link.chat.log.prepare(room, of)) else { return true };
    error.log("what is about an older message is not stored");
    link.chat.metrics.refused(Reason::Unavailable);
    link.say(&channel_frame::error(Reason::Unavailable.word(), channel_frame::NOT_STORED, reference));
    false
}

/// Hands a change to the log, with the reach that the member's rights allow.
fn change(link: &Link, member: &Arc<Member>, rights: &LiveRights, AskedChange { of, what, reference }: AskedChange) {
    let reach = if rights.may_moderate() && what == What::Delete { Reach::Any } else { Reach::Own };
    let kind = match what {
        What::Edit { text } => {
            NewChangeKind::Edit { text, since: link.chat.config.edit_window.begins(SystemTime::now()) }
        }
        What::Delete => NewChangeKind::Delete,
        What::React { emoji, on } => NewChangeKind::React { emoji, on },
    };
    let (room, by) = (member.room.name.clone(), member.person.user.clone());
    if !is_prepared(link, &room, Some(of), reference.as_deref()) {
        return;
    }
    link.chat.rooms.post(member, NewChange { room, of, by, kind, reach, reference });
}

/// Notes that an account has read the room up to a message.
fn read(link: &Link, member: &Member, account: UserId, id: MessageId) {
    let room = &member.room.name;
    let (code, sentence) = match link.chat.log.message(room, id) {
        Ok(Some(_)) if link.chat.read_marks.mark(account, room, id, link.outbound.id()) => return,
        Ok(None) => {
            let refused = channel_change::refused(Unchangeable::NoSuchMessage);
            (refused.code, refused.sentence)
        }
        Ok(Some(_)) | Err(_) => ("unavailable", "Your read mark can't be stored at the moment; send it again."),
    };
    link.say(&channel_frame::error(code, sentence, None));
}
