//! What every back end of a store must do, as tests that each of them runs.
//!
//! A back end's test module calls `suite::ledger!(open)`, where `open()` gives a new, empty store as
//! an [`Opened`] (or anything else that dereferences to it).

use super::{
    accounts::{Accounts, Membership, UserId},
    ledger::{Ledger, SignedPart},
    log::{Appended, MessageLog},
    moderation::{FOR_GOOD, Rights},
};
use crate::{
    entry::{Entry, NewChange, NewChangeKind, NewEntry, Reach, Unchangeable},
    message::{Draft, Message, MessageId, RoomName},
};
use std::{
    collections::HashSet,
    ops::Deref,
    path::Path,
    sync::Barrier,
    time::{Duration, SystemTime},
};
use support::eventually;
use tempfile::TempDir;
use uuid::Uuid;

/// A store in a directory that goes away with it.
pub(crate) struct Opened<S> {
    store: S,
    dir: TempDir,
}

impl<S> Opened<S> {
    pub(crate) fn new(open: impl FnOnce(&Path) -> S) -> Opened<S> {
        let dir = tempfile::tempdir().unwrap();
        Opened { store: open(dir.path()), dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl<S> Deref for Opened<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

mod begun_channels;
mod changes;
mod kept_sessions;
mod kept_tasks;
mod read_marks;
mod rooms;
pub(crate) use begun_channels::*;
pub(crate) use changes::*;
pub(crate) use kept_sessions::*;
pub(crate) use kept_tasks::*;
pub(crate) use read_marks::*;
pub(crate) use rooms::*;

macro_rules! tests_of {
    ($name:ident: $($test:ident)*) => { tests_of! { @ ($) $name: $($test)* } };
    (@ ($d:tt) $name:ident: $($test:ident)*) => {
        macro_rules! $name {
            ($d open:expr) => {
                $(
                    #[test]
                    fn $test() {
                        $crate::store::suite::$test(&*$d open());
                    }
                )*
            };
        }
        pub(crate) use $name;
    };
}

// With the accounts of `dummy/test.sql`.
tests_of! { accounts:
    an_account_is_found_whatever_the_case_of_its_email
    an_unknown_email_has_no_account
    an_account_is_found_by_its_number
    names_are_told_in_the_order_in_which_they_are_asked_for
    a_monitor_is_told_from_none_and_lists_its_members
    monitors_are_listed_oldest_first_and_only_to_their_members
    a_membership_is_told_from_none_and_from_no_monitor
    a_change_of_access_that_is_announced_is_heard
    moderators_are_told_from_members_and_listed
    a_mute_is_told_until_it_is_taken_back_and_in_its_room_alone
    one_account_is_muted_in_so_many_channels_and_in_any_monitor
    accounts_can_be_probed
}

tests_of! { chat_rooms:
    the_public_chat_is_there_from_the_start
    a_room_is_found_by_its_number_and_by_its_title_in_any_case
    hidden_rooms_are_found_but_not_listed
    a_title_is_one_rooms_whatever_its_case
    a_title_is_one_rooms_however_it_is_written_to_look_the_same
    of_many_who_make_a_room_of_one_title_one_does
    there_are_at_most_so_many_rooms
    one_address_makes_at_most_so_many_rooms
    a_change_is_seen_and_its_time_too
    a_room_may_change_the_case_of_its_title_but_not_take_another_rooms
    a_change_of_what_was_changed_meanwhile_is_stale
    a_deleted_room_is_gone_and_its_number_is_not_given_again
    the_rooms_can_be_probed
}

tests_of! { sessions:
    a_session_is_kept_as_it_began
    a_session_goes_on_from_its_present_cookie_only
    of_many_who_renew_a_session_at_once_one_does
    an_ended_session_is_gone
    all_sessions_of_one_account_end_together
    an_account_has_so_many_sessions_and_the_longest_unused_gives_way
    what_was_not_used_for_long_is_forgotten_when_somebody_logs_in
}

tests_of! { reads:
    a_mark_moves_forward_and_never_back
    marks_are_each_accounts_own
    an_account_has_so_many_marks_and_the_oldest_give_way
}

tests_of! { channels:
    one_may_begin_so_many_and_another_as_many
    who_comes_a_moment_later_begins_nothing_and_who_comes_when_all_is_gone_does
    what_is_forgotten_counts_no_more_unless_it_was_begun_again
    many_at_once_begin_no_more_than_they_may
}

tests_of! { tasks:
    a_task_waits_until_it_is_done_and_nothing_is_kept_of_whom_it_was_about
}

tests_of! { ledger:
    a_token_is_spent_once
    tokens_are_spent_each_for_itself
    of_many_who_race_with_a_token_one_gets_in
    the_ledger_can_be_probed
}

tests_of! { message_log:
    what_was_stored_is_read_back_as_it_was
    ids_grow_in_the_order_of_the_drafts
    a_large_batch_is_stored_in_order_in_one_room_and_in_many
    what_is_not_to_be_kept_gets_an_id_and_leaves_no_trace
    a_page_of_history_ends_before_the_message_named
    a_page_of_what_follows_begins_after_the_message_named
    between_messages_that_follow_changes_are_passed_over
    history_is_the_newest_messages_oldest_first
    a_room_nobody_spoke_in_has_no_history
    rooms_do_not_see_each_others_messages
    a_repeated_reference_makes_no_second_message
    a_reference_repeated_in_one_batch_makes_one_message
    a_reference_is_one_senders_in_one_room
    since_gives_what_follows_up_to_the_limit
    since_the_newest_message_there_is_nothing
    since_a_message_the_room_never_had_the_client_must_reload
    a_forgotten_room_is_empty_and_starts_anew
    what_is_set_aside_is_kept_elsewhere_and_its_room_starts_anew
    the_log_can_be_probed
    an_edit_is_seen_in_history_in_since_and_by_id
    a_deleted_message_is_gone_and_since_it_all_that_follows_is_known
    a_deleted_message_can_not_be_made_again_by_its_reference
    reactions_are_told_in_the_order_in_which_they_came
    a_reply_to_what_is_gone_stands_alone
    names_and_replies_are_read_back
    a_change_that_may_not_be_is_refused_and_changes_nothing
    one_message_has_twenty_different_emoji
    changes_in_one_batch_with_their_message_are_made_in_order
    since_a_change_only_what_came_after_it_is_told
    whatever_happens_history_and_since_end_in_the_same_state
    a_forgotten_rooms_changes_are_forgotten
    what_is_older_than_a_time_is_deleted_with_what_became_of_it
    rooms_with_messages_are_listed_in_the_order_of_their_names
    all_rooms_of_an_account_are_listed_in_the_order_of_their_names
}

const ALICE: &str = "alice@propromo.example";
const MONITOR: &str = "$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12";

pub(crate) fn an_account_is_found_whatever_the_case_of_its_email(accounts: &dyn Accounts) {
    let account = accounts.by_email("Alice@PROPROMO.example").unwrap().unwrap();
    assert_eq!(account.email, ALICE);
    assert!(account.password_hash.starts_with("$2y$10$"));
}

pub(crate) fn an_unknown_email_has_no_account(accounts: &dyn Accounts) {
    assert!(accounts.by_email("nobody@propromo.example").unwrap().is_none());
    assert!(accounts.by_email("%").unwrap().is_none());
    assert!(accounts.by_email("").unwrap().is_none());
}

pub(crate) fn an_account_is_found_by_its_number(accounts: &dyn Accounts) {
    let alice = accounts.by_email(ALICE).unwrap().unwrap();
    assert_eq!(accounts.by_id(alice.id).unwrap().map(|found| found.email), Some(alice.email));
    assert!(accounts.by_id(UserId(i64::MAX)).unwrap().is_none());
    assert!(accounts.by_id(UserId(-1)).unwrap().is_none());
}

pub(crate) fn names_are_told_in_the_order_in_which_they_are_asked_for(accounts: &dyn Accounts) {
    let names = accounts.display_names(&["bob@propromo.example", "nobody", "ALICE@propromo.example", "a\0b"]).unwrap();
    assert_eq!(names, [Some("Bob Demo".to_owned()), None, Some("Alice Demo".to_owned()), None]);
    assert!(accounts.display_names(&[]).unwrap().is_empty());
}

pub(crate) fn a_monitor_is_told_from_none_and_lists_its_members(accounts: &dyn Accounts) {
    assert!(accounts.is_monitor(MONITOR).unwrap());
    assert!(!accounts.is_monitor("").unwrap() && !accounts.is_monitor("a\0b").unwrap());
    let members = accounts.members(MONITOR, 10).unwrap();
    assert_eq!(members.iter().map(|(_, email)| email.as_str()).collect::<Vec<_>>(), [ALICE, "bob@propromo.example"]);
    assert_eq!(accounts.members(MONITOR, 1).unwrap(), members[..1]);
    assert!(accounts.members("no monitor", 10).unwrap().is_empty());
}

pub(crate) fn monitors_are_listed_oldest_first_and_only_to_their_members(accounts: &dyn Accounts) {
    let monitors_of = |email: &str| -> Vec<String> {
        let user = accounts.by_email(email).unwrap().unwrap().id;
        accounts.monitors_of(user).unwrap().into_iter().map(|monitor| monitor.monitor_hash).collect()
    };
    assert_eq!(monitors_of(ALICE), ["demo", MONITOR]);
    assert_eq!(monitors_of("carol@propromo.example"), [""; 0]);
}

pub(crate) fn a_membership_is_told_from_none_and_from_no_monitor(accounts: &dyn Accounts) {
    let alice = accounts.by_email(ALICE).unwrap().unwrap().id;
    let carol = accounts.by_email("carol@propromo.example").unwrap().unwrap().id;
    assert_eq!(accounts.membership(alice, MONITOR).unwrap(), Membership::Member);
    assert_eq!(accounts.membership(carol, MONITOR).unwrap(), Membership::NotAMember);
    assert_eq!(accounts.membership(alice, &MONITOR.to_lowercase()).unwrap(), Membership::NoSuchMonitor);
    let nobody = UserId(i64::MAX);
    let asked = [(nobody, MONITOR), (carol, "demo"), (alice, "demo"), (nobody, "no monitor"), (alice, "")];
    assert_eq!(
        accounts.memberships(&asked).unwrap(),
        [
            Membership::NoAccount,
            Membership::NotAMember,
            Membership::Member,
            Membership::NoAccount,
            Membership::NoSuchMonitor
        ]
    );
    assert!(accounts.memberships(&[]).unwrap().is_empty());
}

pub(crate) fn a_change_of_access_that_is_announced_is_heard(accounts: &dyn Accounts) {
    let before = accounts.access_changes().unwrap();
    assert_eq!(accounts.access_changes().unwrap(), before);
    accounts.announce_access_change().unwrap();
    assert_ne!(accounts.access_changes().unwrap(), before);
}

pub(crate) fn moderators_are_told_from_members_and_listed(accounts: &dyn Accounts) {
    let alice = accounts.by_email(ALICE).unwrap().unwrap().id;
    let bob = accounts.by_email("bob@propromo.example").unwrap().unwrap().id;
    let demo = RoomName::monitor("demo");
    let moderate = |user| accounts.rights(&[(user, &demo)]).unwrap()[0].moderator;
    let entered = |user| accounts.entrant(user, "demo").unwrap().rights.moderator;
    assert!(!moderate(alice) && !entered(alice));
    let before = accounts.access_changes().unwrap();
    assert!(accounts.appoint("demo", alice, true).unwrap());
    assert_ne!(accounts.access_changes().unwrap(), before);
    assert!(!accounts.appoint("demo", alice, true).unwrap());
    assert!(moderate(alice) && entered(alice) && !moderate(bob) && !entered(bob));
    // A channel of that name is another room.
    assert_eq!(accounts.rights(&[(alice, &RoomName::channel("demo"))]).unwrap(), [Rights::default()]);
    assert!(!accounts.rights(&[(alice, &RoomName::monitor(MONITOR))]).unwrap()[0].moderator);
    assert!(!accounts.entrant(alice, "lobby").unwrap().rights.moderator);
    assert_eq!(accounts.moderators("demo").unwrap(), [ALICE]);
    assert!(accounts.moderators("a\0b").unwrap().is_empty());
    assert!(!accounts.appoint("no monitor", alice, true).unwrap());
    assert!(accounts.appoint("demo", alice, false).unwrap());
    assert!(!accounts.appoint("demo", alice, false).unwrap());
    assert!(!moderate(alice) && !entered(alice) && accounts.moderators("demo").unwrap().is_empty());
}

pub(crate) fn a_mute_is_told_until_it_is_taken_back_and_in_its_room_alone(accounts: &dyn Accounts) {
    let bob = accounts.by_email("bob@propromo.example").unwrap().unwrap().id;
    let alice = accounts.by_email(ALICE).unwrap().unwrap().id;
    let (demo, lobby) = (RoomName::monitor("demo"), RoomName::channel("lobby"));
    let asked = [(bob, &demo), (bob, &lobby), (alice, &demo), (UserId(i64::MAX), &demo)];
    let muted = || accounts.rights(&asked).unwrap().into_iter().map(|rights| rights.muted_until).collect::<Vec<_>>();
    let at_the_door = |room: &str| accounts.entrant(bob, room).unwrap().rights.muted_until;
    assert_eq!(muted(), [None; 4]);
    let before = accounts.access_changes().unwrap();
    assert!(accounts.mute(&demo, bob, 4_000_000_000_000, None).unwrap());
    assert_ne!(accounts.access_changes().unwrap(), before);
    assert!(accounts.mute(&lobby, bob, 1_000, None).unwrap());
    assert_eq!(muted(), [Some(4_000_000_000_000), Some(1_000), None, None]);
    assert_eq!((at_the_door("demo"), at_the_door("lobby")), (Some(4_000_000_000_000), Some(1_000)));
    // Those whose time is over are forgotten with the next.
    assert!(accounts.mute(&demo, bob, FOR_GOOD, None).unwrap());
    assert_eq!(muted(), [Some(FOR_GOOD), None, None, None]);
    let before = accounts.access_changes().unwrap();
    assert!(accounts.unmute(&demo, bob).unwrap());
    assert_ne!(accounts.access_changes().unwrap(), before);
    assert!(!accounts.unmute(&demo, bob).unwrap());
    assert_eq!((muted(), at_the_door("demo")), (vec![None; 4], None));
    assert!(accounts.rights(&[]).unwrap().is_empty());
}

pub(crate) fn one_account_is_muted_in_so_many_channels_and_in_any_monitor(accounts: &dyn Accounts) {
    let bob = accounts.by_email("bob@propromo.example").unwrap().unwrap().id;
    let mute = |room: RoomName, until| accounts.mute(&room, bob, until, Some(2)).unwrap();
    let [one, two, three] = ["one", "two", "three"].map(RoomName::channel);
    assert!(accounts.mute(&RoomName::monitor("demo"), bob, FOR_GOOD, None).unwrap());
    assert!(mute(one.clone(), FOR_GOOD) && mute(two.clone(), 1_000));
    // The second is over.
    assert!(mute(three.clone(), FOR_GOOD) && !mute(two.clone(), FOR_GOOD));
    assert!(mute(one.clone(), 4_000_000_000_000), "it only changes");
    assert!(accounts.unmute(&one, bob).unwrap() && mute(two.clone(), FOR_GOOD));
    let muted = |room: &RoomName| accounts.rights(&[(bob, room)]).unwrap()[0].muted_until;
    assert_eq!([&one, &two, &three].map(muted), [None, Some(FOR_GOOD), Some(FOR_GOOD)]);
}

pub(crate) fn accounts_can_be_probed(accounts: &dyn Accounts) {
    accounts.probe().unwrap();
}

pub(crate) fn what_is_older_than_a_time_is_deleted_with_what_became_of_it(log: &dyn MessageLog) {
    let room = fresh_room();
    let say = |text: &str| match log.append(&[Draft::new(room.clone(), "a".into(), text).into()]).unwrap()[0] {
        Appended::Stored(id) => id,
        other => panic!("{other:?}"),
    };
    let change = |of: MessageId, kind: NewChangeKind| {
        let (room, by) = (room.clone(), "a".into());
        let change = NewChange { room, of, by, kind, reach: Reach::Own, reference: None };
        log.append(&[change.into()]).unwrap()[0]
    };
    let many: Vec<NewEntry> = (0..1200).map(|n| Draft::new(room.clone(), "a".into(), n.to_string()).into()).collect();
    let stored = log.append(&many).unwrap().into_iter();
    let old: Vec<MessageId> =
        stored.filter_map(|one| if let Appended::Stored(id) = one { Some(id) } else { None }).collect();
    for of in &old[..3] {
        change(*of, NewChangeKind::Edit { text: "edited".into(), since: 0 });
        change(*of, NewChangeKind::React { emoji: "👍".into(), on: true });
    }
    change(old[3], NewChangeKind::Delete);
    std::thread::sleep(Duration::from_millis(3));
    let first = say("kept");
    change(first, NewChangeKind::React { emoji: "👍".into(), on: true });
    log.forget_before(&room, first.millis()).unwrap();
    let last = say("the last");
    let kept = log.history(&room, None, 10).unwrap();
    assert_eq!(kept.iter().map(|message| message.id).collect::<Vec<_>>(), [first, last]);
    assert_eq!(kept[0].reactions.len(), 1);
    assert!(log.since(&room, old[0], 10).unwrap().is_none(), "something is missing behind it");
    let since: Vec<_> = log.since(&room, first, 10).unwrap().unwrap().iter().map(Entry::id).collect();
    assert_eq!((since.len(), since[1]), (2, last));
    assert!(log.message(&room, old[0]).unwrap().is_none());
    let refused = change(old[0], NewChangeKind::Edit { text: "again".into(), since: 0 });
    assert_eq!(refused, Appended::Refused(Unchangeable::NoSuchMessage));
    // Nothing of it is left to be deleted, and in a room that nobody knows there is nothing.
    log.forget_before(&room, first.millis()).unwrap();
    log.forget_before(&fresh_room(), first.millis()).unwrap();
    assert_eq!(log.history(&room, None, 10).unwrap().len(), 2);
}

pub(crate) fn rooms_with_messages_are_listed_in_the_order_of_their_names(log: &dyn MessageLog) {
    let mut rooms: Vec<RoomName> = std::iter::repeat_with(fresh_room).take(3).collect();
    for room in rooms.iter().rev() {
        log.append(&[Draft::new(room.clone(), "a".into(), "x").into()]).unwrap();
    }
    rooms.sort();
    // A shared back end has those of earlier runs, too.
    let behind = |after: Option<&RoomName>, limit| log.rooms(after, limit).unwrap();
    let mut all = Vec::new();
    loop {
        let page = behind(all.last(), 2);
        assert!(page.len() <= 2 && page.is_sorted());
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    assert!(all.is_sorted() && rooms.iter().all(|room| all.contains(room)), "{all:?}");
    assert!(!behind(Some(&rooms[1]), 1_000_000).contains(&rooms[1]));
}

pub(crate) fn all_rooms_of_an_account_are_listed_in_the_order_of_their_names(log: &dyn MessageLog) {
    let mut rooms: Vec<RoomName> = std::iter::repeat_with(fresh_room).take(3).collect();
    rooms.iter().for_each(|room| drop(say(log, room, &["x"])));
    rooms.sort();
    let mut all = Vec::new();
    loop {
        let page = log.rooms_of("Alice@propromo.example", all.last(), 2).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        all.extend(page);
    }
    // Others may be among them.
    assert!(all.is_sorted() && rooms.iter().all(|room| all.contains(room)), "{all:?}");
}

fn soon() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

/// Of its own for each call: a shared back end keeps the marks of earlier runs.
fn fresh_token() -> SignedPart {
    let mut token = [0; 32];
    rand::fill(&mut token);
    SignedPart(token)
}

pub(crate) fn a_token_is_spent_once(ledger: &dyn Ledger) {
    let token = fresh_token();
    assert!(ledger.spend(&token, soon()).unwrap());
    assert!(!ledger.spend(&token, soon()).unwrap());
}

pub(crate) fn tokens_are_spent_each_for_itself(ledger: &dyn Ledger) {
    for _ in 0..10 {
        assert!(ledger.spend(&fresh_token(), soon()).unwrap());
    }
}

pub(crate) fn of_many_who_race_with_a_token_one_gets_in(ledger: &dyn Ledger) {
    const RUNNERS: usize = 32;
    let token = fresh_token();
    let start = Barrier::new(RUNNERS);
    let got_in = std::thread::scope(|scope| {
        let runners: Vec<_> = (0..RUNNERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    ledger.spend(&token, soon()).unwrap()
                })
            })
            .collect();
        runners.into_iter().map(|runner| runner.join().unwrap()).filter(|first| *first).count()
    });
    assert_eq!(got_in, 1);
}

pub(crate) fn the_ledger_can_be_probed(ledger: &dyn Ledger) {
    ledger.probe().unwrap();
}

/// A room of its own for each call: a shared back end keeps the messages of earlier runs.
pub(crate) fn fresh_room() -> RoomName {
    RoomName::channel(&format!("{:032x}", rand::random::<u128>()))
}

pub(crate) fn draft(room: &RoomName, text: &str) -> Draft {
    Draft::new(room.clone(), ALICE.into(), text)
}

/// Stores texts in a room, one batch.
pub(crate) fn say(log: &dyn MessageLog, room: &RoomName, texts: &[&str]) -> Vec<MessageId> {
    stored(&append(log, texts.iter().map(|text| draft(room, text))))
}

/// Stores drafts, one batch. Tries again while the store is away, as whoever uses the server does: Redis counts as away
/// when it answers late, which happens on a busy machine. After an error nothing is stored.
pub(crate) fn append(log: &dyn MessageLog, drafts: impl IntoIterator<Item = Draft>) -> Vec<Appended> {
    let entries: Vec<NewEntry> = drafts.into_iter().map(NewEntry::Message).collect();
    let mut appended = log.append(&entries);
    eventually("the store is there", || {
        if appended.is_err() {
            appended = log.append(&entries);
        }
        appended.is_ok()
    });
    appended.unwrap()
}

pub(crate) fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.text).collect()
}

