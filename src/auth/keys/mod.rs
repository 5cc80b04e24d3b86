//! The keys that sign and verify tokens.

mod algorithm;
pub mod error;
mod pem;
#[cfg(test)]
mod tests;

use super::pem::is_pem;
use algorithm::{SigningKey, VerifyingKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use error::KeyError;
use jwt_simple::prelude::{HS256Key, JWTClaims, VerificationOptions};
use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// Fewest bytes of an HS256 secret: the output size of its hash (RFC 7518 §3.2).
pub const MIN_SECRET: usize = 32;

/// SHA-256, in hex, of the keys in `dummy/keys`: of the secret's text, and of the public key's SubjectPublicKeyInfo.
/// Everybody knows these keys, so a server that trusts them trusts everybody.
const DEMO_FINGERPRINTS: [&str; 2] = [
    "d2313bef937bcb4f4eebd1c3470c116471516b51f9cbf6c5183fefb3af50ba12",
    "05e62ac3b2c26d31294ed4ab57016e0c461ad455a0c6560e0e3cb7e3653d3207",
];

/// How many earlier keys are remembered. Keys that are renewed more often have no time to be used.
const MAX_OLD_KEYS: usize = 16;

/// The key that signs, and all keys that verify. Clones share them: [`Keyring::renew`] changes all.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<RwLock<Arc<Inner>>>,
    leeway: Duration,
}

struct Inner {
    signing: SigningKey,
    /// The public key of `signing`.
    newest: Arc<VerifyingKey>,
    /// Latest first.
    old: Vec<OldKey>,
}

#[derive(Clone)]
struct OldKey {
    key: Arc<VerifyingKey>,
    /// When its last token has expired, if known.
    until: Option<Instant>,
}

impl OldKey {
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl Keyring {
    /// Builds the keyring from `JWT_PRIVATE_KEY` and `JWT_PUBLIC_KEY`. Each is PEM text, or an HS256 secret (any text
    /// without `-----BEGIN`); white space around it is ignored.
    ///
    /// A PEM key is PKCS#8 (perhaps encrypted), PKCS#1 or SEC1, and decides the algorithm: RSA RS512, P-256 ES256,
    /// P-384 ES384, secp256k1 ES256K, Ed25519 EdDSA. The public key is `public`, or else the certificate beside the
    /// private key, or else derived from the private key. `passphrase` is called only if the key is encrypted.
    ///
    /// Fails if a key can't be read or is too weak, or if the two do not belong together.
    pub fn from_settings(
        private: &str,
        public: Option<&str>,
        passphrase: &mut dyn FnMut() -> Result<String, KeyError>,
    ) -> Result<Keyring, KeyError> {
        let private = private.trim();
        let public = public.map(str::trim).filter(|text| !text.is_empty());
        let (signing, verifying) = if is_pem(private) {
            pem::key_pair(private, public, passphrase)?
        } else {
            if public.is_some_and(|public| public != private) {
                return Err(KeyError(
                    "JWT_PRIVATE_KEY is an HS256 secret (it holds no `-----BEGIN`), but JWT_PUBLIC_KEY is something \
                     else; leave JWT_PUBLIC_KEY out, or give a PEM private key that belongs to it"
                        .into(),
                ));
            }
            let key = secret("JWT_PRIVATE_KEY", private)?;
            (SigningKey::Hs256(key.clone()), VerifyingKey::Hs256(key))
        };
        Ok(Keyring::of(Inner { signing, newest: Arc::new(verifying), old: Vec::new() }))
    }

    fn of(inner: Inner) -> Keyring {
        Keyring { inner: Arc::new(RwLock::new(Arc::new(inner))), leeway: Duration::ZERO }
    }

    /// Accepts tokens that become valid up to `leeway` in the future, because the clocks of nodes differ.
    pub fn with_leeway(self, leeway: Duration) -> Keyring {
        Keyring { leeway, ..self }
    }

    pub(super) fn leeway(&self) -> Duration {
        self.leeway
    }

    /// The present keys. No lock is held while they are used, so a renewal never waits.
    fn now(&self) -> Arc<Inner> {
        self.inner.read().clone()
    }

    /// Signs with the key of `new` from now on. Tokens of the previous keys stay valid for `life`, which should be the
    /// longest life of any token. `false` if it is the same key, and nothing changed.
    pub fn renew(&self, new: &Keyring, life: Duration) -> bool {
        let new = new.now();
        let mut inner = self.inner.write();
        if inner.newest.identity() == new.newest.identity() {
            return false;
        }
        // One second more, since a token is still valid in the second `exp`.
        let until = Instant::now().checked_add(life + Duration::from_secs(1));
        let last = OldKey { key: inner.newest.clone(), until };
        let known = std::iter::once(last).chain(inner.old.iter().cloned());
        let old = known.filter(|old| old.is_good() && old.key.identity() != new.newest.identity());
        let old = old.take(MAX_OLD_KEYS).collect();
        *inner = Arc::new(Inner { signing: new.signing.clone(), newest: new.newest.clone(), old });
        true
    }

    /// Also accepts tokens of earlier keys, until the last of those tokens has expired. Each is an earlier
    /// `JWT_PUBLIC_KEY` (PEM) or an earlier HS256 secret.
    pub fn with_old_keys(self, old: &[&str]) -> Result<Keyring, KeyError> {
        let inner = self.now();
        let (signing, newest) = (inner.signing.clone(), inner.newest.clone());
        let mut known = inner.old.clone();
        for text in old {
            let text = text.trim();
            let key = Arc::new(if is_pem(text) {
                pem::public_key("an earlier public key", text)?
            } else {
                VerifyingKey::Hs256(secret("an earlier secret", text)?)
            });
            known.push(OldKey { key, until: None });
        }
        Ok(Keyring::of(Inner { signing, newest, old: known }).with_leeway(self.leeway))
    }

    /// Makes an HS256 secret: 48 random bytes in base64url. Keep it in a file of mode 0600.
    pub fn generate_secret() -> String {
        let mut bytes = zeroize::Zeroizing::new([0; 48]);
        rand::fill(&mut bytes[..]);
        URL_SAFE_NO_PAD.encode(&bytes[..])
    }

    /// The JWS algorithm that signs: `HS256`, `RS512`, `ES256`, `EdDSA`, ….
    pub fn algorithm(&self) -> &'static str {
        self.now().signing.algorithm()
    }

