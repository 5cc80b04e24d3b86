//! Every kind of key that OpenSSL writes, every way to present it, and every way to get it wrong.

use super::*;
use crate::{
    auth::token::{Grant, Kind},
    refusal::Reason,
    store::accounts::UserId,
};
use std::time::{Duration, SystemTime};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../tests/keys/test-only-", $name))
    };
}

const SECRET: &str = "a secret for tests of 32 bytes!!";
const PASSPHRASE: &str = "correct-horse";

fn never() -> Result<String, KeyError> {
    panic!("the passphrase of a key that is not encrypted was asked for")
}

fn keyring(private: &str, public: Option<&str>) -> Result<Keyring, KeyError> {
    Keyring::from_settings(private, public, &mut never)
}

fn opened_with(passphrase: &str, private: &str) -> Result<Keyring, KeyError> {
    Keyring::from_settings(private, None, &mut || Ok(passphrase.to_owned()))
}

#[track_caller]
fn refused(private: &str, public: Option<&str>, because: &str) {
    let error = keyring(private, public).unwrap_err().0;
    assert!(error.contains(because), "{error}");
    for line in private.lines().chain(public.unwrap_or("").lines()).filter(|line| line.len() > 40) {
        assert!(!error.contains(line), "key material in: {error}");
    }
}

fn token(keyring: &Keyring) -> String {
    let ttl = Duration::from_secs(60);
    let grant = Grant { kind: Kind::Access, user: UserId(1), email: "a@b.c", room: None, epoch: None, ttl };
    keyring.sign(&grant, SystemTime::now()).token
}

fn accepts(keyring: &Keyring, token: &str) -> Result<(), Reason> {
    keyring.verify(token, |_| true, SystemTime::now()).map(drop).map_err(|refusal| refusal.reason)
}

#[test]
fn a_renewed_keyring_signs_with_the_new_key_and_knows_the_old_one_for_a_while() {
    let keys = keyring(SECRET, None).unwrap();
    let shared = keys.clone();
    let old = token(&keys);
    let new = keyring(file!("ed25519.pem"), None).unwrap();
    assert!(keys.renew(&new, Duration::from_secs(60)));
    assert_eq!(shared.algorithm(), "EdDSA", "a clone is the same keyring");
    let renewed = token(&shared);
    assert!(accepts(&new, &renewed).is_ok() && accepts(&shared, &renewed).is_ok() && accepts(&shared, &old).is_ok());
    assert!(accepts(&new, &old).is_err());
    assert!(!keys.renew(&new, Duration::from_secs(60)), "it is the same key");
    // The first key is in use again, and so no longer an old one.
    assert!(keys.renew(&keyring(SECRET, None).unwrap(), Duration::from_secs(60)));
    assert!(accepts(&keys, &old).is_ok() && accepts(&keys, &renewed).is_ok());
}

#[test]
fn however_often_keys_are_renewed_a_bounded_number_is_remembered() {
    let keys = keyring(SECRET, None).unwrap();
    let first = token(&keys);
    let secret = |n: usize| format!("a secret that is renewed, no {n:08}");
    let mut tokens = Vec::new();
    for n in 0..40 {
        keys.renew(&keyring(&secret(n), None).unwrap(), Duration::from_secs(60));
        tokens.push(token(&keys));
    }
    assert!(accepts(&keys, &first).is_err());
    let known = tokens.iter().filter(|token| accepts(&keys, token).is_ok()).count();
    assert_eq!(known, super::MAX_OLD_KEYS + 1);
}

