//! Which tokens are believed: signature, algorithm, times, issuer, kind. The tests forge them themselves.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::{
    ALICE, Claims, Client, DEMO, SECRET, Server, claims_of, eventually, forge, now, sign_hs256,
    token::{sign_hs512, signed_part},
};

#[track_caller]
fn refusal(server: &Server, token: &str) -> (u16, String) {
    let answer = server.refused(&format!("/chat/demo?auth={token}"), &[]);
    (answer.status, answer.reason())
}

fn set(name: &'static str, value: Value) -> impl FnOnce(&mut Claims) {
    move |claims| {
        claims.insert(name.into(), value);
    }
}

#[test]
fn a_forged_token_with_the_right_secret_is_a_token() {
    let server = Server::start();
    server.enter(&forge(&server.token(ALICE), |_| {}), DEMO).say_and_hear("so the other tests mean something");
}

#[test]
fn a_token_is_good_in_its_last_second_and_refused_in_the_next() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    eventually("the last second is caught before it is over", || {
        let last = now();
        let opened =
            Client::try_open(server.address, &format!("/chat/demo?auth={}", forge(&genuine, lasting_until(last))), &[]);
        // Judged by the server in this very second, or the attempt says nothing.
        if now() != last {
            return false;
        }
        assert!(opened.is_ok(), "refused in the second of its exp");
        true
    });
    let token = forge(&genuine, lasting_until(now()));
    let expires = claims_of(&token)["exp"].as_u64().expect("a number");
    eventually("the next second", || now() > expires);
    assert_eq!(refusal(&server, &token), (401, "token_expired".into()));
}

fn lasting_until(last: u64) -> impl FnOnce(&mut Claims) {
    move |claims| {
        for (name, value) in [("iat", last - 5), ("nbf", last - 5), ("exp", last)] {
            claims.insert(name.into(), json!(value));
        }
    }
}

#[test]
fn a_token_is_refused_before_its_first_second_and_good_in_it() {
    let server = Server::with().env("CLOCK_LEEWAY", "0").start();
    let genuine = server.token(ALICE);
    let (mut first, mut token) = (0, String::new());
    eventually("an attempt is made before the first second", || {
        first = now() + 2;
        token = forge(&genuine, set("nbf", json!(first)));
        let early = Client::try_open(server.address, &format!("/chat/demo?auth={token}"), &[]);
        // Judged by the server before it, or the attempt says nothing.
        if now() >= first {
            return false;
        }
        let Err(answer) = early else { panic!("let in before nbf") };
        assert_eq!(answer.reason(), "token_not_yet_valid");
        true
    });
    eventually("the first second", || now() >= first);
    server.enter(&token, DEMO).say_and_hear("now it is");
}

#[test]
fn a_connection_outlives_its_token() {
    let server = Server::start();
    let token = forge(&server.token(ALICE), set("exp", json!(now() + 8)));
    let mut client = server.enter(&token, DEMO);
    eventually("the token has expired", || now() > claims_of(&token)["exp"].as_u64().expect("a number"));
    client.say_and_hear("still connected");
}

#[test]
fn the_key_decides_the_algorithm_not_the_header() {
    let server = Server::start();
    let claims = claims_of(&server.token(ALICE));
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.", signed_part(&json!({"alg": algorithm, "typ": "JWT"}), &claims));
        assert_eq!(refusal(&server, &unsigned).0, 401, "{algorithm:?}");
        let signed = sign_hs256(SECRET.as_bytes(), &json!({"alg": algorithm, "typ": "JWT"}), &claims);
        assert_eq!(refusal(&server, &signed).0, 401, "{algorithm:?}");
    }
    for algorithm in ["HS384", "HS512", "RS256", "RS512", "ES256", "EdDSA", "hs256"] {
        let signed = sign_hs256(SECRET.as_bytes(), &json!({"alg": algorithm, "typ": "JWT"}), &claims);
        assert_eq!(refusal(&server, &signed).0, 401, "{algorithm}");
    }
    let stronger = sign_hs512(SECRET.as_bytes(), &json!({"alg": "HS512", "typ": "JWT"}), &claims);
    assert_eq!(refusal(&server, &stronger).0, 401);
    for header in [json!({"typ": "JWT"}), json!({"alg": ["HS256"]}), json!({"alg": null}), json!([])] {
        assert_eq!(refusal(&server, &sign_hs256(SECRET.as_bytes(), &header, &claims)).0, 401, "{header}");
    }
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused() {
    let server = Server::start();
    let claims = claims_of(&server.token(ALICE));
    // RFC 7515 §4.1.11.
    let header = json!({"alg": "HS256", "typ": "JWT", "crit": ["exp-2"], "exp-2": true});
    assert_eq!(refusal(&server, &sign_hs256(SECRET.as_bytes(), &header, &claims)).0, 401);
}

