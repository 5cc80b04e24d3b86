//! The keys with which backends call `/api/v1`: what each may do, and how a secret is recognised.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use subtle::ConstantTimeEq;

/// Fewest bytes of a secret.
pub const MIN_SECRET: usize = 32;
/// Most bytes of a secret: more than any program would generate.
const MAX_SECRET: usize = 512;
/// Most characters of a name.
const MAX_NAME: usize = 32;
/// Most keys: a presented secret is compared with each.
const MAX_KEYS: usize = 1000;

/// A use for which a key is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Make tokens for users.
    Tokens,
    /// Send messages to rooms.
    Publish,
    /// Read messages, and who is present.
    Read,
    /// Delete messages, mute, disconnect, send notices.
    Moderate,
}

impl Scope {
    pub const ALL: [Scope; 4] = [Scope::Tokens, Scope::Publish, Scope::Read, Scope::Moderate];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Tokens => "tokens",
            Scope::Publish => "publish",
            Scope::Read => "read",
            Scope::Moderate => "moderate",
        }
    }
}

impl FromStr for Scope {
    type Err = KeyLineError;

    fn from_str(word: &str) -> Result<Scope, KeyLineError> {
        Scope::ALL.into_iter().find(|scope| scope.word() == word).ok_or(KeyLineError::Scopes)
    }
}

/// The owner of a key, and its scopes. The secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Appears in the log and in the names of bots.
    pub name: Arc<str>,
    scopes: Arc<[Scope]>,
}

impl Caller {
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// What is wrong with a line. Never quotes the line: it may be a secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    #[error("it should have three parts, NAME SCOPE[,SCOPE…] SECRET, with white space between them")]
    Parts,
    #[error("its name should be 1 to 32 of a-z, 0-9 and -")]
    Name,
    #[error("its scopes should be some of tokens, publish, read, moderate, with commas between them")]
    Scopes,
    #[error("its secret should be 32 bytes or more of letters, digits and -._~+/=; `propromo-chat keys api` makes one")]
    Secret,
    #[error("its name is that of an earlier line")]
    NameTwice,
    #[error("its secret is that of an earlier line")]
    SecretTwice,
    #[error("there are more than 1000 keys")]
    TooMany,
}

/// The accepted keys. Clones share them, also after [`ApiKeys::renew`].
#[derive(Clone, Default)]
pub struct ApiKeys(Arc<RwLock<Vec<Key>>>);

struct Key {
    digest: [u8; 32],
    caller: Caller,
}

impl ApiKeys {
    /// Reads one key per line; ignores empty lines and lines that begin with `#`. Fails with the number of the first
    /// wrong line, counted from 1.
    ///
    /// An environment file puts all keys on one line, with `\n` for line ends: no secret holds a backslash.
    pub fn parse(text: &str) -> Result<ApiKeys, (usize, KeyLineError)> {
        let unfolded = text.replace("\\n", "\n");
        let mut keys: Vec<Key> = Vec::new();
        for (line, number) in unfolded.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = Key::parse(line).map_err(|error| (number, error))?;
            let wrong = if keys.iter().any(|other| other.caller.name == key.caller.name) {
                Some(KeyLineError::NameTwice)
            } else if keys.iter().any(|other| other.digest == key.digest) {
                Some(KeyLineError::SecretTwice)
            } else if keys.len() == MAX_KEYS {
                Some(KeyLineError::TooMany)
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return Err((number, wrong));
            }
            keys.push(key);
        }
        Ok(ApiKeys(Arc::new(RwLock::new(keys))))
    }

    /// Whether there are no keys: then there is no API.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// The caller with this secret. Each key is compared to the end, so that the time reveals nothing.
    pub fn caller(&self, secret: &str) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let keys = self.0.read();
        let mut found = None;
        for key in &*keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(&key.caller);
            }
        }
        found.cloned()
    }

    /// Replaces the keys by those in `read`. Returns whether they differ.
    pub fn renew(&self, read: ApiKeys) -> bool {
        let read = std::mem::take(&mut *read.0.write());
        let mut keys = self.0.write();
        let same = keys.len() == read.len()
            && keys.iter().zip(&read).all(|(a, b)| a.digest == b.digest && a.caller == b.caller);
        *keys = read;
        !same
    }
}

