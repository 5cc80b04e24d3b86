//! Password hashes as Laravel writes them, checked on at most half of the cores.

mod bcrypt_steps;
mod giving_way;
mod hash;
mod queue;

use crate::refusal::{Reason, Refusal};
use base64::Engine as _;
use bcrypt_steps::{BASE_64, Breaks};
use hash::{Cost, Hash};
use parking_lot::Mutex;
use queue::Queue;
pub use queue::{Asker, Kind, Standing, WAITING};
use std::time::Duration;

/// The cost of new bcrypt hashes: Laravel's default.
const COST: u32 = 12;

/// How long a password may wait for its turn. A hash takes about 250 ms, or twice that if others want the core, so this
/// is enough for everything that may wait in one line.
const WAIT: Duration = Duration::from_secs(20);

/// The right to check or make one hash.
pub struct Turn<'a> {
    passwords: &'a Passwords,
    _turn: queue::Turn<'a>,
}

/// Checks and makes password hashes, a bounded number at a time.
///
/// Every check does the same work, that of the most expensive hash in use, whether the account exists or not and
/// however old its hash is. For a bcrypt hash of a lower cost, and for an unknown account, the missing work is added.
/// At first "in use" means bcrypt of cost 12; it learns from [`Passwords::expecting`] and from every hash that it
/// checks. Only the very first check of a hash that is more expensive than all before can be told apart.
pub struct Passwords {
    queue: Queue,
    cost: Mutex<Cost>,
}

impl Passwords {
    /// `at_once` is how many hashes may be computed in parallel. [`WAITING`] more may wait.
    pub fn new(at_once: usize) -> Passwords {
        Passwords { queue: Queue::new(at_once, WAIT), cost: Mutex::new(Cost::bcrypt(COST)) }
    }

    /// Takes a hash of the account store as a sample of all in use. If they are cheaper than bcrypt of cost 12 (demo
    /// accounts), checks become quicker; they are correct without it.
    pub fn expecting(self, sample: &str) -> Passwords {
        if let Some(hash) = Hash::read(sample) {
            *self.cost.lock() = hash.cost();
        }
        self
    }

    /// Waits for a turn to check or make a hash. Refuses with `unavailable` if too many wait already, or if it takes
    /// too long.
    pub fn turn(&self, asker: &Asker) -> Result<Turn<'_>, Refusal> {
        Ok(Turn { passwords: self, _turn: self.queue.enter(asker)? })
    }

    /// A bcrypt hash (`$2y$`, cost 12) of `password`, as `account add` and closed rooms keep it. As in PHP, only the
    /// first 72 bytes of a password count.
    ///
    /// Refuses a password that holds a NUL with `invalid_fields`.
    pub fn hash(password: &str) -> Result<String, Refusal> {
        if password.contains('\0') {
            return Err(Refusal::new(Reason::InvalidFields, "A password can't hold a NUL character; choose another.")
                .field("password", "holds a NUL character"));
        }
        let salt = rand::random();
        let hash = bcrypt_steps::bcrypt(COST, &salt, password, &mut Breaks::default());
        Ok(format!("$2y${COST:02}${}{}", BASE_64.encode(salt), BASE_64.encode(hash)))
    }
}