#[test]
fn a_signature_must_be_whole() {
    let server = Server::start();
    let token = server.token(ALICE);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    for signature in ["", &signature[..4], &signature[..signature.len() - 2], &"A".repeat(43)] {
        assert_eq!(refusal(&server, &format!("{signed}.{signature}")).0, 401, "{signature:?}");
    }
    server.enter(&token, DEMO);
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    for issuer in [json!("evil.example"), json!("propromo.chat."), json!(""), json!(["propromo.chat"]), Value::Null] {
        assert_eq!(refusal(&server, &forge(&genuine, set("iss", issuer.clone()))).0, 401, "{issuer}");
    }
}

#[test]
fn a_token_of_another_audience_is_of_the_wrong_kind() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    let audience = set("aud", json!("somebody else"));
    assert_eq!(refusal(&server, &forge(&genuine, audience)), (401, "token_wrong_kind".into()));
}

#[test]
fn a_token_that_lacks_a_claim_is_refused() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    for name in ["iss", "sub", "email", "iat", "exp", "jti", "aud"] {
        let token = forge(&genuine, |claims| {
            claims.remove(name).expect("the claim was there");
        });
        assert_eq!(refusal(&server, &token).0, 401, "without {name}");
    }
}

#[test]
fn a_claim_of_the_wrong_type_or_size_is_refused() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    for (name, value) in [
        ("exp", json!("4102444800")),
        ("exp", json!(-1)),
        ("exp", json!(0)),
        ("exp", json!([now() + 60])),
        ("exp", Value::Null),
        ("nbf", json!(u64::MAX)),
        ("nbf", json!("soon")),
        ("sub", json!("")),
        ("sub", json!("not a number")),
        ("sub", json!("9999999999999999999999")),
        ("sub", json!({})),
        ("email", json!(7)),
        ("aud", json!({})),
    ] {
        let (status, reason) = refusal(&server, &forge(&genuine, set(name, value.clone())));
        assert_eq!(status, 401, "{name}: {value} was refused with {status} {reason}");
    }
}

#[test]
fn an_end_beyond_all_times_stops_nothing() {
    let server = Server::start();
    let genuine = server.token(ALICE);
    // Whether such a token is let in is of no matter; that it breaks nothing is.
    for end in [json!(u64::MAX), json!(u64::MAX / 2), json!(i64::MAX), json!(253_402_300_800u64), json!(1e300)] {
        let path = format!("/chat/demo?auth={}", forge(&genuine, set("exp", end.clone())));
        if let Err(answer) = Client::try_open(server.address, &path, &[]) {
            assert_eq!(answer.status, 401, "{end}");
        }
    }
    server.join(ALICE, DEMO).say_and_hear("as if nothing had been");
}

#[test]
fn a_person_who_is_not_there_any_more_is_refused() {
    let server = Server::start();
    let token = forge(&server.token(ALICE), set("sub", json!("987654321")));
    assert!(matches!(refusal(&server, &token).0, 401 | 403));
}

#[test]
fn rubbish_is_no_token() {
    let server = Server::start();
    let token = server.token(ALICE);
    let parts: Vec<_> = token.split('.').collect();
    for text in [
        "a".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "👾.👾.👾".bytes().map(|byte| format!("%{byte:02X}")).collect(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{token}"),
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode("{}"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("[[[[[[[["), parts[2]),
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("[".repeat(3000)), parts[2]),
        "a".repeat(12_000),
        format!("{}.{}.{}", parts[0], "A".repeat(12_000), parts[2]),
    ] {
        assert_eq!(refusal(&server, &text).0, 401, "{text:.40}");
    }
    for no_text in ["%00", "%ff%fe"] {
        assert!(matches!(refusal(&server, no_text).0, 400 | 401), "{no_text}");
    }
    server.enter(&token, DEMO);
}
