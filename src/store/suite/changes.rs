//! What becomes of messages.

use super::{ALICE, append, draft, fresh_room, say, stored, texts};
use crate::{
    entry::{Change, ChangeKind, Entry, MAX_EMOJI, NewChange, NewChangeKind, NewEntry, Reach, Unchangeable},
    message::{Draft, Message, MessageId, Reaction, RoomName},
    store::log::{Appended, MessageLog},
};
use proptest::{prelude::*, test_runner::TestRunner};
use std::collections::BTreeMap;
use uuid::Uuid;

const BOB: &str = "bob@propromo.example";

pub(crate) fn change(room: &RoomName, of: MessageId, by: &str, kind: NewChangeKind) -> NewChange {
    NewChange { room: room.clone(), of, by: by.into(), kind, reach: Reach::Own, reference: None }
}

fn edit(text: &str) -> NewChangeKind {
    NewChangeKind::Edit { text: text.into(), since: 0 }
}

fn react(emoji: &str, on: bool) -> NewChangeKind {
    NewChangeKind::React { emoji: emoji.into(), on }
}

/// Makes one change.
pub(crate) fn make(log: &dyn MessageLog, change: NewChange) -> Result<MessageId, Unchangeable> {
    match log.append(&[change.into()]).unwrap()[..] {
        [Appended::Stored(id)] => Ok(id),
        [Appended::Refused(why)] => Err(why),
        ref other => panic!("{other:?}"),
    }
}

fn since(log: &dyn MessageLog, room: &RoomName, after: MessageId) -> Vec<Entry> {
    log.since(room, after, 1000).unwrap().expect("the entry is known")
}

fn changes(entries: &[Entry]) -> Vec<&Change> {
    let mut changes = Vec::new();
    for entry in entries {
        if let Entry::Change(change) = entry {
            changes.push(change);
        }
    }
    changes
}

pub(crate) fn an_edit_is_seen_in_history_in_since_and_by_id(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["helo", "b"]);
    let first = make(log, change(&room, ids[0], ALICE, edit("hello"))).unwrap();
    let second = make(log, change(&room, ids[0], ALICE, edit("hello!"))).unwrap();
    assert!(ids[1] < first && first < second);
    let history = log.history(&room, None, 10).unwrap();
    assert_eq!(texts(&history), ["hello!", "b"]);
    assert_eq!(history[0].edited, Some(second));
    assert!(log.message(&room, ids[0]).unwrap().unwrap() == history[0]);
    let followed = since(log, &room, ids[1]);
    let told: Vec<_> = changes(&followed).iter().map(|change| (change.id, change.of, &*change.by)).collect();
    assert_eq!(told, [(first, ids[0], ALICE), (second, ids[0], ALICE)]);
    assert!(changes(&followed).iter().all(|change| change.kind == ChangeKind::Edited(Some("hello!".into()))));
}

pub(crate) fn a_deleted_message_is_gone_and_since_it_all_that_follows_is_known(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "secret", "c"]);
    let edited = make(log, change(&room, ids[1], ALICE, edit("a secret"))).unwrap();
    let reacted = make(log, change(&room, ids[1], BOB, react("👍", true))).unwrap();
    let deleted = make(log, change(&room, ids[1], ALICE, NewChangeKind::Delete)).unwrap();
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "c"]);
    assert!(log.message(&room, ids[1]).unwrap().is_none());
    let followed = since(log, &room, ids[1]);
    let all: Vec<MessageId> = followed.iter().map(Entry::id).collect();
    assert_eq!(all, [ids[2], edited, reacted, deleted]);
    let kinds: Vec<_> = changes(&followed).into_iter().map(|change| &change.kind).collect();
    assert!(*kinds[0] == ChangeKind::Edited(None) && *kinds[2] == ChangeKind::Deleted);
    for again in [edit("back"), NewChangeKind::Delete, react("👍", true)] {
        assert_eq!(make(log, change(&room, ids[1], ALICE, again)), Err(Unchangeable::NoSuchMessage));
    }
    assert!(since(log, &room, deleted).is_empty());
}