/// The texts of the messages among entries.
pub(crate) fn entry_texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().filter_map(Entry::message).map(|message| &*message.text).collect()
}

/// The texts of the messages that follow.
pub(crate) fn since_texts(log: &dyn MessageLog, room: &RoomName, after: MessageId, limit: usize) -> Vec<String> {
    let entries = log.since(room, after, limit).unwrap().expect("the entry is known");
    entry_texts(&entries).into_iter().map(str::to_owned).collect()
}

pub(crate) fn stored(appended: &[Appended]) -> Vec<MessageId> {
    appended
        .iter()
        .map(|appended| match appended {
            Appended::Stored(id) => *id,
            Appended::Repeated(id) => panic!("{id} was said to repeat a message"),
            other => panic!("a message was not stored: {other:?}"),
        })
        .collect()
}

pub(crate) fn what_was_stored_is_read_back_as_it_was(log: &dyn MessageLog) {
    let room = fresh_room();
    let said = Draft {
        extra: Some(r#"{"color":"red"}"#.into()),
        text: "tab\t nul\0 quote' \u{1f980} \u{202e}".into(),
        ..draft(&room, "")
    };
    let ids = stored(&append(log, [said.clone(), draft(&room, "")]));
    let read = log.history(&room, None, 10).unwrap();
    let [first, second] = &read[..] else { panic!("{} messages", read.len()) };
    assert!(first == &said.stored(ids[0], false));
    assert!(second == &Message::new(ids[1], ALICE.into(), ""));
}

pub(crate) fn what_is_not_to_be_kept_gets_an_id_and_leaves_no_trace(log: &dyn MessageLog) {
    let room = fresh_room();
    let passing = || Draft { kept: false, ..draft(&room, "passing") };
    let batches = [vec![draft(&room, "kept"), passing(), draft(&room, "kept, too")], vec![passing()]];
    let ids: Vec<_> = batches.into_iter().flat_map(|batch| stored(&append(log, batch))).collect();
    assert!(ids.is_sorted() && ids.len() == 4);
    let kept: Vec<_> = log.history(&room, None, 10).unwrap().iter().map(|message| message.id).collect();
    assert_eq!(kept, [ids[0], ids[2]]);
}

pub(crate) fn ids_grow_in_the_order_of_the_drafts(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids: Vec<_> = (0..5).flat_map(|_| say(log, &room, &["a"; 50])).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
}

pub(crate) fn a_large_batch_is_stored_in_order_in_one_room_and_in_many(log: &dyn MessageLog) {
    // As many as the writer stores with one write at most.
    let texts: Vec<String> = (0..1024).map(|n| n.to_string()).collect();
    for rooms in [1, 64] {
        let rooms: Vec<RoomName> = (0..rooms).map(|_| fresh_room()).collect();
        let drafts = texts.iter().zip(rooms.iter().cycle()).map(|(text, room)| draft(room, text));
        let ids = stored(&append(log, drafts));
        assert_eq!(ids.len(), texts.len());
        for (first, room) in rooms.iter().enumerate() {
            let read = log.history(room, None, texts.len()).unwrap();
            let read: Vec<_> = read.iter().map(|message| (message.id, &*message.text)).collect();
            let said: Vec<_> = ids.iter().copied().zip(texts.iter().map(String::as_str)).collect();
            assert!(read.iter().eq(said.iter().skip(first).step_by(rooms.len())));
        }
    }
}

pub(crate) fn a_page_of_history_ends_before_the_message_named(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "b", "c", "d"]);
    assert_eq!(texts(&log.history(&room, Some(ids[3]), 2).unwrap()), ["b", "c"]);
    assert_eq!(texts(&log.history(&room, Some(ids[0]), 2).unwrap()), [""; 0]);
}

