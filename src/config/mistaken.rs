//! Texts that were given as a secret by mistake: a path, a placeholder, a URL, a key in another form.
//!
//! Anybody who guesses such a text could sign with it. So it is refused, with a hint about what was probably meant.

use base64::{
    Engine as _, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use std::path::Path;

/// What a text is, instead of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Path,
    Placeholder,
    Url,
    /// A key in base64 or hexadecimal digits, or PEM text without its first line.
    EncodedKey,
    Jwk,
}

impl Mistake {
    /// What `text` is, if nobody would choose it as a secret.
    pub fn in_secret(text: &str) -> Option<Mistake> {
        let text = text.trim();
        if text.contains("-----BEGIN") {
            return None;
        }
        if is_placeholder(text) {
            Some(Mistake::Placeholder)
        } else if is_url(text) {
            Some(Mistake::Url)
        } else if is_jwk(text) {
            Some(Mistake::Jwk)
        } else if is_encoded_key(text) {
            Some(Mistake::EncodedKey)
        } else if is_path(text) {
            Some(Mistake::Path)
        } else {
            None
        }
    }

    /// The end of a sentence that begins with the setting's name. `setting` is the name without its origin.
    pub fn sentence(self, setting: &str) -> String {
        match self {
            Mistake::Path => format!("is the path of a file, not what is in it; give the path as {setting}_FILE"),
            Mistake::Placeholder => String::from(
                "is a placeholder that nothing has filled in; give the secret itself (.env fills in $NAME only within double \
                 quotes, systemd's files never)",
            ),
            Mistake::Url => format!(
                "is a URL, and nothing is fetched from there; put what it leads to in a file, and give its path as \
                 {setting}_FILE"
            ),
            Mistake::EncodedKey => format!(
                "is a key that was encoded, or has lost its first line; give the PEM text as it is in its file, from \
                 -----BEGIN to -----END (`base64 -d` undoes base64), or its path as {setting}_FILE"
            ),
            Mistake::Jwk => "is a JSON web key, which is not read here; convert it to PEM text".to_owned(),
        }
    }
}

fn is_placeholder(text: &str) -> bool {
    let between = |open: &str, close: &str| text.strip_prefix(open).is_some_and(|rest| rest.ends_with(close));
    if between("${", "}") || between("$(", ")") || between("{{", "}}") || between("<", ">") || between("`", "`") {
        return true;
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if text.strip_prefix('$').is_some_and(is_name)
        || text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).is_some_and(is_name)
    {
        return true;
    }
    let letters: String =
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(64).collect();
    ["changeme", "changethis", "replaceme", "replacethis", "yoursecret", "yourjwtsecret", "yourprivatekey"]
        .iter()
        .any(|word| letters.starts_with(word) || letters.strip_prefix("please").is_some_and(|l| l.starts_with(word)))
}

fn is_url(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
        || ["arn:aws", "file:", "data:", "secretref:"].iter().any(|scheme| text.starts_with(scheme))
}

fn is_jwk(text: &str) -> bool {
    text.starts_with('{') && text.contains("\"kty\"")
}

fn is_path(text: &str) -> bool {
    const ENDINGS: [&str; 9] = [".pem", ".key", ".pub", ".p8", ".pk8", ".der", ".crt", ".secret", ".txt"];
    if text.is_empty() || text.len() > 4096 || text.contains(char::is_control) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    if ENDINGS.iter().any(|ending| lower.ends_with(ending)) {
        return true;
    }
    let rooted = ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start)) || text.get(1..3) == Some(":\\");
    // One in 64 base64 secrets begins with a slash. But they are full of capital letters, and paths are not.
    let letters = text.bytes().filter(u8::is_ascii_uppercase).count();
    let random =
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')) && letters * 8 >= text.len();
    rooted && !random || Path::new(text).is_file()
}

fn is_encoded_key(text: &str) -> bool {
    if text.contains("-----END") {
        return true;
    }
    // Also in the form of environment files, with `\n` for line ends.
    let compact: String = text.replace("\\n", "").chars().filter(|c| !c.is_whitespace()).collect();
    if compact.len() < 16 {
        return false;
    }
    let hex = || {
        let digits = |at: usize| u8::from_str_radix(compact.get(at..at + 2)?, 16).ok();
        (compact.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| (0..compact.len() / 2).map_while(|n| digits(n * 2)).collect::<Vec<u8>>())
    };
    let decoded = [hex(), LENIENT.decode(&compact).ok(), LENIENT_URL.decode(&compact).ok()];
    decoded.into_iter().flatten().any(|bytes| is_key(&bytes))
}

const EITHER_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const LENIENT_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);