pub(crate) fn between_messages_that_follow_changes_are_passed_over(log: &dyn MessageLog) {
    let room = fresh_room();
    let first = say(log, &room, &["a"])[0];
    for n in 0..300 {
        make(log, change(&room, first, BOB, react("👍", n % 2 == 0))).unwrap();
    }
    let ids = say(log, &room, &["b", "c", "d"]);
    make(log, change(&room, ids[0], ALICE, edit("B"))).unwrap();
    make(log, change(&room, ids[1], ALICE, NewChangeKind::Delete)).unwrap();
    let followed = log.newer(&room, first, 2).unwrap();
    assert_eq!(texts(&followed), ["B", "d"]);
    assert!(followed[0].edited.is_some());
    // What is gone is still a place.
    assert_eq!(texts(&log.newer(&room, ids[1], 2).unwrap()), ["d"]);
}

pub(crate) fn a_deleted_message_can_not_be_made_again_by_its_reference(log: &dyn MessageLog) {
    let room = fresh_room();
    let marked = Draft { reference: Some("r".into()), ..draft(&room, "once") };
    let id = stored(&append(log, [marked.clone()]))[0];
    make(log, change(&room, id, ALICE, NewChangeKind::Delete)).unwrap();
    assert_eq!(append(log, [marked]), [Appended::Repeated(id)]);
    assert!(log.history(&room, None, 10).unwrap().is_empty());
}

pub(crate) fn reactions_are_told_in_the_order_in_which_they_came(log: &dyn MessageLog) {
    let room = fresh_room();
    let id = say(log, &room, &["a"])[0];
    for (by, emoji, on) in
        [(BOB, "🎉", true), (ALICE, "👍", true), (BOB, "👍", true), (BOB, "🎉", false), (ALICE, "🎉", true)]
    {
        make(log, change(&room, id, by, react(emoji, on))).unwrap();
    }
    let mut reactions = log.history(&room, None, 1).unwrap().remove(0).reactions;
    reactions.sort_by(|one, other| one.emoji.cmp(&other.emoji));
    let reaction = |emoji: &str, users: &[&str]| Reaction {
        emoji: emoji.into(),
        users: users.iter().map(|user| (*user).into()).collect(),
    };
    assert_eq!(reactions, [reaction("🎉", &[ALICE]), reaction("👍", &[ALICE, BOB])]);
    assert_eq!(make(log, change(&room, id, ALICE, react("🎉", true))), Err(Unchangeable::Unchanged));
    assert_eq!(make(log, change(&room, id, BOB, react("🎉", false))), Err(Unchangeable::Unchanged));
    assert_eq!(changes(&since(log, &room, id)).len(), 5);
}

pub(crate) fn a_reply_to_what_is_gone_stands_alone(log: &dyn MessageLog) {
    let (room, other) = (fresh_room(), fresh_room());
    let ids = say(log, &room, &["a", "b"]);
    let elsewhere = say(log, &other, &["c"])[0];
    let gone = make(log, change(&room, ids[1], ALICE, NewChangeKind::Delete)).unwrap();
    let reply = |to: MessageId| Draft { reply_to: Some(to), ..draft(&room, "reply") };
    let forged = MessageId(Uuid::from_u128(ids[0].0.as_u128() ^ 1));
    let appended = append(log, [reply(ids[0]), reply(ids[1]), reply(elsewhere), reply(gone), reply(forged)]);
    assert!(matches!(appended[0], Appended::Stored(_)));
    assert!(appended[1..].iter().all(|appended| matches!(appended, Appended::StoredAlone(_))), "{appended:?}");
    let replies: Vec<_> = log.history(&room, None, 5).unwrap().iter().map(|message| message.reply_to).collect();
    assert_eq!(replies, [Some(ids[0]), None, None, None, None]);
}

