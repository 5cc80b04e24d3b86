//! Tokens of ours and of others, checked to the second, and everything that is not a token.

use super::*;
use crate::{
    auth::{foreign::verify_foreign, keys::Keyring},
    store::ledger::SignedPart,
};
use jwt_simple::prelude::{HS256Key, HS512Key, MACLike as _, NoCustomClaims, RS512KeyPair, RSAKeyPairLike as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

const SECRET: &str = "a secret for tests of 32 bytes!!";
const NOW: u64 = 1_800_000_000;
const TTL: u64 = 300;
const RSA: &str = include_str!("../../../tests/keys/test-only-rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/keys/test-only-rsa.pub.pem");

static HS256: LazyLock<Keyring> = LazyLock::new(|| keyring(SECRET));
static RS512: LazyLock<Keyring> = LazyLock::new(|| keyring(RSA));
static ES256: LazyLock<Keyring> = LazyLock::new(|| keyring(include_str!("../../../tests/keys/test-only-p256.pem")));
static ED25519: LazyLock<Keyring> =
    LazyLock::new(|| keyring(include_str!("../../../tests/keys/test-only-ed25519.pem")));

fn keyring(private: &str) -> Keyring {
    Keyring::from_settings(private, None, &mut || panic!("not encrypted")).unwrap()
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn grant(kind: Kind) -> Grant<'static> {
    Grant {
        kind,
        user: UserId(7),
        email: "alice@propromo.example",
        room: None,
        epoch: None,
        ttl: Duration::from_secs(TTL),
    }
}

fn signed(keys: &Keyring, kind: Kind) -> String {
    keys.sign(&grant(kind), at(NOW)).token
}

fn judge(keys: &Keyring, token: &str, second: u64) -> Result<Verified, Reason> {
    keys.verify(token, |_| true, at(second)).map_err(|refusal| refusal.reason)
}

fn reason_of(token: &str) -> Reason {
    judge(&HS256, token, NOW).unwrap_err()
}

/// Any JSON as `header.payload`, signed with HMAC-SHA-256 and `secret`, whatever the header says.
fn forged(header: &Value, payload: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    sealed(&format!("{}.{}", part(header), part(payload)), secret)
}

fn sealed(signed: &str, secret: &[u8]) -> String {
    let tag = HS256Key::from_bytes(secret).authentication_tag(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn payload() -> Value {
    json!({
        "iss": ISSUER, "sub": "7", "email": "alice@propromo.example", "aud": "propromo.chat/access",
        "iat": NOW, "nbf": NOW, "exp": NOW + TTL, "jti": "AAAAAAAAAAAAAAAAAAAAAA",
    })
}

/// A token of ours, signed with our key, with one claim replaced by `value` or removed.
fn with(claim: &str, value: Option<Value>) -> String {
    let mut payload = payload();
    let claims = payload.as_object_mut().unwrap();
    match value {
        Some(value) => claims.insert(claim.into(), value),
        None => claims.remove(claim),
    };
    forged(&json!({"alg": "HS256", "typ": "JWT"}), &payload, SECRET.as_bytes())
}

fn decoded(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

// The contents of our tokens.

#[test]
fn every_claim_that_was_granted_comes_back() {
    let grant = Grant { room: Some("$2y$12$a/b"), ..grant(Kind::Connection(Issued::Ticket)) };
    let signed = HS256.sign(&grant, at(NOW));
    let claims = judge(&HS256, &signed.token, NOW).unwrap().claims;
    assert_eq!(
        claims,
        Claims {
            kind: Kind::Connection(Issued::Ticket),
            user: UserId(7),
            email: "alice@propromo.example".into(),
            epoch: None,
            room: Some("$2y$12$a/b".into()),
            member: None,
            expires: NOW + TTL,
            issued: NOW,
            id: claims.id.clone(),
        }
    );
    assert_eq!(signed.expires, NOW + TTL);
}

#[test]
fn a_token_carries_the_claims_of_the_protocol() {
    let payload = decoded(&signed(&HS256, Kind::Access));
    for (claim, expected) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("7")),
        ("email", json!("alice@propromo.example")),
        ("aud", json!("propromo.chat/access")),
        ("iat", json!(NOW)),
        ("nbf", json!(NOW)),
        ("exp", json!(NOW + TTL)),
    ] {
        assert_eq!(payload[claim], expected, "{claim}");
    }
}

#[test]
fn each_token_has_an_id_of_128_random_bits() {
    let id = |token: &str| judge(&HS256, token, NOW).unwrap().claims.id;
    let (one, other) = (id(&signed(&HS256, Kind::Access)), id(&signed(&HS256, Kind::Access)));
    assert_eq!(URL_SAFE_NO_PAD.decode(&one).unwrap().len(), 16);
    assert_ne!(one, other);
}

#[test]
fn a_room_token_names_its_member_and_marks_the_password() {
    let hash = "$2y$12$the hash of the room's password";
    let grant = RoomGrant { room: "5", name: "Ann", password_hash: hash, ttl: Duration::from_secs(TTL) };
    let claims = judge(&HS256, &HS256.sign_room(&grant, at(NOW)).token, NOW).unwrap().claims;
    assert_eq!(claims.kind, Kind::Room);
    assert_eq!(claims.room.as_deref(), Some("5"));
    assert_eq!(claims.member, Some(Member { name: "Ann".into(), password_mark: password_mark(hash) }));
    assert_ne!(password_mark(hash), password_mark("$2y$12$another"));
}

#[test]
fn a_room_token_without_a_member_opens_nothing() {
    let grant = Grant { room: Some("5"), ..grant(Kind::Room) };
    assert_eq!(reason_of(&HS256.sign(&grant, at(NOW)).token), Reason::TokenMalformed);
}

// Times.

#[test]
fn a_token_is_valid_in_its_last_second_and_refused_in_the_next() {
    for keys in [&HS256, &RS512, &ES256, &ED25519] {
        let token = signed(keys, Kind::Connection(Issued::Login));
        assert!(judge(keys, &token, NOW + TTL).is_ok());
        assert_eq!(judge(keys, &token, NOW + TTL + 1).unwrap_err(), Reason::TokenExpired);
    }
}

#[test]
fn the_last_second_lasts_until_its_end() {
    let token = signed(&HS256, Kind::Access);
    let end = at(NOW + TTL) + Duration::from_nanos(999_999_999);
    assert!(HS256.verify(&token, |_| true, end).is_ok());
}

#[test]
fn a_token_is_refused_in_the_second_before_it_begins() {
    let token = signed(&HS256, Kind::Access);
    assert_eq!(judge(&HS256, &token, NOW - 1).unwrap_err(), Reason::TokenNotYetValid);
    for claim in ["iat", "nbf"] {
        assert_eq!(reason_of(&with(claim, Some(json!(NOW + 1)))), Reason::TokenNotYetValid, "{claim}");
    }
}

#[test]
fn a_token_without_expiry_is_refused() {
    assert_eq!(reason_of(&with("exp", None)), Reason::TokenNoExpiry);
}

#[test]
fn an_endless_grant_ends_where_the_clock_of_the_library_ends() {
    let signed = HS256.sign(&Grant { ttl: Duration::MAX, ..grant(Kind::Access) }, at(NOW));
    assert_eq!(signed.expires, u64::from(u32::MAX));
    assert_eq!(judge(&HS256, &signed.token, NOW).unwrap().claims.expires, signed.expires);
}

#[test]
fn strange_numbers_are_judged_without_panic() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(-1e300),
            json!("1"),
            json!([]),
            Value::Null,
        ] {
            let _ = judge(&HS256, &with(claim, Some(value)), NOW);
        }
    }
    assert_eq!(reason_of(&with("exp", Some(json!("soon")))), Reason::TokenMalformed);
    assert_eq!(reason_of(&with("exp", Some(json!(-1.5)))), Reason::TokenExpired);
    assert_eq!(reason_of(&with("nbf", Some(json!(u64::MAX)))), Reason::TokenNotYetValid);
}