pub(crate) fn a_page_of_what_follows_begins_after_the_message_named(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "b", "c", "d"]);
    assert_eq!(texts(&log.newer(&room, ids[0], 2).unwrap()), ["b", "c"]);
    assert_eq!(texts(&log.newer(&room, ids[1], 100).unwrap()), ["c", "d"]);
    assert_eq!(texts(&log.newer(&room, MessageId::BEFORE_ALL, 3).unwrap()), ["a", "b", "c"]);
    assert!(log.newer(&room, ids[3], 2).unwrap().is_empty());
    assert!(log.newer(&fresh_room(), ids[0], 2).unwrap().is_empty());
}

pub(crate) fn history_is_the_newest_messages_oldest_first(log: &dyn MessageLog) {
    let room = fresh_room();
    say(log, &room, &["a", "b"]);
    say(log, &room, &["c"]);
    assert_eq!(texts(&log.history(&room, None, 2).unwrap()), ["b", "c"]);
    assert_eq!(texts(&log.history(&room, None, 100).unwrap()), ["a", "b", "c"]);
}

pub(crate) fn a_room_nobody_spoke_in_has_no_history(log: &dyn MessageLog) {
    assert!(log.history(&fresh_room(), None, 10).unwrap().is_empty());
}

pub(crate) fn rooms_do_not_see_each_others_messages(log: &dyn MessageLog) {
    let (here, there) = (fresh_room(), fresh_room());
    let ids = stored(&append(log, [draft(&here, "a"), draft(&there, "b"), draft(&here, "c")]));
    assert_eq!(texts(&log.history(&here, None, 10).unwrap()), ["a", "c"]);
    assert_eq!(since_texts(log, &here, ids[0], 10), ["c"]);
    assert!(log.since(&here, ids[1], 10).unwrap().is_none());
}

