//! Keys in PEM files (RFC 7468) as OpenSSL writes them: finds the key of each kind, and checks that they belong
//! together.

use super::{
    algorithm::{SigningKey, VerifyingKey},
    error::KeyError,
};
use crate::auth::pem::is_pem;
use jwt_simple::prelude::{Claims, Duration, NoCustomClaims};
use pem::Pem;
use pkcs8::{
    EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    der::{Decode as _, Encode as _},
    pkcs5,
};
use std::borrow::Cow;
use x509_cert::Certificate;
use zeroize::Zeroizing;

type AskPassphrase<'a> = &'a mut dyn FnMut() -> Result<String, KeyError>;

/// The private key in `private`, and its public key.
pub fn key_pair(
    private: &str,
    public: Option<&str>,
    passphrase: AskPassphrase<'_>,
) -> Result<(SigningKey, VerifyingKey), KeyError> {
    let file = blocks("JWT_PRIVATE_KEY", private)?;
    let signing = private_key(&file, passphrase).map_err(|error| KeyError(format!("JWT_PRIVATE_KEY: {error}")))?;
    let own = signing.verifying();
    match public {
        Some(public) if !is_pem(public) => {
            return Err(KeyError(
                "JWT_PRIVATE_KEY is a PEM key, but JWT_PUBLIC_KEY is none (it holds no `-----BEGIN`); give its PEM \
                 public key, or leave JWT_PUBLIC_KEY out"
                    .into(),
            ));
        }
        Some(public) => {
            if public_key("JWT_PUBLIC_KEY", public)?.identity() != own.identity() {
                return Err(KeyError(
                    "JWT_PUBLIC_KEY does not belong to JWT_PRIVATE_KEY; `openssl pkey -in PRIVATE -pubout` prints the \
                     one that does, or leave JWT_PUBLIC_KEY out"
                        .into(),
                ));
            }
        }
        None => {
            let mut certificates = file.iter().filter(|block| block.tag() == "CERTIFICATE").peekable();
            // A file may hold a whole chain; one of the certificates must be the key's.
            if certificates.peek().is_some()
                && !certificates.any(|block| certified(block).is_ok_and(|key| key.identity() == own.identity()))
            {
                return Err(KeyError(
                    "JWT_PRIVATE_KEY: the certificate beside the private key does not belong to it; take it out, or \
                     put in the right one"
                        .into(),
                ));
            }
        }
    }
    let probe = signing.sign(Claims::create(Duration::from_secs(60)));
    let signed = probe.is_ok_and(|token| own.verify::<NoCustomClaims>(&token, Default::default()).is_ok());
    if !signed {
        return Err(KeyError(
            "JWT_PRIVATE_KEY can be read but does not sign: its numbers do not fit together; make a new one with \
             `keys.sh`"
                .into(),
        ));
    }
    Ok((signing, own))
}

/// The one public key in `text`; `name` is the setting, for the error.
pub fn public_key(name: &str, text: &str) -> Result<VerifyingKey, KeyError> {
    let file = blocks(name, text)?;
    for block in &file {
        let key = match block.tag() {
            "PUBLIC KEY" => VerifyingKey::from_spki(block.contents()),
            "RSA PUBLIC KEY" => VerifyingKey::from_rsa(block.contents()),
            "CERTIFICATE" => certified(block),
            tag if tag.ends_with("PRIVATE KEY") => {
                return Err(KeyError(format!(
                    "{name} holds a private key; `openssl pkey -in PRIVATE -pubout` prints its public key"
                )));
            }
            _ => continue,
        };
        return key.map_err(|error| KeyError(format!("{name}: {error}")));
    }
    Err(KeyError(format!("{name} holds no public key, only {}", tags(&file))))
}