// Kinds.

#[test]
fn a_token_of_one_kind_is_never_taken_for_another() {
    let kinds = [
        Kind::Access,
        Kind::Connection(Issued::Login),
        Kind::Connection(Issued::Ticket),
        Kind::Connection(Issued::TwoStep),
    ];
    for kind in kinds {
        assert_eq!(judge(&HS256, &signed(&HS256, kind), NOW).unwrap().claims.kind, kind);
    }
    let access = signed(&HS256, Kind::Access);
    let refusal = HS256.verify(&access, |kind| matches!(kind, Kind::Connection(_)), at(NOW)).unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenWrongKind);
}

#[test]
fn another_issuer_or_audience_is_refused() {
    for token in [
        with("iss", Some(json!("propromo.chat.evil"))),
        with("iss", None),
        with("aud", Some(json!("propromo.chat"))),
        with("aud", Some(json!(["propromo.chat/access", "propromo.chat/connection"]))),
        with("aud", None),
        with("aud", Some(json!("propromo.chat/connection"))),
    ] {
        assert_eq!(reason_of(&token), Reason::TokenWrongKind);
    }
}

#[test]
fn a_claim_that_every_token_has_must_be_there() {
    for claim in ["sub", "email", "iat", "jti"] {
        assert_eq!(reason_of(&with(claim, None)), Reason::TokenMalformed, "{claim}");
    }
    assert_eq!(reason_of(&with("sub", Some(json!("alice")))), Reason::TokenMalformed);
}

