//! Tokens signed by the test itself (RFC 7515), independent of the server's own code.
//!
//! A forged token starts from a genuine one, so that the tests need not know which names the server gives to
//! the kinds of tokens: they take its claims, change one, and sign again.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::{Sha256, Sha512};

pub type Claims = Map<String, Value>;

/// The claims of a token, unverified.
#[track_caller]
pub fn claims_of(token: &str) -> Claims {
    part_of(token, 1)
}

/// The header of a token.
#[track_caller]
pub fn header_of(token: &str) -> Claims {
    part_of(token, 0)
}

#[track_caller]
fn part_of(token: &str, index: usize) -> Claims {
    let part = token.split('.').nth(index).expect("a token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
    serde_json::from_slice(&bytes).expect("a part is a JSON object")
}

/// `header.payload` as it is signed.
pub fn signed_part(header: &Value, claims: &Claims) -> String {
    let claims = Value::Object(claims.clone());
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub fn sign_hs256(secret: &[u8], header: &Value, claims: &Claims) -> String {
    let signed = signed_part(header, claims);
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do").chain_update(&signed).finalize();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.into_bytes()))
}

pub fn sign_hs512(secret: &[u8], header: &Value, claims: &Claims) -> String {
    let signed = signed_part(header, claims);
    let mac = Hmac::<Sha512>::new_from_slice(secret).expect("any length will do").chain_update(&signed).finalize();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.into_bytes()))
}

/// `genuine` with its claims changed, an id of its own, and the signature of the tests' usual secret.
#[track_caller]
pub fn forge(genuine: &str, change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = claims_of(genuine);
    claims.insert("jti".into(), json!(uuid::Uuid::now_v7().simple().to_string()));
    change(&mut claims);
    sign_hs256(crate::SECRET.as_bytes(), &json!({"alg": "HS256", "typ": "JWT"}), &claims)
}
