//! bcrypt in small steps, with breaks in which other threads may have the core.
//!
//! A hash of cost 12 takes a quarter of a second, and the kernel lets a thread have a core for some milliseconds before
//! it lets others run. A message whose thread was just woken on that core would wait that long. The `bcrypt` crate does
//! all rounds in one call, so this file has its own loop over the rounds; each round is `blowfish`'s.

use base64::{
    alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD},
};
use blowfish::Blowfish;
use std::{
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// The base64 variant of salts and hashes.
pub const BASE_64: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD);

/// How many bytes of a password count.
const KEY: usize = 72;

/// How many rounds run without a break; one takes about 50 µs.
const ROUNDS: u32 = 2;

/// How long all breaks of a check may take together: about as long as a hash takes. A login must make progress on a
/// busy machine too.
const PATIENCE: Duration = Duration::from_millis(250);

/// The text that is encrypted 64 times: `OrpheanBeholderScryDoubt`.
const TEXT: [[u32; 2]; 3] = [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];

/// The breaks of one check, however many hashes it computes.
pub struct Breaks {
    left: Duration,
}

impl Default for Breaks {
    fn default() -> Breaks {
        Breaks { left: PATIENCE }
    }
}

impl Breaks {
    /// Takes a break. Returns whether there was time for it.
    fn take(&mut self) -> bool {
        if self.left.is_zero() {
            return false;
        }
        let begun = Instant::now();
        thread::yield_now();
        self.left = self.left.saturating_sub(begun.elapsed());
        true
    }
}

/// The bcrypt hash of a password, with 2^`cost` rounds.
pub fn bcrypt(cost: u32, salt: &[u8; 16], password: &str, breaks: &mut Breaks) -> [u8; 23] {
    // With a NUL at the end, unless the password fills all 72 bytes.
    let mut key = Zeroizing::new([0; KEY + 1]);
    let length = password.len().min(KEY);
    key[..length].copy_from_slice(&password.as_bytes()[..length]);
    let key = &key[..(length + 1).min(KEY)];

    let mut state: Blowfish = Blowfish::bc_init_state();
    state.salted_expand_key(salt, key);
    for round in 0..1u32 << cost {
        state.bc_expand_key(key);
        state.bc_expand_key(salt);
        if round % ROUNDS == 0 {
            breaks.take();
        }
    }
    let mut hash = [0; 24];
    for (words, out) in TEXT.into_iter().zip(hash.chunks_exact_mut(8)) {
        let words = (0..64).fold(words, |words, _| state.bc_encrypt(words));
        out[..4].copy_from_slice(&words[0].to_be_bytes());
        out[4..].copy_from_slice(&words[1].to_be_bytes());
    }
    // The original implementation left the last byte out, and so have all others since.
    *hash.first_chunk().expect("24 bytes hold 23")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use proptest::prelude::*;

    #[test]
    fn others_get_the_core_for_a_bounded_time_only() {
        let mut breaks = Breaks { left: Duration::from_nanos(1) };
        assert!(breaks.take());
        assert!(!breaks.take());
    }

    #[test]
    fn a_hash_takes_breaks() {
        let mut breaks = Breaks { left: Duration::from_nanos(1) };
        super::bcrypt(4, &[0; 16], "password", &mut breaks);
        assert_eq!(breaks.left, Duration::ZERO);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_the_hash_that_the_bcrypt_crate_makes(password in "\\PC{0,100}", salt: [u8; 16], cost in 4u32..6) {
            let theirs = bcrypt::hash_with_salt(&password, cost, salt).unwrap();
            let ours = super::bcrypt(cost, &salt, &password, &mut Breaks::default());
            prop_assert!(theirs.to_string().ends_with(&BASE_64.encode(ours)));
        }
    }
}
