//! What moderators ask for in the channel protocol, and what a muted member hears.

use super::{
    channel_fields::{self, FrameError, bad, reference, string},
    conversation::Link,
    json_input,
};
use crate::{
    limits::rights::{Muted, mute_ends},
    message::RoomName,
    refusal::Reason,
    room::member::Member,
    store::{
        accounts::{MAX_EMAIL, Membership},
        error::StoreError,
        moderation::FOR_GOOD,
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What a moderator asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct AskedMute {
    /// The account's email address, as the room shows it.
    pub user: Box<str>,
    pub what: What,
    pub reference: Option<Box<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// For this many seconds; with `None` until it is taken back.
    Mute {
        seconds: Option<u64>,
    },
    Unmute,
}

impl AskedMute {
    /// Reads a frame of type `kind`; `None` if that is no type of moderation.
    pub fn parse(kind: &str, object: &Map<String, Value>) -> Option<Result<AskedMute, FrameError>> {
        let what = match kind {
            "mute" => seconds(object).map(|seconds| What::Mute { seconds }),
            "unmute" => Ok(What::Unmute),
            _ => return None,
        };
        Some(what.and_then(|what| {
            let user = string(object, "user").filter(|user| (1..=MAX_EMAIL).contains(&user.len()));
            let user = user.ok_or(bad("This needs `user`, the email address of a member."))?;
            Ok(AskedMute { user: user.into(), what, reference: reference(object)? })
        }))
    }

    /// Carries it out, if the member may ask for it, and reports the outcome.
    pub fn handle(&self, link: &Link, member: &Member, is_moderator: bool) {
        let outcome = if is_moderator { self.carried_out(link, member) } else { Err(NOT_A_MODERATOR) };
        match outcome {
            Ok(said) => link.say(&said),
            Err(FrameError { code, sentence, .. }) => {
                link.say(&channel_fields::error(code, sentence, self.reference.as_deref()));
            }
        }
    }

    fn carried_out(&self, link: &Link, member: &Member) -> Result<String, FrameError> {
        let (accounts, room) = (&link.chat.accounts, &member.room.name);
        let account = accounts.by_email(&self.user).map_err(unavailable)?.ok_or(NO_SUCH_MEMBER)?;
        if accounts.membership(account.id, room.local()).map_err(unavailable)? != Membership::Member {
            return Err(NO_SUCH_MEMBER);
        }
        let rights = accounts.rights(&[(account.id, room)]).map_err(unavailable)?;
        if rights.first().is_some_and(|rights| rights.moderator) {
            return Err(OTHER_MODERATOR);
        }
        let (kind, until) = match self.what {
            What::Mute { seconds } => ("muted", Some(mute_ends(seconds))),
            What::Unmute => ("unmuted", None),
        };
        match until {
            // Members of a monitor are no more than its operators want.
            Some(until) => drop(accounts.mute(room, account.id, until, None).map_err(unavailable)?),
            None => drop(accounts.unmute(room, account.id).map_err(unavailable)?),
        }
        link.chat.recheck.mute(account.id, room, until);
        log(room, kind, account.id.0, &member.person.user);
        let mut said = json!({"type": kind, "user": account.email});
        if let Some(until) = until {
            said["until"] = time(Some(until).filter(|until| *until != FOR_GOOD));
        }
        if let Some(reference) = &self.reference {
            said["ref"] = (**reference).into();
        }
        Ok(said.to_string())
    }
}

fn seconds(object: &Map<String, Value>) -> Result<Option<u64>, FrameError> {
    match object.get("seconds") {
        None | Some(Value::Null) => Ok(None),
        Some(seconds) => match json_input::whole(seconds) {
            Some(seconds @ 1..) => Ok(Some(seconds.unsigned_abs())),
            _ => Err(bad("`seconds` must be a whole number from 1; without it the mute has no end.")),
        },
    }
}

fn log(room: &RoomName, what: &'static str, account: i64, by: &str) {
    tracing::info!(room = room.as_str(), what, account, by, "moderation");
}

const NOT_A_MODERATOR: FrameError =
    FrameError { code: "not_moderator", sentence: "Only moderators of this room may do that.", reference: None };

const NO_SUCH_MEMBER: FrameError =
    FrameError { code: "no_such_member", sentence: "No member of this room has this email address.", reference: None };

const OTHER_MODERATOR: FrameError = FrameError {
    code: "not_yours",
    sentence: "That member is a moderator too; only the operators can mute moderators.",
    reference: None,
};

fn unavailable(error: StoreError) -> FrameError {
    error.log("a mute can't be kept");
    FrameError { code: "unavailable", ..bad("That can't be done at the moment; try again.") }
}

/// A time as frames write it; `null` for `None`.
fn time(millis: Option<u64>) -> Value {
    let time = millis.and_then(|millis| Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok());
    time.map_or(Value::Null, |time| format!("{time:.3}").into())
}

/// What a muted client hears: adds `until` (a time or `null`) to an object with the word and the sentence.
pub fn said_to(muted: Muted, mut frame: Value) -> String {
    frame["until"] = time(muted.until);
    frame.to_string()
}

/// The same as an error of the channel protocol.
pub fn error(muted: Muted, reference: Option<&str>) -> String {
    let mut frame = json!({"type": "error", "code": Reason::Muted.word(), "message": Reason::Muted.sentence()});
    if let Some(reference) = reference {
        frame["ref"] = reference.into();
    }
    said_to(muted, frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(frame: Value) -> Result<AskedMute, FrameError> {
        let object = frame.as_object().unwrap();
        AskedMute::parse(object["type"].as_str().unwrap(), object).unwrap()
    }

    #[test]
    fn a_mute_names_a_member_and_perhaps_for_how_long() {
        for (seconds, expected) in [(Value::Null, None), (json!(60), Some(60)), (json!(60.0), Some(60))] {
            let asked = parse(json!({"type": "mute", "user": "b@x", "seconds": seconds, "ref": "m"})).unwrap();
            assert_eq!(asked.what, What::Mute { seconds: expected });
            assert_eq!((&*asked.user, asked.reference.as_deref()), ("b@x", Some("m")));
        }
        for wrong in [
            json!({"type": "mute"}),
            json!({"type": "mute", "user": ""}),
            json!({"type": "mute", "user": 7}),
            json!({"type": "unmute", "user": "x".repeat(255)}),
            json!({"type": "mute", "user": "b@x", "seconds": 0}),
            json!({"type": "mute", "user": "b@x", "seconds": -1}),
            json!({"type": "mute", "user": "b@x", "seconds": 1.5}),
            json!({"type": "mute", "user": "b@x", "seconds": "60"}),
            json!({"type": "unmute", "user": "b@x", "ref": ""}),
        ] {
            assert_eq!(parse(wrong.clone()).unwrap_err().code, "bad_frame", "{wrong}");
        }
    }

    #[test]
    fn who_is_muted_hears_until_when() {
        let read = |until| -> Value { serde_json::from_str(&error(Muted { until }, Some("r"))).unwrap() };
        assert_eq!(read(Some(1_767_323_045_678))["until"], "2026-01-02T03:04:05.678Z");
        let without_end = read(None);
        assert_eq!((&without_end["until"], &without_end["code"]), (&Value::Null, &"muted".into()));
        assert_eq!(without_end["ref"], "r");
    }
}
