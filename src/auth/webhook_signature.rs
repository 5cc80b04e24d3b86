//! Signatures of webhooks, by the Standard Webhooks specification, with one secret or, during a change, with several.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The prefix of a secret, by which people and scanners recognise one.
const PREFIX: &str = "whsec_";

/// Fewest and most bytes of a secret in the specification.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// How many secrets may be used at the same time.
const MAX_SECRETS: usize = 4;

/// The secrets that sign events.
#[derive(Clone)]
pub struct WebhookSecrets(Vec<Vec<u8>>);

/// What is wrong with a text of secrets. Never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    #[error("it should be `whsec_` and the base64 of 24 to 64 random bytes; `openssl rand -base64 32` makes them")]
    Form,
    #[error("it should be one secret, or up to 4 with white space between them")]
    Number,
}

impl WebhookSecrets {
    /// Reads one secret, or several with white space between them. With several, each event has a signature by each, so
    /// that the receiver can change from one to the other.
    pub fn parse(text: &str) -> Result<WebhookSecrets, WebhookSecretError> {
        let secrets: Result<Vec<_>, _> = text.split_whitespace().map(secret).collect();
        let secrets = secrets?;
        if (1..=MAX_SECRETS).contains(&secrets.len()) {
            Ok(WebhookSecrets(secrets))
        } else {
            Err(WebhookSecretError::Number)
        }
    }

    /// The header `webhook-signature` for a body that is sent at `timestamp` (in Unix seconds).
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn secret(text: &str) -> Result<Vec<u8>, WebhookSecretError> {
    let secret = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| WebhookSecretError::Form)?;
    if LENGTHS.contains(&secret.len()) { Ok(secret) } else { Err(WebhookSecretError::Form) }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    // A test vector of the specification's own libraries (`testSignFunctionWorks`).
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(WebhookSecrets::parse(SECRET).unwrap().sign(id, 1_614_265_330, body), expected);
        let bare = WebhookSecrets::parse(SECRET.strip_prefix(PREFIX).unwrap()).unwrap();
        assert_eq!(bare.sign(id, 1_614_265_330, body), expected);
    }

    #[test]
    fn each_of_several_secrets_signs() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = WebhookSecrets::parse(&format!("{other}\n{SECRET}")).unwrap().sign("msg_1", 1, b"{}");
        let each = [&other[..], SECRET].map(|one| WebhookSecrets::parse(one).unwrap().sign("msg_1", 1, b"{}"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for text in ["whsec_", "whsec_!", "not base64 at all", &short, "sk_123"] {
            assert_eq!(WebhookSecrets::parse(text).unwrap_err(), WebhookSecretError::Form, "{text}");
        }
        assert_eq!(WebhookSecrets::parse(" ").unwrap_err(), WebhookSecretError::Number);
        assert_eq!(WebhookSecrets::parse(&[SECRET; 5].join(" ")).unwrap_err(), WebhookSecretError::Number);
        assert_eq!(format!("{:?}", WebhookSecrets::parse(SECRET).unwrap()), "1 secrets");
    }
}