#[test]
fn the_key_decides_the_algorithm() {
    for (private, algorithm) in [
        (SECRET, "HS256"),
        (file!("rsa.pem"), "RS512"),
        (file!("rsa-pkcs1.pem"), "RS512"),
        (file!("p256.pem"), "ES256"),
        (file!("p256-sec1.pem"), "ES256"),
        (file!("p256-with-certificate.pem"), "ES256"),
        (file!("p384.pem"), "ES384"),
        (file!("p384-sec1.pem"), "ES384"),
        (file!("secp256k1.pem"), "ES256K"),
        (file!("ed25519.pem"), "EdDSA"),
    ] {
        let keyring = keyring(private, None).unwrap();
        assert_eq!(keyring.algorithm(), algorithm);
        assert_eq!(accepts(&keyring, &token(&keyring)), Ok(()), "{algorithm}");
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase() {
    for (private, algorithm) in [
        (file!("rsa-pbkdf2.pem"), "RS512"),
        (file!("p256-scrypt.pem"), "ES256"),
        (file!("ed25519-encrypted.pem"), "EdDSA"),
    ] {
        assert_eq!(opened_with(PASSPHRASE, private).unwrap().algorithm(), algorithm);
    }
}

#[test]
fn a_wrong_passphrase_is_told_as_such() {
    for passphrase in ["", "wrong", "correct-horse "] {
        let error = opened_with(passphrase, file!("ed25519-encrypted.pem")).unwrap_err().0;
        assert!(error.contains("passphrase does not open it"), "{error}");
    }
}

#[test]
fn why_a_passphrase_is_missing_is_passed_on() {
    let mut ask = || Err(KeyError("there is no terminal to ask on; set JWT_PASSPHRASE".into()));
    let error = Keyring::from_settings(file!("ed25519-encrypted.pem"), None, &mut ask).unwrap_err().0;
    assert!(error.contains("there is no terminal to ask on"), "{error}");
}

#[test]
fn encryption_of_old_is_refused_with_the_way_to_convert_it() {
    refused(file!("rsa-legacy-encrypted.pem"), None, "openssl pkcs8 -topk8");
    let error = opened_with(PASSPHRASE, file!("rsa-pbes1.pem")).unwrap_err().0;
    assert!(error.contains("openssl pkcs8 -topk8"), "{error}");
}

#[test]
fn a_public_key_may_be_given_in_every_form() {
    assert!(keyring(file!("rsa.pem"), Some(file!("rsa.pub.pem"))).is_ok());
    assert!(keyring(file!("rsa.pem"), Some(file!("rsa-pkcs1.pub.pem"))).is_ok());
    assert!(keyring(file!("p256.pem"), Some(file!("p256.crt"))).is_ok());
    assert!(keyring(file!("ed25519.pem"), Some(file!("ed25519.pub.pem"))).is_ok());
    assert!(keyring(file!("rsa.pem"), Some(" \n")).is_ok(), "an empty setting is none");
}

#[test]
fn a_pair_that_does_not_belong_together_is_refused() {
    refused(file!("rsa.pem"), Some(file!("rsa-other.pub.pem")), "does not belong to JWT_PRIVATE_KEY");
    refused(file!("rsa.pem"), Some(file!("ed25519.pub.pem")), "does not belong to JWT_PRIVATE_KEY");
    refused(file!("rsa.pem"), Some(file!("p256.crt")), "does not belong to JWT_PRIVATE_KEY");
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    refused(concat!(file!("rsa.pem"), file!("p256.crt")), None, "certificate beside the private key does not belong");
}

#[test]
fn the_keys_certificate_may_stand_anywhere_in_its_chain_or_before_the_key() {
    assert!(keyring(concat!(file!("p256.crt"), file!("p256.pem"), file!("p256.crt")), None).is_ok());
}

#[test]
fn text_around_the_blocks_is_no_part_of_the_key() {
    assert!(keyring(concat!("# Bag Attributes\nfriendlyName: a\n", file!("p256.pem"), "\n# end\n"), None).is_ok());
}

#[test]
fn pem_on_one_line_with_written_out_newlines_is_read() {
    assert!(keyring(&file!("rsa.pem").trim().replace('\n', "\\n"), None).is_ok());
}

#[test]
fn pem_with_windows_line_ends_is_read() {
    assert!(keyring(&file!("p256-with-certificate.pem").replace('\n', "\r\n"), None).is_ok());
}

#[test]
fn short_keys_are_refused() {
    refused(file!("rsa-1024.pem"), None, "at least 2048 bits");
    refused(&SECRET[..31], None, "at least 32");
    refused("", None, "at least 32");
}

#[test]
fn keys_that_have_no_algorithm_here_are_refused() {
    refused(file!("p521.pem"), None, "elliptic curve");
    refused(file!("rsa-pss.pem"), None, "RSA-PSS");
}

#[test]
fn a_secret_may_be_repeated_as_public_key_but_nothing_else() {
    assert!(keyring(SECRET, Some(SECRET)).is_ok());
    refused(SECRET, Some("another secret of some 32 bytes!"), "HS256 secret");
    refused(SECRET, Some(file!("rsa.pub.pem")), "HS256 secret");
    refused(file!("rsa.pem"), Some(SECRET), "JWT_PUBLIC_KEY is none");
}

#[test]
fn white_space_around_a_secret_is_no_part_of_it() {
    let (bare, from_a_file) = (keyring(SECRET, None).unwrap(), keyring(&format!("{SECRET}\n"), None).unwrap());
    assert_eq!(accepts(&bare, &token(&from_a_file)), Ok(()));
}

#[test]
fn a_path_in_place_of_a_key_is_recognised() {
    refused("keys/jwt.key", None, "JWT_PRIVATE_KEY_FILE");
}

#[test]
fn keys_in_the_wrong_setting_are_refused() {
    refused(file!("rsa.pub.pem"), None, "no private key");
    refused(file!("rsa.pem"), Some(file!("rsa.pem")), "JWT_PUBLIC_KEY holds a private key");
    refused(concat!(file!("rsa.pem"), file!("p256.pem")), None, "more than one private key");
}

#[test]
fn damaged_pem_is_refused() {
    let whole = file!("rsa.pem");
    refused(&whole[..whole.len() / 2], None, "can't be read as PEM");
    refused(&whole.replace("END PRIVATE", "END PUBLIC"), None, "can't be read as PEM");
    refused(&whole.replacen("MII", "MI", 1), None, "JWT_PRIVATE_KEY");
    refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", None, "can't be read as a PKCS#8 key");
}

#[test]
fn tokens_of_an_earlier_key_are_accepted_until_it_is_taken_out() {
    let old_pem = keyring(file!("rsa-other.pem"), None).unwrap();
    let old_secret = keyring(SECRET, None).unwrap();
    let new = keyring(file!("ed25519.pem"), None).unwrap();
    let rotating = new.clone().with_old_keys(&[file!("rsa-other.pub.pem"), SECRET]).unwrap();
    for token in [token(&old_pem), token(&old_secret)] {
        assert_eq!(accepts(&rotating, &token), Ok(()));
        assert_eq!(accepts(&new, &token), Err(Reason::TokenBadSignature));
    }
    assert_eq!(accepts(&new, &token(&rotating)), Ok(()), "it signs with the new key");
}

#[test]
fn what_is_wrong_with_an_earlier_keys_token_is_still_said() {
    let old = keyring(SECRET, None).unwrap();
    let rotating = keyring(file!("ed25519.pem"), None).unwrap().with_old_keys(&[SECRET]).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    let refusal = rotating.verify(&token(&old), |_| true, later).unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenExpired);
}

#[test]
fn an_earlier_key_that_is_too_weak_is_refused() {
    let new = keyring(file!("ed25519.pem"), None).unwrap();
    assert!(new.with_old_keys(&["short"]).is_err());
}

#[test]
fn a_generated_secret_is_long_enough_and_new_each_time() {
    let secret = Keyring::generate_secret();
    assert_eq!(secret.len(), 64);
    assert!(keyring(&secret, None).is_ok());
    assert_ne!(secret, Keyring::generate_secret());
}

#[test]
fn the_keys_that_ship_with_the_sources_are_known() {
    let (secret, key) = (include_str!("../../../dummy/keys/demo.secret"), include_str!("../../../dummy/keys/demo.key"));
    assert!(keyring(secret, None).unwrap().is_demo());
    assert!(keyring(key, Some(include_str!("../../../dummy/keys/demo.pub"))).unwrap().is_demo());
    let own = keyring(SECRET, None).unwrap();
    assert!(!own.is_demo());
    assert!(own.with_old_keys(&[secret]).unwrap().is_demo(), "also as an earlier key");
}

#[test]
fn debug_output_holds_no_key() {
    let shown = format!("{:?}", keyring(SECRET, None).unwrap());
    assert_eq!(shown, r#"Keyring { algorithm: "HS256", .. }"#);
}

#[test]
fn a_keyring_can_be_shared_by_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Keyring>();
}
