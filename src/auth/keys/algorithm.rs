//! A key of any supported kind. The key decides the algorithm, never a token's header.

use super::error::KeyError;
use jwt_simple::{JWTError, prelude::*};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, der::Encode as _, spki::SubjectPublicKeyInfoRef};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use zeroize::Zeroizing;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");

/// A key that signs.
#[derive(Clone)]
pub enum SigningKey {
    Hs256(HS256Key),
    Rs512(Arc<RS512KeyPair>),
    Es256(Arc<ES256KeyPair>),
    Es384(Arc<ES384KeyPair>),
    Es256k(Arc<ES256kKeyPair>),
    EdDsa(Arc<Ed25519KeyPair>),
}

/// A key that verifies.
pub enum VerifyingKey {
    Hs256(HS256Key),
    Rs512(RS512PublicKey),
    Es256(ES256PublicKey),
    Es384(ES384PublicKey),
    Es256k(ES256kPublicKey),
    EdDsa(Ed25519PublicKey),
}

impl SigningKey {
    /// Reads a PKCS#8 PrivateKeyInfo (RFC 5958).
    pub fn from_pkcs8(info: &PrivateKeyInfoRef<'_>) -> Result<SigningKey, KeyError> {
        let der = Zeroizing::new(
            // Without the optional public key and attributes, which some readers below do not know.
            PrivateKeyInfoRef::new(info.algorithm, info.private_key).to_der().map_err(|_| unreadable())?,
        );
        match info.algorithm.oid {
            RSA => Ok(SigningKey::Rs512(Arc::new(RS512KeyPair::from_der(&der).map_err(rsa_error)?))),
            EC => match info.algorithm.parameters_oid().ok() {
                Some(P256) => Ok(SigningKey::Es256(Arc::new(ES256KeyPair::from_der(&der).map_err(|_| unreadable())?))),
                Some(P384) => Ok(SigningKey::Es384(Arc::new(ES384KeyPair::from_der(&der).map_err(|_| unreadable())?))),
                Some(SECP256K1) => {
                    Ok(SigningKey::Es256k(Arc::new(ES256kKeyPair::from_der(&der).map_err(|_| unreadable())?)))
                }
                _ => Err(other_curve()),
            },
            ED25519 => Ok(SigningKey::EdDsa(Arc::new(Ed25519KeyPair::from_der(&der).map_err(|_| unreadable())?))),
            oid => Err(other_kind(oid)),
        }
    }

    /// Reads a PKCS#1 RSAPrivateKey (RFC 8017 §A.1.2).
    pub fn from_pkcs1(der: &[u8]) -> Result<SigningKey, KeyError> {
        Ok(SigningKey::Rs512(Arc::new(RS512KeyPair::from_der(der).map_err(rsa_error)?)))
    }

    /// Reads a SEC1 ECPrivateKey (RFC 5915). `curve` is the curve of an `EC PARAMETERS` block, if any.
    pub fn from_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<SigningKey, KeyError> {
        let key = sec1::EcPrivateKey::try_from(der).map_err(|_| unreadable())?;
        let raw = key.private_key;
        match key.parameters.and_then(sec1::EcParameters::named_curve).or(curve) {
            Some(P256) => Ok(SigningKey::Es256(Arc::new(ES256KeyPair::from_bytes(raw).map_err(|_| unreadable())?))),
            Some(P384) => Ok(SigningKey::Es384(Arc::new(ES384KeyPair::from_bytes(raw).map_err(|_| unreadable())?))),
            Some(SECP256K1) => {
                Ok(SigningKey::Es256k(Arc::new(ES256kKeyPair::from_bytes(raw).map_err(|_| unreadable())?)))
            }
            _ => Err(other_curve()),
        }
    }

    /// The public key of this private key (for HS256: the key itself).
    pub fn verifying(&self) -> VerifyingKey {
        match self {
            SigningKey::Hs256(key) => VerifyingKey::Hs256(key.clone()),
            SigningKey::Rs512(key) => VerifyingKey::Rs512(key.public_key()),
            SigningKey::Es256(key) => VerifyingKey::Es256(key.public_key()),
            SigningKey::Es384(key) => VerifyingKey::Es384(key.public_key()),
            SigningKey::Es256k(key) => VerifyingKey::Es256k(key.public_key()),
            SigningKey::EdDsa(key) => VerifyingKey::EdDsa(key.public_key()),
        }
    }

