//! The cookie of a session. Each cookie is used once, and leads to the next one.
//!
//! A cookie is an id, which stays, and a secret, which changes. The next secret is derived from the present one and a
//! salt: tabs that renew at the same moment get the same next cookie, on any node, and only hashes are stored. If a
//! secret that was used long ago comes back, somebody has an old copy, and the session ends (RFC 9700 §4.14.2).

use crate::store::{
    accounts::UserId,
    sessions::{Digest, SALT, Session, Spent},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How long a used cookie still gets its successor. This is for other tabs, and for browsers that missed the answer.
pub const GRACE: Duration = Duration::from_secs(30);

/// How many cookies of one session may be used within [`GRACE`].
const MOST: usize = 32;

const ID: usize = 16;
const SECRET: usize = 32;

/// What a browser presents to stay logged in. Never logged, so it has no `Debug`.
#[derive(Clone)]
pub struct Cookie {
    id: [u8; ID],
    secret: [u8; SECRET],
}

impl Cookie {
    pub fn parse(text: &str) -> Option<Cookie> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, secret) = bytes.split_first_chunk()?;
        Some(Cookie { id: *id, secret: secret.try_into().ok()? })
    }

    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.id[..], &self.secret].concat())
    }

    /// The key under which its session is stored.
    pub fn session(&self) -> Digest {
        hash("id", &[&self.id])
    }

    /// The hash of its secret, which is stored.
    pub fn hashed(&self) -> Digest {
        hash("secret", &[&self.secret])
    }

    fn next(&self, salt: &[u8; SALT]) -> Cookie {
        Cookie { id: self.id, secret: hash("next", &[&self.secret, salt]) }
    }
}

/// The parts are not ambiguous: each but the last has a fixed length.
fn hash(what: &str, parts: &[&[u8]]) -> Digest {
    let start = Sha256::new().chain_update("propromo.chat/session/").chain_update(what).chain_update([0]);
    parts.iter().fold(start, |hash, part| hash.chain_update(part)).finalize().into()
}

/// A new session of `account` with this epoch, and its first cookie. `now` is in Unix seconds.
pub fn begin(account: UserId, epoch: &str, now: i64) -> (Cookie, Session) {
    let cookie = Cookie { id: rand::random(), secret: rand::random() };
    let session = Session {
        id: cookie.session(),
        account,
        epoch: epoch.to_owned(),
        begun: now,
        used: now,
        current: cookie.hashed(),
        spent: Vec::new(),
    };
    (cookie, session)
}

/// The result of presenting a cookie.
pub enum Shown {
    /// It is used now: the next cookie, and the session as it will be if no other request is faster.
    Used(Cookie, Session),
    /// It was used a moment ago: the cookie that is valid now.
    UsedJustNow(Cookie),
    /// It was used long ago, or never belonged to this session.
    UsedBefore,
    /// Too many cookies of its session were used a moment ago.
    TooOften,
}

/// Checks a cookie of `session` that is presented at `now`, in Unix seconds.
pub fn show(session: &Session, cookie: &Cookie, now: i64) -> Shown {
    let secret = cookie.hashed();
    let mut spent = session.spent.clone();
    spent.retain(|spent| now.saturating_sub(spent.at) <= GRACE.as_secs() as i64);
    if secret == session.current {
        if spent.len() >= MOST {
            return Shown::TooOften;
        }
        let salt = rand::random();
        spent.push(Spent { secret, salt, at: now });
        let next = cookie.next(&salt);
        let session = Session { used: now, current: next.hashed(), spent, ..session.clone() };
        return Shown::Used(next, session);
    }
    match spent.iter().position(|spent| spent.secret == secret) {
        Some(first) => Shown::UsedJustNow(spent[first..].iter().fold(cookie.clone(), |at, spent| at.next(&spent.salt))),
        None => Shown::UsedBefore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn begun() -> (Cookie, Session) {
        begin(UserId(7), "epoch", NOW)
    }

    #[track_caller]
    fn used(session: &Session, cookie: &Cookie, now: i64) -> (Cookie, Session) {
        match show(session, cookie, now) {
            Shown::Used(next, session) => (next, session),
            _ => panic!("the cookie is good"),
        }
    }

    #[track_caller]
    fn just_now(session: &Session, cookie: &Cookie, now: i64) -> String {
        match show(session, cookie, now) {
            Shown::UsedJustNow(next) => next.text(),
            _ => panic!("the cookie was used a moment ago"),
        }
    }

    #[test]
    fn a_cookie_is_read_back_as_it_was_written() {
        let (cookie, session) = begun();
        let again = Cookie::parse(&cookie.text()).unwrap();
        assert_eq!((again.text(), again.session()), (cookie.text(), session.id));
        assert!(cookie.text().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        for text in ["", "abc", &cookie.text()[1..], &format!("{}AA", cookie.text()), "ü", &"A".repeat(1000)] {
            assert!(Cookie::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn each_cookie_makes_the_next_one() {
        let (first, session) = begun();
        let (second, session) = used(&session, &first, NOW + 100);
        assert_ne!(first.text(), second.text());
        assert_eq!((first.session(), session.used), (second.session(), NOW + 100));
        used(&session, &second, NOW + 200);
    }

    #[test]
    fn tabs_that_come_at_the_same_moment_get_the_same_cookie() {
        let (first, session) = begun();
        let (second, session) = used(&session, &first, NOW);
        assert_eq!(just_now(&session, &first, NOW + 30), second.text());
        let (third, session) = used(&session, &second, NOW + 10);
        assert_eq!(just_now(&session, &first, NOW + 30), third.text());
        assert_eq!(just_now(&session, &second, NOW + 31), third.text());
    }

    #[test]
    fn a_cookie_that_was_used_long_ago_is_told() {
        let (first, session) = begun();
        let (second, session) = used(&session, &first, NOW);
        assert!(matches!(show(&session, &first, NOW + 31), Shown::UsedBefore));
        let (_, session) = used(&session, &second, NOW + 40);
        assert!(matches!(show(&session, &first, NOW + 41), Shown::UsedBefore));
        let forged = Cookie { secret: [0; SECRET], ..first };
        assert!(matches!(show(&session, &forged, NOW), Shown::UsedBefore));
    }

    #[test]
    fn what_is_remembered_of_used_cookies_is_bounded() {
        let (mut cookie, mut session) = begun();
        for _ in 0..MOST {
            (cookie, session) = used(&session, &cookie, NOW);
        }
        assert!(matches!(show(&session, &cookie, NOW + 30), Shown::TooOften));
        let (_, session) = used(&session, &cookie, NOW + 31);
        assert_eq!(session.spent.len(), 1);
    }
}