/// Makes a new line for `API_KEYS`.
pub fn generate(name: &str, scopes: &str) -> Result<String, KeyLineError> {
    let line = format!("{name} {scopes} {}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 36]>()));
    Key::parse(&line).map(|_| line)
}

impl Key {
    fn parse(line: &str) -> Result<Key, KeyLineError> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [name, scopes, secret] = parts[..] else { return Err(KeyLineError::Parts) };
        let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.len() > MAX_NAME || !name.bytes().all(fit) {
            return Err(KeyLineError::Name);
        }
        let scopes = scopes.split(',').map(str::parse).collect::<Result<Vec<Scope>, _>>()?;
        // The characters that a header can carry (RFC 6750 §2.1).
        let fit = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if !(MIN_SECRET..=MAX_SECRET).contains(&secret.len()) || !secret.bytes().all(fit) {
            return Err(KeyLineError::Secret);
        }
        Ok(Key { digest: Sha256::digest(secret).into(), caller: Caller { name: name.into(), scopes: scopes.into() } })
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.read().iter().map(|key| &key.caller.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn wrong(text: &str) -> (usize, KeyLineError) {
        ApiKeys::parse(text).map(drop).unwrap_err()
    }

    #[test]
    fn a_secret_names_its_caller_and_what_it_may_do() {
        let keys = ApiKeys::parse(&format!("# ours\n\n  site tokens,read {SECRET}\nci publish {SECRET}x\n")).unwrap();
        let site = keys.caller(SECRET).unwrap();
        assert_eq!(&*site.name, "site");
        assert!(site.may(Scope::Tokens) && site.may(Scope::Read));
        assert!(!site.may(Scope::Publish) && !site.may(Scope::Moderate));
        assert_eq!(&*keys.caller(&format!("{SECRET}x")).unwrap().name, "ci");
        for other in ["", &SECRET[1..], &SECRET.to_uppercase(), &format!("{SECRET}y")] {
            assert_eq!(keys.caller(other), None, "{other}");
        }
    }

    #[test]
    fn one_line_may_hold_all() {
        let keys = ApiKeys::parse(&format!("a read {SECRET}\\nb read {SECRET}b")).unwrap();
        assert!(keys.caller(&format!("{SECRET}b")).is_some());
    }

    #[test]
    fn the_line_that_is_wrong_is_numbered() {
        assert_eq!(wrong("#\nsite tokens"), (2, KeyLineError::Parts));
        assert_eq!(wrong(&format!("Site tokens {SECRET}")), (1, KeyLineError::Name));
        assert_eq!(wrong(&format!("{} read {SECRET}", "a".repeat(33))), (1, KeyLineError::Name));
        assert_eq!(wrong(&format!("site read,write {SECRET}")), (1, KeyLineError::Scopes));
        assert_eq!(wrong(&format!("site read, {SECRET}")), (1, KeyLineError::Scopes));
        assert_eq!(wrong(&format!("site read {}", &SECRET[1..])), (1, KeyLineError::Secret));
        assert_eq!(wrong(&format!("site read {SECRET}ä")), (1, KeyLineError::Secret));
        assert_eq!(wrong(&format!("site read {SECRET}\nsite read {SECRET}x")), (2, KeyLineError::NameTwice));
        assert_eq!(wrong(&format!("site read {SECRET}\nci read {SECRET}")), (2, KeyLineError::SecretTwice));
    }

    #[test]
    fn keys_that_are_read_again_replace_those_before_for_all_who_share_them() {
        let keys = ApiKeys::parse(&format!("a read {SECRET}")).unwrap();
        let shared = keys.clone();
        assert!(!keys.renew(ApiKeys::parse(&format!("a read {SECRET}")).unwrap()));
        assert!(keys.renew(ApiKeys::parse(&format!("a read,publish {SECRET}")).unwrap()));
        assert!(shared.caller(SECRET).unwrap().may(Scope::Publish));
        assert!(keys.renew(ApiKeys::default()) && shared.is_empty());
    }

    #[test]
    fn a_generated_line_is_one_that_is_taken() {
        let line = generate("ci", "publish,read").unwrap();
        let secret = line.rsplit(' ').next().unwrap();
        assert!(secret.len() >= MIN_SECRET);
        assert_eq!(&*ApiKeys::parse(&line).unwrap().caller(secret).unwrap().name, "ci");
        assert_eq!(generate("C I", "read").unwrap_err(), KeyLineError::Parts);
        assert_eq!(generate("ci", "all").unwrap_err(), KeyLineError::Scopes);
    }

    #[test]
    fn no_secret_is_shown() {
        let keys = ApiKeys::parse(&format!("site read {SECRET}")).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["site"]"#);
    }
}
