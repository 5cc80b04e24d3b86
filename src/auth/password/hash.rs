//! The supported kinds of hash, what a check of each costs, and how to spend the same cost without a hash.

use super::{
    bcrypt_steps::{self, Breaks},
    giving_way::giving_way,
};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordVerifier as _, phc::PasswordHash},
};
use base64::Engine as _;
use std::hint::black_box;
use subtle::ConstantTimeEq as _;

/// PHP allows 31, at which a single check takes a day. 16 takes a few seconds.
const MAX_COST: u32 = 16;

/// Bounds for the parameters of an argon2id hash, so that no row of the accounts' table can exhaust the machine.
/// Laravel's default is 64 MiB, 4 passes, 1 lane.
const MAX_MEMORY_KIB: u32 = 128 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;

/// Bytes before the hash in the text of a bcrypt hash: `$2y$12$` and 22 characters of salt.
const BCRYPT_HEAD: usize = 29;

/// A hash that can be checked at a bounded cost.
pub enum Hash {
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Argon2id { params: Params, parsed: Box<PasswordHash> },
}

/// The work of a check: the most expensive hash in use, of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    bcrypt: Option<u32>,
    argon2id: Option<Params>,
}

impl Hash {
    /// Parses a hash; `None` if the text is not a hash, is of another kind, or exceeds the bounds.
    pub fn read(text: &str) -> Option<Hash> {
        if text.starts_with("$argon2id$") { Hash::read_argon2id(text) } else { Hash::read_bcrypt(text) }
    }

    fn read_bcrypt(text: &str) -> Option<Hash> {
        let known = ["$2y$", "$2a$", "$2b$"].iter().any(|prefix| text.starts_with(prefix));
        let parts: bcrypt::HashParts = text.parse().ok()?;
        let hash = bcrypt_steps::BASE_64.decode(text.get(BCRYPT_HEAD..)?).ok()?.try_into().ok()?;
        let (cost, salt) = (parts.get_cost(), parts.get_salt_raw());
        (known && (4..=MAX_COST).contains(&cost)).then_some(Hash::Bcrypt { cost, salt, hash })
    }

    fn read_argon2id(text: &str) -> Option<Hash> {
        let parsed = Box::new(PasswordHash::new(text).ok()?);
        let params = Params::try_from(&*parsed).ok()?;
        let sane = parsed.version == Some(Version::V0x13.into())
            && parsed.hash.is_some_and(|hash| hash.len() >= 16)
            && parsed.salt.is_some()
            && params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        sane.then_some(Hash::Argon2id { params, parsed })
    }

    /// Whether this is the hash of `password`.
    pub fn matches(&self, password: &str, breaks: &mut Breaks) -> bool {
        match self {
            Hash::Bcrypt { cost, salt, hash } => bcrypt_steps::bcrypt(*cost, salt, password, breaks).ct_eq(hash).into(),
            Hash::Argon2id { parsed, .. } => {
                giving_way(|| Argon2::default().verify_password(password.as_bytes(), &**parsed).is_ok())
            }
        }
    }

    pub fn cost(&self) -> Cost {
        match self {
            Hash::Bcrypt { cost, .. } => Cost::bcrypt(*cost),
            Hash::Argon2id { params, .. } => Cost { bcrypt: None, argon2id: Some(params.clone()) },
        }
    }
}

impl Cost {
    pub fn bcrypt(cost: u32) -> Cost {
        Cost { bcrypt: Some(cost), argon2id: None }
    }