    /// The name of the algorithm in a token's header (RFC 7518 §3.1, RFC 8037, RFC 8812).
    pub fn algorithm(&self) -> &'static str {
        match self {
            SigningKey::Hs256(_) => "HS256",
            SigningKey::Rs512(_) => "RS512",
            SigningKey::Es256(_) => "ES256",
            SigningKey::Es384(_) => "ES384",
            SigningKey::Es256k(_) => "ES256K",
            SigningKey::EdDsa(_) => "EdDSA",
        }
    }

    pub fn sign<C: Serialize>(&self, claims: JWTClaims<C>) -> Result<String, jwt_simple::Error> {
        match self {
            SigningKey::Hs256(key) => key.authenticate(claims),
            SigningKey::Rs512(key) => key.sign(claims),
            SigningKey::Es256(key) => key.sign(claims),
            SigningKey::Es384(key) => key.sign(claims),
            SigningKey::Es256k(key) => key.sign(claims),
            SigningKey::EdDsa(key) => key.sign(claims),
        }
    }
}

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo (RFC 5280 §4.1), as in a `PUBLIC KEY` block or a certificate.
    pub fn from_spki(der: &[u8]) -> Result<VerifyingKey, KeyError> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| unreadable())?;
        match info.algorithm.oid {
            RSA => VerifyingKey::from_rsa(der),
            EC => match info.algorithm.parameters_oid().ok() {
                Some(P256) => Ok(VerifyingKey::Es256(ES256PublicKey::from_der(der).map_err(|_| unreadable())?)),
                Some(P384) => Ok(VerifyingKey::Es384(ES384PublicKey::from_der(der).map_err(|_| unreadable())?)),
                Some(SECP256K1) => Ok(VerifyingKey::Es256k(ES256kPublicKey::from_der(der).map_err(|_| unreadable())?)),
                _ => Err(other_curve()),
            },
            ED25519 => Ok(VerifyingKey::EdDsa(Ed25519PublicKey::from_der(der).map_err(|_| unreadable())?)),
            oid => Err(other_kind(oid)),
        }
    }

    /// Reads an RSA public key, as SubjectPublicKeyInfo or as PKCS#1 RSAPublicKey.
    pub fn from_rsa(der: &[u8]) -> Result<VerifyingKey, KeyError> {
        Ok(VerifyingKey::Rs512(RS512PublicKey::from_der(der).map_err(rsa_error)?))
    }

    /// The identity of this key: its SubjectPublicKeyInfo in DER, or the HS256 secret.
    pub fn identity(&self) -> Zeroizing<Vec<u8>> {
        let der = match self {
            VerifyingKey::Hs256(key) => Ok(key.to_bytes()),
            VerifyingKey::Rs512(key) => key.to_der(),
            VerifyingKey::Es256(key) => key.public_key().to_der(),
            VerifyingKey::Es384(key) => key.public_key().to_der(),
            VerifyingKey::Es256k(key) => key.public_key().to_der(),
            VerifyingKey::EdDsa(key) => Ok(key.public_key().to_der()),
        };
        Zeroizing::new(der.expect("a key that was read from DER can be written as DER"))
    }

    pub fn verify<C: DeserializeOwned>(
        &self,
        token: &str,
        options: VerificationOptions,
    ) -> Result<JWTClaims<C>, jwt_simple::Error> {
        match self {
            VerifyingKey::Hs256(key) => key.verify_token(token, Some(options)),
            VerifyingKey::Rs512(key) => key.verify_token(token, Some(options)),
            VerifyingKey::Es256(key) => key.verify_token(token, Some(options)),
            VerifyingKey::Es384(key) => key.verify_token(token, Some(options)),
            VerifyingKey::Es256k(key) => key.verify_token(token, Some(options)),
            VerifyingKey::EdDsa(key) => key.verify_token(token, Some(options)),
        }
    }
}

fn unreadable() -> KeyError {
    KeyError("its contents can't be read as a key; it may be damaged or cut off".into())
}

fn rsa_error(error: jwt_simple::Error) -> KeyError {
    KeyError(match error.downcast_ref::<JWTError>() {
        Some(JWTError::WeakKey) => {
            "an RSA key needs at least 2048 bits (RFC 7518 §3.3); `keys.sh rs512` makes one".into()
        }
        Some(JWTError::UnsupportedRSAModulus) => "an RSA key may have at most 4096 bits here".into(),
        _ => "it can't be read as an RSA key with the public exponent 65537; it may be damaged or cut off".into(),
    })
}

fn other_curve() -> KeyError {
    KeyError("its elliptic curve is not one of P-256 (ES256), P-384 (ES384) and secp256k1 (ES256K)".into())
}

fn other_kind(oid: ObjectIdentifier) -> KeyError {
    KeyError(match oid {
        RSA_PSS => "it is bound to RSA-PSS; RS512 needs an ordinary RSA key, which `keys.sh rs512` makes".into(),
        _ => format!("keys of its kind ({oid}) are not supported; use RSA, P-256, P-384, secp256k1 or Ed25519"),
    })
}