/// Whether this is PEM text, or the start of a DER key or certificate (ITU-T X.690 §8): a sequence that begins with its
/// version or with another sequence. Only about one in some millions of random secrets begins so.
fn is_key(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"-----BEGIN") || bytes.starts_with(b"openssh-key-v1") {
        return true;
    }
    let content = |bytes: &[u8]| -> Option<Vec<u8>> {
        let [0x30, length, rest @ ..] = bytes else { return None };
        match length {
            0..=0x7f => Some(rest.to_vec()),
            // 0x80 is not a definite length.
            0x81..=0x84 => rest.get(usize::from(length & 0x7f)..).map(<[u8]>::to_vec),
            _ => None,
        }
    };
    content(bytes).is_some_and(|inner| match inner.as_slice() {
        [0x02, 0x01, 0 | 1, ..] => true,
        [0x30, ..] => content(&inner)
            .is_some_and(|inmost| matches!(inmost.as_slice(), [0x06, 1..20, ..] | [0xa0, 0x03, 0x02, ..])),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Keyring;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIGwsbQ5TCUXZhpZ5Yuqv1qfJfGcLcVqEDMVaSvRSD0Rq";

    #[test]
    fn a_path_is_told_from_a_secret() {
        for text in [
            "/run/secrets/jwt_private.pem",
            "/run/secrets/propromochatprivatekeyofthisnode",
            "/run/secrets/jwt",
            "./keys/jwt.key",
            "../keys/jwt_private_key_of_the_server",
            "~/keys/jwt-private-key",
            "keys/jwt.pem",
            "jwt.secret",
            "C:\\keys\\jwt.key",
            "Cargo.toml",
        ] {
            assert_eq!(Mistake::in_secret(text), Some(Mistake::Path), "{text}");
        }
    }

    #[test]
    fn a_placeholder_is_told_from_a_secret() {
        for text in [
            "${JWT_KEY}",
            "${JWT_KEY:-nothing}",
            "$JWT_PRIVATE_KEY",
            "$(cat jwt.key)",
            "`cat jwt.key`",
            "{{ jwt_private_key }}",
            "<the key of the server goes here>",
            "%JWT_KEY%",
            "change-me-to-something-that-nobody-can-guess",
            "CHANGEME",
            "your_jwt_secret_goes_here_please_do_replace",
        ] {
            assert_eq!(Mistake::in_secret(text), Some(Mistake::Placeholder), "{text}");
        }
    }

    #[test]
    fn a_url_is_told_from_a_secret() {
        for text in [
            "https://vault.example.org/v1/secret/data/jwt",
            "op://vault/jwt/private key",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:jwt",
            "file:/run/secrets/jwt",
        ] {
            assert_eq!(Mistake::in_secret(text), Some(Mistake::Url), "{text}");
        }
    }

    #[test]
    fn an_encoded_key_is_told_from_a_secret() {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{ED25519}\n-----END PRIVATE KEY-----\n");
        let hex: String = pem.bytes().map(|b| format!("{b:02x}")).collect();
        for text in [
            STANDARD.encode(&pem),
            STANDARD.encode(&pem).replace('=', ""),
            URL_SAFE.encode(&pem),
            hex,
            ED25519.to_owned(),
            format!("{ED25519}\n-----END PRIVATE KEY-----"),
            // The starts of RSA keys as PKCS#8, PKCS#1, encrypted, and public key.
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ".to_owned(),
            "MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo\\n4lgOEePzNm0tRgeLezV6".to_owned(),
            "MIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkqhkiG9w0BBQwwHAQI".to_owned(),
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA".to_owned(),
        ] {
            assert_eq!(Mistake::in_secret(&text), Some(Mistake::EncodedKey), "{text}");
        }
        assert_eq!(Mistake::in_secret(r#"{"kty":"oct","k":"AAAA"}"#), Some(Mistake::Jwk));
    }

    #[test]
    fn secrets_and_keys_are_let_be() {
        for text in [
            "a secret of thirty-two bytes, or more",
            "for a try only, everybody knows this secret of the compose file",
            "correct/horse/battery/staple/and/so/on",
            "Zm9yIHRlc3RzIG9ubHk6IDQ4IHJhbmRvbS1sb29raW5nIGJ5dGVzIQ-q8Xv2Lr7Tn",
            "/9jS3kQ+Zx1LwRtY8uVbN2mP4oK6hGfD7sAaCeXi/+0=",
            "ab$XyZ0123456789abcdef",
            "$2y$12$abcdefghijklmnopqrstuv",
            "my_secret",
            "0123456789abcdef0123456789abcdef0123456789abcdef",
            "-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(Mistake::in_secret(text), None, "{text}");
        }
    }

    #[test]
    fn no_generated_secret_is_mistaken() {
        for _ in 0..2_000 {
            let secret = Keyring::generate_secret();
            assert_eq!(Mistake::in_secret(&secret), None, "{secret}");
            // As from `openssl rand -base64` and `-hex`.
            let bytes: [u8; 32] = rand::random();
            let (base64, hex) = (STANDARD.encode(bytes), bytes.map(|b| format!("{b:02x}")).concat());
            assert_eq!(Mistake::in_secret(&base64), None, "{base64}");
            assert_eq!(Mistake::in_secret(&hex), None, "{hex}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Mistake::in_secret(&text);
        }
    }
}
