//! Checking a token's signature and claims, with each kind of key that people use.

use criterion::{BenchmarkId, Criterion};
use propromo_chat::facade::tokens::{Grant, Issued, Keyring, Kind, UserId};
use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

const SECRET: &str = "a secret that is long enough for HS256, and only for this";

pub fn all(c: &mut Criterion) {
    let keys = [
        SECRET,
        include_str!("../../tests/keys/test-only-rsa.pem"),
        include_str!("../../tests/keys/test-only-ed25519.pem"),
    ];
    let mut group = c.benchmark_group("token");
    for key in keys {
        let keyring = Keyring::from_settings(key, None, &mut || unreachable!("no key here is encrypted")).unwrap();
        let now = SystemTime::now();
        let grant = Grant {
            kind: Kind::Connection(Issued::Login),
            user: UserId(1),
            email: "alice@propromo.example",
            room: Some("demo"),
            epoch: None,
            ttl: Duration::from_secs(300),
        };
        let signed = keyring.sign(&grant, now);
        group.bench_function(BenchmarkId::new("verify", keyring.algorithm()), |b| {
            b.iter(|| {
                keyring.verify(black_box(&signed.token), |kind| matches!(kind, Kind::Connection(_)), now).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("sign", keyring.algorithm()), |b| {
            b.iter(|| keyring.sign(black_box(&grant), now));
        });
    }
    group.finish();
}