    /// Whether any of the keys is one that comes with the sources, in `dummy/keys`.
    pub fn is_demo(&self) -> bool {
        let inner = self.now();
        inner.old.iter().map(|old| &old.key).chain([&inner.newest]).any(|key| {
            let digest = Sha256::digest(key.identity());
            let hex = base16ct::lower::encode_string(&digest);
            DEMO_FINGERPRINTS.contains(&hex.as_str())
        })
    }

    pub(super) fn sign_claims<C: Serialize>(&self, claims: JWTClaims<C>) -> String {
        self.now().signing.sign(claims).expect("a long enough secret always signs; a PEM key has signed a probe")
    }

    /// Tries each key in turn. Returns the result of the first key whose signature matches, or else that of the signing
    /// key.
    pub(super) fn verify_claims<C: DeserializeOwned>(
        &self,
        token: &str,
        options: &VerificationOptions,
        unsigned: fn(&jwt_simple::Error) -> bool,
    ) -> Result<JWTClaims<C>, jwt_simple::Error> {
        let inner = self.now();
        let judgement = inner.newest.verify(token, options.clone());
        match &judgement {
            Err(error) if unsigned(error) => {}
            _ => return judgement,
        }
        let old = inner.old.iter().filter(|old| old.is_good());
        old.map(|old| old.key.verify(token, options.clone()))
            .find(|judgement| !judgement.as_ref().is_err_and(unsigned))
            .unwrap_or(judgement)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// Reads an HS256 secret; `name` identifies it in the error.
fn secret(name: &str, text: &str) -> Result<HS256Key, KeyError> {
    if text.len() < MIN_SECRET {
        return Err(KeyError(format!(
            "{name} has {} bytes; an HS256 secret needs at least {MIN_SECRET} (RFC 7518 §3.2). `keys.sh hs256` makes \
             one. If it is the path of a key, use JWT_PRIVATE_KEY_FILE",
            text.len()
        )));
    }
    Ok(HS256Key::from_bytes(text.as_bytes()))
}
