//! Email address and password: reads them from a form, and checks them against the account.

use crate::{
    auth::password::Turn,
    chat::Chat,
    http::body::{Field, Fields},
    limits::guesses::LoginLimits,
    message::is_bot,
    refusal::{Reason, Refusal},
    store::{
        accounts::{Account, Accounts, Epoch, MAX_EMAIL},
        error::StoreError,
    },
};
use std::net::IpAddr;

/// What a person logs in with. Never logged, so it has no `Debug`.
pub struct Credentials {
    pub email: String,
    pub password: String,
}

impl Credentials {
    /// Takes the email address and the password from `fields`, each under the first of its names that is there.
    ///
    /// Errors are added to `refusal` under the first name. `None` means that there was an error.
    pub fn read(
        fields: &Fields,
        email: &[&'static str],
        password: &[&'static str],
        refusal: &mut Refusal,
    ) -> Option<Credentials> {
        let email_text = required(fields, email, refusal);
        let password = required(fields, password, refusal);
        // Laravel trims all input except passwords before it stores or compares it.
        let email_text = email_text.map(str::trim).filter(|text| {
            let plausible = !text.is_empty() && text.len() <= MAX_EMAIL && !text.contains(char::is_control);
            if !plausible {
                refusal.detail.push((email[0], "is not an email address"));
            }
            plausible
        });
        Some(Credentials { email: email_text?.to_owned(), password: password?.to_owned() })
    }
}

fn required<'a>(fields: &'a Fields, names: &[&'static str], refusal: &mut Refusal) -> Option<&'a str> {
    let wrong = match fields.any(names) {
        Field::Text(text) => return Some(text),
        Field::Absent => "is missing",
        Field::NotText => "must be text",
    };
    refusal.detail.push((names[0], wrong));
    None
}

/// The account of `credentials`, and the epoch in which they are right. Refuses wrong ones, and clients that gave wrong ones too
/// often.
///
/// An unknown email address and a wrong password get the same refusal after the same time.
pub fn check(chat: &Chat, client: IpAddr, credentials: &Credentials) -> Result<(Account, Epoch), Refusal> {
    let turn = || chat.passwords.turn(&chat.login_limits.asker(client));
    let judged = judge(&*chat.accounts, &chat.login_limits, turn, Turn::verify, client, credentials);
    chat.metrics.login(judged.as_ref().map_or_else(|refusal| refusal.reason.word(), |_| "ok"));
    judged
}

fn judge<T>(
    accounts: &dyn Accounts,
    limits: &LoginLimits,
    turn: impl FnOnce() -> Result<T, Refusal>,
    verify: impl FnOnce(T, &str, Option<&str>) -> bool,
    client: IpAddr,
    Credentials { email, password }: &Credentials,
) -> Result<(Account, Epoch), Refusal> {
    limits.may_try(client, email)?;
    let account = accounts.by_email(email)?;
    let turn = turn()?;
    // Others may have guessed wrong meanwhile.
    limits.may_try(client, email)?;
    let hash = account.as_ref().map(|account| account.password_hash.as_str());
    let right = verify(turn, password, hash);
    // An account with the name of a bot could speak as that bot.
    if let Some(account) = account.filter(|account| right && !is_bot(&account.email))
        && let Some(epoch) = still_right(accounts, &account)?
    {
        limits.was_right(client, email);
        return Ok((account, epoch));
    }
    limits.was_wrong(client, email);
    Err(Reason::WrongCredentials.into())
}

/// The account's epoch, if its password is still the one that was just verified: what the old password gives must end with it.
fn still_right(accounts: &dyn Accounts, verified: &Account) -> Result<Option<Epoch>, StoreError> {
    // In this order: a password that changes between the two is noticed.
    let epoch = accounts.epoch(verified.id)?;
    let now = accounts.by_id(verified.id)?;
    Ok(epoch.filter(|_| now.is_some_and(|now| now.password_hash == verified.password_hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::{head::Method, request::Request},
        message::RoomName,
        store::{
            accounts::{Entrant, Membership, Monitor, UserId},
            moderation::{Moderation, Rights},
        },
    };
    use std::{
        cell::Cell,
        num::NonZeroU32,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// One account, `alice@example.org`, or a store that is away.
    #[derive(Default)]
    struct Alice {
        away: bool,
        /// Whether her password was changed.
        changed: AtomicBool,
    }

    impl Alice {
        fn account(&self) -> Account {
            let hash = if self.changed.load(Relaxed) { "hash of new" } else { "hash of right" };
            Account {
                id: UserId(1),
                name: "Alice".to_owned(),
                email: "alice@example.org".to_owned(),
                password_hash: hash.to_owned(),
            }
        }
    }

    impl Moderation for Alice {
        fn rights(&self, _: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError> {
            unreachable!("credentials give no rights")
        }

        fn mute(&self, _: &RoomName, _: UserId, _: u64, _: Option<u64>) -> Result<bool, StoreError> {
            unreachable!("credentials mute nobody")
        }

        fn unmute(&self, _: &RoomName, _: UserId) -> Result<bool, StoreError> {
            unreachable!("credentials mute nobody")
        }

        fn appoint(&self, _: &str, _: UserId, _: bool) -> Result<bool, StoreError> {
            unreachable!("credentials give no rights")
        }

        fn moderators(&self, _: &str) -> Result<Vec<String>, StoreError> {
            unreachable!("credentials give no rights")
        }
    }

    impl Accounts for Alice {
        fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
            if self.away {
                return Err(StoreError { store: "account store", what: "find an account", source: "gone".into() });
            }
            Ok(email.eq_ignore_ascii_case("alice@example.org").then(|| self.account()))
        }

        fn by_id(&self, _: UserId) -> Result<Option<Account>, StoreError> {
            Ok(Some(self.account()))
        }

        fn display_names(&self, _: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
            unreachable!("credentials need no names")
        }

        fn entrant(&self, _: UserId, _: &str) -> Result<Entrant, StoreError> {
            unreachable!("credentials open no rooms")
        }

        fn is_monitor(&self, _: &str) -> Result<bool, StoreError> {
            unreachable!("credentials need no monitors")
        }

        fn members(&self, _: &str, _: usize) -> Result<Vec<(UserId, String)>, StoreError> {
            unreachable!("credentials need no members")
        }

        fn monitors_of(&self, _: UserId) -> Result<Vec<Monitor>, StoreError> {
            unreachable!("credentials need no monitors")
        }

        fn memberships(&self, _: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError> {
            unreachable!("credentials need no membership")
        }

        fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError> {
            let epoch = Epoch::of(&self.account().password_hash, 0);
            Ok(vec![Some(epoch); users.len()])
        }

        fn revoke(&self, _: UserId) -> Result<(), StoreError> {
            unreachable!("credentials need no epoch")
        }

        fn access_changes(&self) -> Result<i64, StoreError> {
            unreachable!("credentials need no membership")
        }

        fn announce_access_change(&self) -> Result<(), StoreError> {
            unreachable!("credentials need no membership")
        }

        fn probe(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn verify((): (), password: &str, hash: Option<&str>) -> bool {
        hash == Some(&format!("hash of {password}"))
    }

    fn turn() -> Result<(), Refusal> {
        Ok(())
    }

    fn credentials(email: &str, password: &str) -> Credentials {
        Credentials { email: email.to_owned(), password: password.to_owned() }
    }

    fn judged(email: &str, password: &str) -> Result<(Account, Epoch), Refusal> {
        judge(&Alice::default(), &LoginLimits::new(None), turn, verify, HERE, &credentials(email, password))
    }

    #[test]
    fn the_right_password_gives_the_account() {
        assert_eq!(judged("alice@example.org", "right").unwrap_or_else(|r| panic!("{r}")).0.id, UserId(1));
    }

    // Seen to fail when the epoch was read later: the old password gave tokens, and a session, of the new password's epoch.
    #[test]
    fn a_password_that_is_changed_while_it_is_checked_gives_nothing() {
        let alice = Alice::default();
        let meanwhile = |(): (), password: &str, hash: Option<&str>| {
            alice.changed.store(true, Relaxed);
            verify((), password, hash)
        };
        let right = credentials("alice@example.org", "right");
        let refused = judge(&alice, &LoginLimits::new(None), turn, meanwhile, HERE, &right).map(|_| ());
        assert_eq!(refused.unwrap_err().reason, Reason::WrongCredentials);
    }

    #[test]
    fn an_unknown_email_and_a_wrong_password_are_refused_alike() {
        let wrong = judged("alice@example.org", "wrong").map(|_| ()).unwrap_err();
        let unknown = judged("nobody@example.org", "right").map(|_| ()).unwrap_err();
        assert_eq!(wrong.reason, Reason::WrongCredentials);
        assert_eq!(wrong, unknown);
    }

    #[test]
    fn an_unknown_email_costs_a_password_check_too() {
        let checked = Cell::new(0);
        let count = |(): (), _: &str, hash: Option<&str>| {
            assert_eq!(hash, None);
            checked.set(checked.get() + 1);
            false
        };
        let nobody = credentials("nobody@example.org", "x");
        let _ = judge(&Alice::default(), &LoginLimits::new(None), turn, count, HERE, &nobody);
        assert_eq!(checked.get(), 1);
    }

    #[test]
    fn a_store_that_is_away_lets_nobody_in() {
        let alice = credentials("alice@example.org", "right");
        let refused =
            judge(&Alice { away: true, ..Alice::default() }, &LoginLimits::new(None), turn, verify, HERE, &alice)
                .map(|_| ());
        assert_eq!(refused.unwrap_err().reason, Reason::Unavailable);
    }

    #[test]
    fn one_wrong_guess_too_many_is_refused_before_the_password_is_looked_at() {
        let limits = LoginLimits::new(NonZeroU32::new(1));
        let (alice, mistyped) = (credentials("alice@example.org", "right"), credentials("alice@example.org", "wrong"));
        let judge = |credentials, turn: fn() -> Result<(), Refusal>| {
            judge(&Alice::default(), &limits, turn, verify, HERE, credentials).map(|_| ())
        };
        for _ in 0..5 {
            judge(&alice, turn).unwrap();
        }
        assert_eq!(judge(&mistyped, turn).unwrap_err().reason, Reason::WrongCredentials);
        assert_eq!(judge(&alice, || unreachable!("the limit comes first")).unwrap_err().reason, Reason::RateLimited);
    }

    #[test]
    fn what_waited_for_its_turn_while_others_were_wrong_is_not_looked_at() {
        let limits = LoginLimits::new(NonZeroU32::new(1));
        let others = || {
            limits.was_wrong(HERE, "bob@example.org");
            Ok(())
        };
        let unasked = |(): (), _: &str, _: Option<&str>| unreachable!("the limit comes first");
        let alice = credentials("alice@example.org", "right");
        let refused = judge(&Alice::default(), &limits, others, unasked, HERE, &alice).map(|_| ());
        assert_eq!(refused.unwrap_err().reason, Reason::RateLimited);
    }

    fn read(json: &str) -> Result<Credentials, Vec<(&'static str, &'static str)>> {
        let request = Request::bare(Method::Post, "/auth").with_body("application/json", json);
        let fields = Fields::read(&request).unwrap();
        let mut refusal = Refusal::from(Reason::InvalidFields);
        Credentials::read(&fields, &["user", "email"], &["pwd", "password"], &mut refusal).ok_or(refusal.detail)
    }

    #[test]
    fn each_name_of_a_field_is_taken() {
        for json in [r#"{"user":"a@b","pwd":"p"}"#, r#"{"email":" a@b ","password":"p"}"#] {
            let read = read(json).unwrap_or_else(|detail| panic!("{detail:?}"));
            assert_eq!((read.email.as_str(), read.password.as_str()), ("a@b", "p"));
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let detail = read(r#"{"pwd":7}"#).map(|_| ()).unwrap_err();
        assert_eq!(detail, [("user", "is missing"), ("pwd", "must be text")]);
    }

    #[test]
    fn a_password_keeps_its_white_space() {
        assert_eq!(read(r#"{"user":"a@b","pwd":" p "}"#).map(|c| c.password), Ok(" p ".to_owned()));
    }

    #[test]
    fn what_can_be_no_email_address_never_reaches_the_store() {
        for email in ["a\\u0000@b", "  ", &"x".repeat(MAX_EMAIL + 1)] {
            let detail = read(&format!(r#"{{"user":"{email}","pwd":"p"}}"#)).map(|_| ()).unwrap_err();
            assert_eq!(detail, [("user", "is not an email address")]);
        }
    }
}