/// The one private key in a file.
fn private_key(file: &[Pem], passphrase: AskPassphrase<'_>) -> Result<SigningKey, KeyError> {
    let mut keys = file.iter().filter(|block| block.tag().ends_with("PRIVATE KEY"));
    let Some(block) = keys.next() else {
        return Err(KeyError(format!("it holds no private key, only {}", tags(file))));
    };
    if keys.next().is_some() {
        return Err(KeyError("it holds more than one private key; leave one in".into()));
    }
    // The encryption of RFC 1421, which OpenSSL wrote before PKCS#8: it derives the key with one round of MD5.
    if block.headers().get("Proc-Type").is_some_and(|value| value.contains("ENCRYPTED")) {
        return Err(KeyError(
            "it is encrypted in the legacy way (`Proc-Type: 4,ENCRYPTED`); convert it with \
             `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
                .into(),
        ));
    }
    match block.tag() {
        "PRIVATE KEY" => pkcs8_key(block.contents()),
        "ENCRYPTED PRIVATE KEY" => {
            let passphrase = Zeroizing::new(passphrase()?);
            let document = decrypt(block.contents(), &passphrase)?;
            pkcs8_key(document.as_bytes())
        }
        "RSA PRIVATE KEY" => SigningKey::from_pkcs1(block.contents()),
        "EC PRIVATE KEY" => {
            let parameters = file.iter().find(|block| block.tag() == "EC PARAMETERS");
            let curve = parameters.and_then(|block| ObjectIdentifier::from_der(block.contents()).ok());
            SigningKey::from_sec1(block.contents(), curve)
        }
        tag => Err(KeyError(format!(
            "it holds a `{tag}`, which is not supported; convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW`"
        ))),
    }
}

fn pkcs8_key(der: &[u8]) -> Result<SigningKey, KeyError> {
    let info = PrivateKeyInfoRef::try_from(der)
        .map_err(|_| KeyError("it can't be read as a PKCS#8 key; it may be damaged or cut off".into()))?;
    SigningKey::from_pkcs8(&info)
}

fn decrypt(der: &[u8], passphrase: &str) -> Result<SecretDocument, KeyError> {
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| {
        KeyError(
            "it can't be read as an encrypted PKCS#8 key; it may be damaged, or encrypted in an old way: convert it \
             with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
                .into(),
        )
    })?;
    let document = encrypted.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::NoPbes1CryptSupport
            | pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => KeyError(
            "it is encrypted in a way that is not supported; convert it with \
             `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
                .into(),
        ),
        _ => wrong_passphrase(),
    })?;
    // One wrong passphrase in 256 leaves valid padding, and then a plaintext that is not a key.
    PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| wrong_passphrase())?;
    Ok(document)
}

fn wrong_passphrase() -> KeyError {
    KeyError("the passphrase does not open it; check JWT_PASSPHRASE".into())
}

/// The public key of a certificate. Dates and issuer are not checked: it is only a container here.
fn certified(block: &Pem) -> Result<VerifyingKey, KeyError> {
    let certificate = Certificate::from_der(block.contents());
    let info = certificate.and_then(|it| it.tbs_certificate().subject_public_key_info().to_der());
    VerifyingKey::from_spki(&info.map_err(|_| KeyError("its certificate can't be read; it may be damaged".into()))?)
}

fn blocks(name: &str, text: &str) -> Result<Vec<Pem>, KeyError> {
    // `.env` files and container managers often keep PEM on one line, with a literal `\n`.
    let text = if text.contains('\n') { Cow::Borrowed(text) } else { Cow::Owned(text.replace("\\n", "\n")) };
    let text = Zeroizing::new(text.into_owned());
    let blocks = pem::parse_many(text.as_bytes()).unwrap_or_default();
    // The parser silently leaves out a truncated block.
    if blocks.len() < text.matches("-----BEGIN").count() {
        return Err(KeyError(format!(
            "{name} can't be read as PEM: each block needs its `-----BEGIN …-----` line, base64 lines and its \
             `-----END …-----` line"
        )));
    }
    Ok(blocks)
}

fn tags(file: &[Pem]) -> String {
    let tags: Vec<_> = file.iter().map(|block| format!("`{}`", block.tag())).collect();
    tags.join(", ")
}
