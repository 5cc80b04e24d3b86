//! Tokens of another backend (stream door): HS256 with its secret. Only a few of their claims are checked.
//!
//! jwt-simple refuses secrets of less than 12 bytes, and tokens whose claims have unexpected types. Neither is ours to
//! choose, and only the expiry of such a token matters here.

use super::token::{signed_part, unix_seconds};
use crate::{
    flat_json,
    refusal::{Reason, Refusal},
    store::ledger::SignedPart,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// More fields than the header or the claims of any token have.
const MAX_CLAIMS: usize = 256;

/// Secrets with fewer bytes than this deserve a warning: it is the output size of the hash (RFC 7518 §3.2).
pub const GOOD_SECRET: usize = 32;

/// The part of the token that is spent, and the token's expiry. Only `exp` is required. An `nbf` that is a number may
/// be `leeway` ahead. `iat` is not checked: RFC 7519 §4.1.6 does not give it that meaning.
pub fn verify_foreign(
    secret: &[u8],
    token: &str,
    now: SystemTime,
    leeway: Duration,
) -> Result<(SignedPart, SystemTime), Refusal> {
    let mark = signed_part(token)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Reason::TokenMalformed)?;

    let header = object(header)?;
    // An extension that must be understood, but is not (RFC 7515 §4.1.11).
    if header.contains_key("crit") {
        return Err(Reason::TokenMalformed.into());
    }
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(Reason::TokenBadSignature.into());
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Reason::TokenMalformed)?;
    let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Reason::TokenBadSignature)?;
    // Compares in constant time.
    mac.chain_update(signed).verify_slice(&signature).map_err(|_| Reason::TokenBadSignature)?;

    let claims = object(payload)?;
    let now = unix_seconds(now);
    let expires = match claims.get("exp") {
        None | Some(Value::Null) => return Err(Reason::TokenNoExpiry.into()),
        Some(expires) => seconds(expires).ok_or(Reason::TokenMalformed)?,
    };
    if expires < now {
        return Err(Reason::TokenExpired.into());
    }
    if claims.get("nbf").and_then(seconds).is_some_and(|from| from > now.saturating_add(leeway.as_secs())) {
        return Err(Reason::TokenNotYetValid.into());
    }
    // No mark of a spent token needs to be kept beyond the year 2106.
    Ok((mark, UNIX_EPOCH + Duration::from_secs(expires.min(u32::MAX.into()))))
}

fn object(part: &str) -> Result<Map<String, Value>, Reason> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::TokenMalformed)?;
    flat_json::object(&json, MAX_CLAIMS).ok_or(Reason::TokenMalformed)
}

/// The whole seconds of a NumericDate (RFC 7519 §2), which may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    // The cast turns numbers below 0 into 0, and too large ones into the largest.
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}