impl Turn<'_> {
    /// Whether `hash` is the hash of `password`. Without a hash (unknown account) it takes as long and returns `false`.
    ///
    /// It knows bcrypt (`$2y$`, `$2a$`, `$2b$`, up to cost 16) and `$argon2id$` (up to 128 MiB, see `hash.rs`); any
    /// other value never matches. As in PHP, bcrypt reads only the first 72 bytes of a password. A password with a NUL
    /// never matches, because bcrypt would ignore what follows the NUL.
    pub fn verify(self, password: &str, hash: Option<&str>) -> bool {
        let hash = hash.and_then(Hash::read);
        let cost = {
            let mut cost = self.passwords.cost.lock();
            if let Some(hash) = &hash {
                cost.learn(&hash.cost());
            }
            cost.clone()
        };
        let mut breaks = Breaks::default();
        let matches = hash.as_ref().is_some_and(|hash| hash.matches(password, &mut breaks));
        cost.make_up_for(hash.as_ref(), password, &mut breaks);
        matches && !password.contains('\0')
    }

    /// See [`Passwords::hash`].
    pub fn hash(self, password: &str) -> Result<String, Refusal> {
        Passwords::hash(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    /// Written by PHP's `password_hash`; used in Laravel's user factory.
    const LARAVEL: &str = "$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi";
    /// From the manual of PHP's `password_verify`.
    const PHP: &str = "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq";
    /// From the manual of PHP's `crypt`.
    const OLD_PHP: &str = "$2a$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi";
    /// Of 80 times `p`, and of `grüße` in UTF-8. Written by libxcrypt, whose bcrypt is PHP's.
    const LONG: &str = "$2y$04$92IXUNpkjO0rOQ5byMi.YeIe4qJYiVlcl.s.cgxxrbW.KU/86PODG";
    const UMLAUT: &str = "$2y$04$92IXUNpkjO0rOQ5byMi.YeGhw.7Ijgmygmc9Uzap6IqJ3ZxXS5T1W";
    /// From the tests of Argon2's reference implementation.
    const ARGON2ID: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const ARGON2ID_TWO_LANES: &str =
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";

    /// With the least possible cost, so that tests are quick.
    fn passwords() -> Passwords {
        Passwords::new(1).expecting(&hashed("anything"))
    }

    const ASKER: Asker =
        Asker { kind: Kind::Account, standing: Standing::New, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };

    fn verify(passwords: &Passwords, password: &str, hash: Option<&str>) -> bool {
        passwords.turn(&ASKER).unwrap().verify(password, hash)
    }

    fn hashed(password: &str) -> String {
        bcrypt::hash_with_salt(password, 4, *b"a salt for tests").unwrap().format_for_version(bcrypt::Version::TwoY)
    }

    #[test]
    fn the_right_password_matches_a_hash_of_php() {
        for (password, hash) in
            [("password", LARAVEL), ("rasmuslerdorf", PHP), ("rasmuslerdorf", OLD_PHP), ("grüße", UMLAUT)]
        {
            assert!(verify(&passwords(), password, Some(hash)), "{hash}");
        }
    }

    #[test]
    fn a_wrong_password_matches_no_hash_of_php() {
        for hash in [LARAVEL, PHP, OLD_PHP] {
            for password in ["", "Password", "rasmuslerdorf ", "password\n"] {
                assert!(!verify(&passwords(), password, Some(hash)), "{password} {hash}");
            }
        }
    }

    #[test]
    fn the_three_prefixes_of_bcrypt_mean_the_same() {
        for prefix in ["$2y$", "$2a$", "$2b$"] {
            assert!(verify(&passwords(), "password", Some(&LARAVEL.replace("$2y$", prefix))), "{prefix}");
        }
        assert!(!verify(&passwords(), "password", Some(&LARAVEL.replace("$2y$", "$2x$"))));
    }

    #[test]
    fn argon2id_matches_the_right_password_only() {
        for hash in [ARGON2ID, ARGON2ID_TWO_LANES] {
            assert!(verify(&passwords(), "password", Some(hash)));
            assert!(!verify(&passwords(), "passwore", Some(hash)));
        }
    }

    #[test]
    fn bcrypt_sees_72_bytes_as_in_php() {
        let long = "p".repeat(72);
        for tail in ["", "pppppppp", "something else"] {
            assert!(verify(&passwords(), &format!("{long}{tail}"), Some(LONG)), "{tail}");
        }
        assert!(!verify(&passwords(), &long[..71], Some(LONG)));
    }

    #[test]
    fn a_character_cut_at_the_72nd_byte_still_matches() {
        let long = format!("{}ü", "p".repeat(71));
        assert!(verify(&passwords(), &long, Some(&hashed(&long))));
    }

    #[test]
    fn a_password_with_nul_never_matches() {
        assert!(!verify(&passwords(), "secret\0tail", Some(&hashed("secret\0tail"))));
        assert!(!verify(&passwords(), "secret\0", Some(&hashed("secret"))));
    }

    #[test]
    fn a_password_with_nul_is_not_hashed() {
        assert_eq!(Passwords::hash("a\0b").unwrap_err().reason, Reason::InvalidFields);
    }

    #[test]
    fn an_unknown_account_never_matches() {
        assert!(!verify(&passwords(), "password", None));
    }

    #[test]
    fn a_value_that_is_no_hash_never_matches() {
        let long = "x".repeat(100_000);
        for value in ["", "password", "$2y$", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$abc$def", "$argon2id$", &long] {
            assert!(!verify(&passwords(), "password", Some(value)), "{value:.40}");
            assert!(!verify(&passwords(), value, Some(value)), "{value:.40}");
        }
    }

    #[test]
    fn a_new_hash_is_one_that_laravel_reads_and_matches_its_password() {
        let hash = Passwords::hash("alice-password").unwrap();
        assert!(hash.starts_with("$2y$12$") && hash.len() == 60, "{hash}");
        assert!(verify(&passwords(), "alice-password", Some(&hash)));
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        assert_ne!(Passwords::hash("same").unwrap(), Passwords::hash("same").unwrap());
    }

    #[test]
    fn an_expensive_hash_raises_what_every_later_check_costs() {
        let passwords = passwords();
        verify(&passwords, "password", Some(LARAVEL));
        verify(&passwords, "password", Some(ARGON2ID));
        let mut expected = Cost::bcrypt(10);
        expected.learn(&Hash::read(ARGON2ID).unwrap().cost());
        assert_eq!(*passwords.cost.lock(), expected);
    }

    #[test]
    fn a_cheap_hash_lowers_nothing() {
        let passwords = Passwords::new(1);
        verify(&passwords, "anything", Some(&hashed("anything")));
        assert_eq!(*passwords.cost.lock(), Cost::bcrypt(COST));
    }
}