pub(crate) fn names_and_replies_are_read_back(log: &dyn MessageLog) {
    let room = fresh_room();
    let first = say(log, &room, &["a"])[0];
    let named = Draft {
        name: Some("Ann \u{1f980} Lee".into()),
        reply_to: Some(first),
        extra: Some("extra".into()),
        ..draft(&room, "hi")
    };
    let id = stored(&append(log, [named.clone()]))[0];
    assert!(log.history(&room, None, 1).unwrap()[0] == named.stored(id, false));
}

pub(crate) fn a_change_that_may_not_be_is_refused_and_changes_nothing(log: &dyn MessageLog) {
    let (room, other) = (fresh_room(), fresh_room());
    let ids = say(log, &room, &["a", "b"]);
    let elsewhere = say(log, &other, &["c"])[0];
    let edited = make(log, change(&room, ids[0], ALICE, edit("A"))).unwrap();
    let before = (log.history(&room, None, 10).unwrap(), since(log, &room, ids[0]));
    let forged = MessageId(Uuid::from_u128(ids[0].0.as_u128() ^ 1));
    for id in [elsewhere, edited, forged, MessageId::BEFORE_ALL] {
        for kind in [edit("x"), NewChangeKind::Delete, react("👍", true), react("👍", false)] {
            assert_eq!(make(log, change(&room, id, ALICE, kind)), Err(Unchangeable::NoSuchMessage), "{id}");
        }
    }
    let nowhere = change(&fresh_room(), ids[0], ALICE, edit("x"));
    assert_eq!(make(log, nowhere), Err(Unchangeable::NoSuchMessage));
    let late = NewChangeKind::Edit { text: "x".into(), since: ids[1].millis() + 1 };
    for (by, kind, why) in [
        (BOB, edit("x"), Unchangeable::NotYours),
        (BOB, NewChangeKind::Delete, Unchangeable::NotYours),
        (ALICE, late, Unchangeable::TooLate),
        (ALICE, edit("b"), Unchangeable::Unchanged),
    ] {
        assert_eq!(make(log, change(&room, ids[1], by, kind)), Err(why));
    }
    assert!((log.history(&room, None, 10).unwrap(), since(log, &room, ids[0])) == before);
    let any = NewChange { reach: Reach::Any, ..change(&room, ids[1], BOB, NewChangeKind::Delete) };
    make(log, any).unwrap();
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["A"]);
}

pub(crate) fn one_message_has_twenty_different_emoji(log: &dyn MessageLog) {
    let room = fresh_room();
    let id = say(log, &room, &["a"])[0];
    let emoji = |n: usize| char::from_u32(0x1f600 + n as u32).unwrap().to_string();
    for n in 0..MAX_EMOJI {
        make(log, change(&room, id, ALICE, react(&emoji(n), true))).unwrap();
    }
    assert_eq!(make(log, change(&room, id, BOB, react("👍", true))), Err(Unchangeable::TooManyEmoji));
    make(log, change(&room, id, BOB, react(&emoji(0), true))).unwrap();
    make(log, change(&room, id, ALICE, react(&emoji(1), false))).unwrap();
    make(log, change(&room, id, BOB, react("👍", true))).unwrap();
}

pub(crate) fn changes_in_one_batch_with_their_message_are_made_in_order(log: &dyn MessageLog) {
    let room = fresh_room();
    let id = say(log, &room, &["a"])[0];
    let batch: [NewEntry; 5] = [
        draft(&room, "b").into(),
        change(&room, id, ALICE, edit("A")).into(),
        change(&room, id, BOB, edit("x")).into(),
        draft(&room, "c").into(),
        change(&room, id, ALICE, NewChangeKind::Delete).into(),
    ];
    let appended = log.append(&batch).unwrap();
    assert_eq!(appended[2], Appended::Refused(Unchangeable::NotYours));
    let ids: Vec<MessageId> = since(log, &room, id).iter().map(Entry::id).collect();
    let made: Vec<MessageId> = appended
        .iter()
        .filter_map(|appended| match appended {
            Appended::Stored(id) => Some(*id),
            _ => None,
        })
        .collect();
    assert!(ids == made && ids.is_sorted());
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["b", "c"]);
}