pub(crate) fn a_repeated_reference_makes_no_second_message(log: &dyn MessageLog) {
    let room = fresh_room();
    let marked = Draft { reference: Some("r1".into()), ..draft(&room, "once") };
    let first = stored(&append(log, [marked.clone()]))[0];
    let again = append(log, [draft(&room, "before"), marked, draft(&room, "after")]);
    assert_eq!(again[1], Appended::Repeated(first));
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["once", "before", "after"]);
}

pub(crate) fn a_reference_repeated_in_one_batch_makes_one_message(log: &dyn MessageLog) {
    let room = fresh_room();
    let marked = Draft { reference: Some("r1".into()), ..draft(&room, "once") };
    let appended = append(log, [marked.clone(), marked]);
    let Appended::Stored(id) = appended[0] else { panic!("the first is new") };
    assert_eq!(appended[1], Appended::Repeated(id));
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["once"]);
}

pub(crate) fn a_reference_is_one_senders_in_one_room(log: &dyn MessageLog) {
    let (here, there) = (fresh_room(), fresh_room());
    let marked = |room: &RoomName, sender: &str| Draft {
        sender: sender.into(),
        reference: Some("r1".into()),
        ..draft(room, "hi")
    };
    let appended = append(log, [marked(&here, "a"), marked(&here, "b"), marked(&there, "a")]);
    assert_eq!(stored(&appended).into_iter().collect::<HashSet<_>>().len(), 3);
}