    /// Adopts whatever is more expensive in `other`.
    pub fn learn(&mut self, other: &Cost) {
        self.bcrypt = self.bcrypt.max(other.bcrypt);
        let work = |params: &Option<Params>| {
            params.as_ref().map_or(0, |params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
        };
        if work(&other.argon2id) > work(&self.argon2id) {
            self.argon2id = other.argon2id.clone();
        }
    }

    /// Does the work that is still missing after the check of `done`, or all of it if there was no hash to check.
    /// Nothing is added to an argon2id check: its parameters can't be summed, and an application writes all its hashes
    /// with the same ones.
    pub fn make_up_for(&self, done: Option<&Hash>, password: &str, breaks: &mut Breaks) {
        for cost in self.missing_bcrypt(done) {
            black_box(bcrypt_steps::bcrypt(cost, &[0; 16], black_box(password), breaks));
        }
        if let (Some(params), false) = (&self.argon2id, matches!(done, Some(Hash::Argon2id { .. }))) {
            giving_way(|| {
                let mut out = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                let _ = black_box(argon2.hash_password_into(black_box(password).as_bytes(), &[0; 16], &mut out));
            });
        }
    }

    /// The costs of the bcrypt hashes that are still to be made. A hash of cost c has 2^c rounds, and 2^c + (2^c +
    /// 2^(c+1) + … + 2^(n-1)) = 2^n: together with one of cost c, these take as long as one of cost n.
    fn missing_bcrypt(&self, done: Option<&Hash>) -> Vec<u32> {
        match (self.bcrypt, done) {
            (None, _) => vec![],
            (Some(all), Some(Hash::Bcrypt { cost, .. })) => (*cost..all).collect(),
            (Some(all), _) => vec![all],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bcrypt_of(cost: u32) -> String {
        format!("$2y${cost:02}$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi")
    }

    fn argon2id(parameters: &str) -> String {
        format!("$argon2id$v=19${parameters}$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
    }

    #[test]
    fn every_bcrypt_check_is_as_many_rounds_as_the_most_expensive_one() {
        let most = Cost::bcrypt(12);
        for cost in 4..=12 {
            let hash = Hash::read(&bcrypt_of(cost)).unwrap();
            let rounds: u64 = most.missing_bcrypt(Some(&hash)).iter().map(|cost| 1 << cost).sum();
            assert_eq!(rounds + (1 << cost), 1 << 12, "cost {cost}");
        }
        assert_eq!(most.missing_bcrypt(None), [12]);
    }

    #[test]
    fn after_an_argon2id_check_the_whole_of_bcrypt_is_made_up_for() {
        let hash = Hash::read(&argon2id("m=256,t=2,p=1")).unwrap();
        assert_eq!(Cost::bcrypt(12).missing_bcrypt(Some(&hash)), [12]);
        assert!(hash.cost().missing_bcrypt(Some(&hash)).is_empty());
    }

    #[test]
    fn bcrypt_that_would_take_hours_is_no_hash() {
        assert!(Hash::read(&bcrypt_of(MAX_COST)).is_some());
        for cost in [MAX_COST + 1, 31, 99, 3, 0] {
            assert!(Hash::read(&bcrypt_of(cost)).is_none(), "cost {cost}");
        }
    }

    #[test]
    fn argon2id_as_laravel_writes_it_is_a_hash() {
        assert!(Hash::read(&argon2id("m=65536,t=4,p=1")).is_some());
    }

    #[test]
    fn argon2id_that_would_eat_the_machine_is_no_hash() {
        for parameters in
            ["m=131073,t=1,p=1", "m=4294967295,t=1,p=1", "m=256,t=17,p=1", "m=256,t=4294967295,p=1", "m=256,t=1,p=9"]
        {
            assert!(Hash::read(&argon2id(parameters)).is_none(), "{parameters}");
        }
    }

    #[test]
    fn other_members_of_the_argon2_family_are_no_hash() {
        for name in ["$argon2i$", "$argon2d$"] {
            assert!(Hash::read(&argon2id("m=256,t=2,p=1").replace("$argon2id$", name)).is_none(), "{name}");
        }
        assert!(Hash::read(&argon2id("m=256,t=2,p=1").replace("v=19", "v=16")).is_none());
    }

    #[test]
    fn the_more_expensive_argon2id_is_learned() {
        let (cheap, dear) =
            (Hash::read(&argon2id("m=256,t=2,p=1")).unwrap(), Hash::read(&argon2id("m=512,t=2,p=1")).unwrap());
        let mut cost = cheap.cost();
        cost.learn(&dear.cost());
        cost.learn(&cheap.cost());
        assert_eq!(cost, dear.cost());
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(\\$2[aby]\\$|\\$argon2id\\$v=19\\$)?.{0,100}") {
            let _ = Hash::read(&text);
        }
    }
}