pub(crate) fn since_a_change_only_what_came_after_it_is_told(log: &dyn MessageLog) {
    let room = fresh_room();
    let id = say(log, &room, &["a"])[0];
    let first = make(log, change(&room, id, ALICE, edit("b"))).unwrap();
    let next = say(log, &room, &["c"])[0];
    let second = make(log, change(&room, id, BOB, react("👍", true))).unwrap();
    let ids = |after, limit| {
        let entries = log.since(&room, after, limit).unwrap().unwrap();
        entries.iter().map(Entry::id).collect::<Vec<_>>()
    };
    assert_eq!(ids(first, 10), [next, second]);
    assert_eq!(ids(first, 1), [next]);
    assert_eq!(ids(id, 2), [first, next]);
    let forged = MessageId(Uuid::from_u128(first.0.as_u128() ^ 1));
    assert!(log.since(&room, forged, 10).unwrap().is_none());
}

pub(crate) fn a_forgotten_rooms_changes_are_forgotten(log: &dyn MessageLog) {
    let room = fresh_room();
    let id = say(log, &room, &["a"])[0];
    make(log, change(&room, id, ALICE, edit("b"))).unwrap();
    let last = make(log, change(&room, id, ALICE, react("👍", true))).unwrap();
    log.forget(&room).unwrap();
    let new = say(log, &room, &["c"])[0];
    assert!(new > last);
    assert!(log.since(&room, last, 10).unwrap().is_none());
    assert_eq!(make(log, change(&room, id, ALICE, edit("x"))), Err(Unchangeable::NoSuchMessage));
    assert!(log.history(&room, None, 10).unwrap()[0].reactions.is_empty());
}

/// What a client shows: it begins with messages, and takes in whatever it hears.
#[derive(Default, PartialEq)]
pub(crate) struct Shown(BTreeMap<MessageId, Looks>);

/// Text, whether it was edited, who reacted with which emoji.
type Looks = (String, bool, BTreeMap<String, Vec<String>>);

impl Shown {
    pub(crate) fn hear(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(message) => self.show(message),
            Entry::Change(Change { of, by, kind, .. }) => {
                let Some((text, edited, reactions)) = self.0.get_mut(of) else { return };
                match kind {
                    ChangeKind::Edited(None) => {}
                    ChangeKind::Edited(Some(new)) => (*text, *edited) = (new.to_string(), true),
                    ChangeKind::Deleted => drop(self.0.remove(of)),
                    ChangeKind::Reacted { emoji, on } => {
                        let users = reactions.entry(emoji.to_string()).or_default();
                        users.retain(|user| **user != **by);
                        if *on {
                            users.push(by.to_string());
                            users.sort();
                        }
                        if users.is_empty() {
                            reactions.remove(&**emoji);
                        }
                    }
                }
            }
        }
    }

    fn show(&mut self, message: &Message) {
        let reactions = message.reactions.iter().map(|Reaction { emoji, users }| {
            let mut users: Vec<String> = users.iter().map(ToString::to_string).collect();
            users.sort();
            (emoji.to_string(), users)
        });
        self.0.insert(message.id, (message.text.to_string(), message.edited.is_some(), reactions.collect()));
    }

    pub(crate) fn of(messages: &[Message]) -> Shown {
        let mut shown = Shown::default();
        messages.iter().for_each(|message| shown.show(message));
        shown
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say,
    Change {
        which: usize,
        by: bool,
        what: u8,
        emoji: usize,
    },
    /// A client goes away, and comes back at the end.
    Leave {
        pages: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Say),
        5 => (0usize..12, any::<bool>(), 0u8..6, 0usize..3)
            .prop_map(|(which, by, what, emoji)| Step::Change { which, by, what, emoji }),
        1 => (1usize..4).prop_map(|pages| Step::Leave { pages }),
    ]
}