pub(crate) fn since_gives_what_follows_up_to_the_limit(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "b", "c", "d"]);
    assert_eq!(since_texts(log, &room, ids[0], 2), ["b", "c"]);
    assert_eq!(since_texts(log, &room, ids[0], 100), ["b", "c", "d"]);
}

pub(crate) fn since_the_newest_message_there_is_nothing(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "b"]);
    assert!(log.since(&room, ids[1], 10).unwrap().unwrap().is_empty());
}

pub(crate) fn since_a_message_the_room_never_had_the_client_must_reload(log: &dyn MessageLog) {
    let room = fresh_room();
    let ids = say(log, &room, &["a", "b"]);
    let forged = MessageId(Uuid::from_u128(ids[0].0.as_u128() ^ 1));
    for id in [MessageId(Uuid::nil()), forged, MessageId(Uuid::max())] {
        assert!(log.since(&room, id, 10).unwrap().is_none(), "{id}");
    }
    assert!(log.since(&fresh_room(), ids[0], 10).unwrap().is_none());
}

pub(crate) fn a_forgotten_room_is_empty_and_starts_anew(log: &dyn MessageLog) {
    let (room, other) = (fresh_room(), fresh_room());
    let marked = Draft { reference: Some("r1".into()), ..draft(&room, "old") };
    let old = stored(&append(log, [marked.clone(), draft(&other, "kept")]))[0];
    log.forget(&room).unwrap();
    assert!(log.history(&room, None, 10).unwrap().is_empty());
    let new = stored(&append(log, [Draft { text: "new".into(), ..marked }]))[0];
    assert!(new > old);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["new"]);
    assert!(log.since(&room, old, 10).unwrap().is_none());
    assert_eq!(texts(&log.history(&other, None, 10).unwrap()), ["kept"]);
}

pub(crate) fn the_log_can_be_probed(log: &dyn MessageLog) {
    log.probe().unwrap();
}