// Signatures.

#[test]
fn a_token_of_another_key_is_refused() {
    let other = keyring("another secret of some 32 bytes!");
    assert_eq!(judge(&other, &signed(&HS256, Kind::Access), NOW).unwrap_err(), Reason::TokenBadSignature);
}

#[test]
fn an_unsigned_token_is_refused() {
    for alg in ["none", "None", "NONE", ""] {
        let token = forged(&json!({"alg": alg, "typ": "JWT"}), &payload(), SECRET.as_bytes());
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        for token in [format!("{unsigned}."), token.clone()] {
            for keys in [&HS256, &RS512] {
                assert_eq!(judge(keys, &token, NOW).unwrap_err(), Reason::TokenBadSignature, "{alg}");
            }
        }
    }
}

#[test]
fn an_hmac_made_with_the_public_key_is_refused() {
    let der = pem::parse(RSA_PUBLIC).unwrap().into_contents();
    for secret in [RSA_PUBLIC.as_bytes(), RSA_PUBLIC.trim().as_bytes(), &der] {
        for alg in ["HS256", "RS512"] {
            let token = forged(&json!({"alg": alg, "typ": "JWT"}), &payload(), secret);
            assert_eq!(judge(&RS512, &token, NOW).unwrap_err(), Reason::TokenBadSignature, "{alg}");
        }
    }
}

#[test]
fn the_header_chooses_no_algorithm() {
    let claims =
        || JWTClaims::<NoCustomClaims> { expires_at: Some(UnixTimeStamp::from_secs(NOW + TTL)), ..JWTClaims::new() };
    let hs512 = HS512Key::from_bytes(SECRET.as_bytes()).authenticate(claims()).unwrap();
    assert_eq!(reason_of(&hs512), Reason::TokenBadSignature);
    let rs512 = RS512KeyPair::from_pem(RSA).unwrap().sign(claims()).unwrap();
    assert_eq!(reason_of(&rs512), Reason::TokenBadSignature);
}