pub(crate) fn whatever_happens_history_and_since_end_in_the_same_state(log: &dyn MessageLog) {
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() });
    runner
        .run(&prop::collection::vec(prop::collection::vec(step(), 1..6), 1..8), |batches| {
            let room = fresh_room();
            let first = say(log, &room, &["first"])[0];
            let mut ids = vec![first];
            // Hears everything as it happens.
            let mut live = Shown::of(&log.history(&room, None, 1).unwrap());
            let mut gone: Vec<(MessageId, usize, Shown)> = Vec::new();
            let mut last = first;
            for batch in batches {
                let mut entries: Vec<NewEntry> = Vec::new();
                for step in batch {
                    match step {
                        Step::Say => entries.push(draft(&room, &format!("said {}", entries.len())).into()),
                        Step::Change { which, by, what, emoji } => {
                            let by = if by { ALICE } else { BOB };
                            let kind = match what {
                                0 | 1 => edit(&format!("edited {which} {emoji}")),
                                2 => NewChangeKind::Delete,
                                other => react(["👍", "🎉", "❤️"][emoji], other != 3),
                            };
                            entries.push(change(&room, ids[which % ids.len()], by, kind).into());
                        }
                        Step::Leave { pages } => {
                            gone.push((last, pages, Shown::of(&log.history(&room, None, 1000).unwrap())));
                        }
                    }
                }
                let outcomes = log.append(&entries).unwrap();
                for (entry, outcome) in entries.into_iter().zip(outcomes) {
                    if let Appended::Stored(id) = outcome {
                        if matches!(entry, NewEntry::Message(_)) {
                            ids.push(id);
                        }
                        live.hear(&entry.stored(id, false));
                        last = id;
                    }
                }
            }
            let now = Shown::of(&log.history(&room, None, 1000).unwrap());
            prop_assert!(now == live, "history is not what was heard");
            for (mut last, limit, mut shown) in gone {
                loop {
                    let page = log.since(&room, last, limit).unwrap().expect("it is kept");
                    let Some(newest) = page.last() else { break };
                    prop_assert!(page[0].id() > last);
                    last = newest.id();
                    page.iter().for_each(|entry| shown.hear(entry));
                }
                prop_assert!(now == shown, "who came back shows something else");
            }
            Ok(())
        })
        .unwrap();
}

pub(crate) fn what_is_set_aside_is_kept_elsewhere_and_its_room_starts_anew(log: &dyn MessageLog) {
    let (room, other) = (fresh_room(), fresh_room());
    let aside = |at| RoomName::removed(&room, at);
    let ids = say(log, &room, &["a", "b", "c"]);
    say(log, &other, &["others"]);
    make(log, change(&room, ids[1], ALICE, NewChangeKind::Delete)).unwrap();
    log.set_aside(&room, &aside(1)).unwrap();
    assert!(log.history(&room, None, 10).unwrap().is_empty());
    assert!(log.since(&room, ids[0], 10).unwrap().is_none() && log.message(&room, ids[0]).unwrap().is_none());
    let again = say(log, &room, &["d"]);
    assert!(again[0] > ids[2]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["d"]);
    log.set_aside(&room, &aside(2)).unwrap();
    say(log, &room, &["e"]);
    log.scrub(std::slice::from_ref(&room)).unwrap();
    let kept = log.history(&aside(1), None, 10).unwrap();
    assert_eq!(texts(&kept), ["a", "c"]);
    assert_eq!(kept.iter().map(|message| message.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert_eq!(texts(&log.history(&aside(2), None, 10).unwrap()), ["d"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["e"]);
    assert_eq!(texts(&log.history(&other, None, 10).unwrap()), ["others"]);
    let rooms = log.rooms(None, 100).unwrap();
    assert!([&room, &aside(1), &aside(2)].iter().all(|room| rooms.contains(room)));
}