#[test]
fn of_a_token_with_a_bad_signature_nothing_else_is_told() {
    for (claim, value) in [
        ("exp", json!(1)),
        ("exp", json!("x")),
        ("nbf", json!(u64::MAX)),
        ("iss", json!("x")),
        ("aud", json!("x")),
        ("sub", json!({})),
    ] {
        let (signed, _) = with(claim, Some(value)).rsplit_once('.').map(|(s, t)| (s.to_owned(), t.len())).unwrap();
        let token = sealed(&signed, b"not the secret that is in use...");
        assert_eq!(reason_of(&token), Reason::TokenBadSignature, "{claim}");
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let good = signed(&HS256, Kind::Access);
    let (header, rest) = good.split_once('.').unwrap();
    let endless = format!("{header}.{}", "A".repeat(MAX_TOKEN));
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        header,
        &format!("{good}.x"),
        &format!(" {good}"),
        &format!("{good}="),
        &endless,
    ] {
        assert_eq!(reason_of(token), Reason::TokenMalformed, "{token:.60}");
    }
    assert_eq!(reason_of(&format!("eyJhbGciOi.{}", rest)), Reason::TokenMalformed);
    assert_eq!(reason_of(&sealed("eyJhbGciOiJIUzI1NiJ9.bm90IGpzb24", SECRET.as_bytes())), Reason::TokenMalformed);
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused() {
    let header = json!({"alg": "HS256", "typ": "JWT", "crit": ["b64"], "b64": false});
    assert_eq!(reason_of(&forged(&header, &payload(), SECRET.as_bytes())), Reason::TokenMalformed);
}

// Single use depends on the signed part.

#[test]
fn the_signed_part_is_the_hash_of_header_and_payload() {
    let token = signed(&HS256, Kind::Access);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(judge(&HS256, &token, NOW).unwrap().signed_part.0[..], Sha256::digest(signed)[..]);
}

#[test]
fn the_other_signature_of_the_same_ecdsa_token_has_the_same_signed_part() {
    // (r, n - s) is as valid a signature as (r, s); n is the order of P-256 (SEC 2 §2.4.2).
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let token = signed(&ES256, Kind::Access);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for i in (0..32).rev() {
        let digit = i16::from(ORDER[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(digit < 0);
        signature[32 + i] = digit.rem_euclid(256) as u8;
    }
    let twin = format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_ne!(twin, token);
    let parts = [&token, &twin].map(|token| judge(&ES256, token, NOW).unwrap().signed_part.0);
    assert_eq!(parts[0], parts[1]);
}

#[test]
fn debug_output_holds_no_token() {
    let signed = HS256.sign(&grant(Kind::Access), at(NOW));
    assert_eq!(format!("{signed:?}"), format!("Signed {{ expires: {}, .. }}", NOW + TTL));
    let verified = format!("{:?}", judge(&HS256, &signed.token, NOW).unwrap());
    assert!(verified.contains("SignedPart(…)") && !verified.contains("eyJ"), "{verified}");
}

// Tokens of another backend.

const LEEWAY: Duration = Duration::from_secs(10);

fn foreign(payload: &Value) -> Result<(SignedPart, SystemTime), Reason> {
    let token = forged(&json!({"alg": "HS256", "typ": "JWT"}), payload, SECRET.as_bytes());
    verify_foreign(SECRET.as_bytes(), &token, at(NOW), LEEWAY).map_err(|refusal| refusal.reason)
}

#[test]
fn a_foreign_token_needs_only_an_expiry() {
    assert_eq!(foreign(&json!({"exp": NOW})).unwrap().1, at(NOW));
    assert_eq!(foreign(&json!({})).unwrap_err(), Reason::TokenNoExpiry);
}

#[test]
fn a_foreign_token_is_refused_in_the_second_after_its_expiry() {
    assert_eq!(foreign(&json!({"exp": NOW - 1})).unwrap_err(), Reason::TokenExpired);
}

#[test]
fn a_foreign_expiry_may_be_a_fraction() {
    assert_eq!(foreign(&json!({"exp": NOW as f64 + 0.75})).unwrap().1, at(NOW));
}

#[test]
fn a_foreign_token_may_say_when_it_begins() {
    assert!(foreign(&json!({"exp": NOW, "nbf": NOW + 10})).is_ok());
    assert_eq!(foreign(&json!({"exp": NOW + 99, "nbf": NOW + 11})).unwrap_err(), Reason::TokenNotYetValid);
}

#[test]
fn a_foreign_clock_that_is_ahead_does_not_lock_out() {
    assert!(foreign(&json!({"exp": NOW + 9, "iat": NOW + 5})).is_ok());
}

#[test]
fn only_the_end_of_a_foreign_token_matters() {
    for claim in ["sub", "jti", "iat", "nbf", "aud", "iss", "nonce", "email"] {
        for value in [json!(7), json!("1700000000"), json!(null), json!([1, {}]), json!({"a": true})] {
            assert!(
                foreign(&json!({"exp": NOW, claim: value})).is_ok() || (claim, &value) == ("nbf", &json!(7)),
                "{claim}: {value}"
            );
        }
    }
    for header in [json!({"alg": "HS256", "kid": 3, "typ": 7, "cty": []}), json!({"typ": "at+jwt", "alg": "HS256"})] {
        let token = forged(&header, &json!({"exp": NOW}), SECRET.as_bytes());
        assert!(verify_foreign(SECRET.as_bytes(), &token, at(NOW), LEEWAY).is_ok(), "{header}");
    }
    assert_eq!(foreign(&json!({"exp": null})).unwrap_err(), Reason::TokenNoExpiry);
    for exp in [json!("9999999999"), json!([]), json!(true)] {
        assert_eq!(foreign(&json!({"exp": exp})).unwrap_err(), Reason::TokenMalformed);
    }
    assert_eq!(foreign(&json!({"exp": -1})).unwrap_err(), Reason::TokenExpired);
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let token = forged(&critical, &json!({"exp": NOW}), SECRET.as_bytes());
    let refusal = verify_foreign(SECRET.as_bytes(), &token, at(NOW), LEEWAY).unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenMalformed);
}

/// The token of that server's own manual.
#[test]
fn a_foreign_secret_may_be_of_any_length() {
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE1MjUzMzc5MjksImV4cCI6MzA1MDY3NTg2OH0.\
                 tfqls3_fV6RQnOfx4-PMed_E2XCttNFr0uppm_nclsw";
    assert!(verify_foreign(b"my_secret", token, at(NOW), LEEWAY).is_ok());
    assert!(verify_foreign(b"my_secres", token, at(NOW), LEEWAY).is_err());
    for length in [1, 2, 11, 12, 64, 65, 200] {
        let secret = vec![b'x'; length];
        let token = forged(&json!({"alg": "HS256"}), &json!({"exp": NOW}), &secret);
        assert_eq!(verify_foreign(&secret, &token, at(NOW), LEEWAY).map(drop), Ok(()), "{length}");
        assert!(verify_foreign(&secret[1..], &token, at(NOW), LEEWAY).is_err());
    }
}

#[test]
fn a_token_may_begin_a_little_ahead_of_our_clock_and_ends_when_it_says() {
    let lenient = keyring(SECRET).with_leeway(LEEWAY);
    let token = signed(&lenient, Kind::Access);
    assert!(judge(&lenient, &token, NOW - 10).is_ok());
    assert_eq!(judge(&lenient, &token, NOW - 11).unwrap_err(), Reason::TokenNotYetValid);
    assert!(judge(&lenient, &token, NOW + TTL).is_ok());
    assert_eq!(judge(&lenient, &token, NOW + TTL + 1).unwrap_err(), Reason::TokenExpired);
}

#[test]
fn a_foreign_token_of_another_key_or_algorithm_is_refused() {
    let token = |alg: &str, secret: &[u8]| forged(&json!({"alg": alg}), &json!({"exp": NOW}), secret);
    for token in [token("HS256", b"another secret of some 32 bytes!"), token("none", SECRET.as_bytes())] {
        let refusal = verify_foreign(SECRET.as_bytes(), &token, at(NOW), LEEWAY).unwrap_err();
        assert_eq!(refusal.reason, Reason::TokenBadSignature);
    }
}

#[test]
fn a_foreign_token_is_none_of_ours() {
    let token = forged(&json!({"alg": "HS256"}), &json!({"exp": NOW}), SECRET.as_bytes());
    assert_eq!(reason_of(&token), Reason::TokenWrongKind);
}

#[test]
fn an_expiry_beyond_all_clocks_is_no_panic() {
    for exp in [json!(u64::MAX), json!(1e19), json!(NOW * 1000)] {
        assert!(foreign(&json!({"exp": exp})).is_ok());
    }
}

proptest! {
    #[test]
    fn no_text_verifies_or_panics(text in "(ey[A-Za-z0-9_-]{0,40})?\\PC{0,60}") {
        prop_assert!(judge(&HS256, &text, NOW).is_err());
        prop_assert!(verify_foreign(SECRET.as_bytes(), &text, at(NOW), LEEWAY).is_err());
    }

    #[test]
    fn a_changed_token_is_refused_or_still_the_same_one(
        place: prop::sample::Index,
        replacement in "[A-Za-z0-9_.=\\-]{0,3}",
        removed in 0usize..3,
    ) {
        for keys in [&HS256, &ES256, &ED25519] {
            let token = signed(keys, Kind::Access);
            let original = judge(keys, &token, NOW).unwrap();
            let start = place.index(token.len());
            let end = (start + removed).min(token.len());
            let changed = format!("{}{replacement}{}", &token[..start], &token[end..]);
            if let Ok(verified) = judge(keys, &changed, NOW) {
                prop_assert_eq!(verified.signed_part.0, original.signed_part.0);
            }
        }
    }

    #[test]
    fn no_claims_make_it_panic(claim in "exp|nbf|iat|sub|aud|iss|jti|email|room|use|name|mark", value in any_json()) {
        let _ = judge(&HS256, &with(&claim, Some(value.clone())), NOW);
        let _ = foreign(&json!({"exp": NOW, claim: value}));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
