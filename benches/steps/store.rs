//! The embedded store: spending a token, storing batches of messages, reading history.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use propromo_chat::facade::steps::{
    Draft, Durability, Embedded, EmbeddedOptions, Ledger, LogOptions, MessageLog, RoomName, SignedPart,
};
use std::{
    cell::Cell,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub fn all(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    ledger(c, &dir.path().join("ledger"));
    log(c, &dir.path().join("log"));
}

fn ledger(c: &mut Criterion, dir: &Path) {
    let store = open(dir);
    let until = SystemTime::now() + Duration::from_secs(3600);
    let next = Cell::new(0_u64);
    let fresh = || {
        next.set(next.get() + 1);
        let mut part = [0; 32];
        // Spread like a hash, so that the index is written where a real one would be.
        part[..8].copy_from_slice(&next.get().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        SignedPart(part)
    };
    let mut group = c.benchmark_group("ledger");
    group.bench_function("spend", |b| {
        b.iter_batched(fresh, |token| assert!(store.ledger.spend(&token, until).unwrap()), BatchSize::SmallInput);
    });
    let spent = fresh();
    store.ledger.spend(&spent, until).unwrap();
    group.bench_function("spend again", |b| b.iter(|| assert!(!store.ledger.spend(&spent, until).unwrap())));
    group.finish();
}

fn log(c: &mut Criterion, dir: &Path) {
    let store = open(dir);
    let mut group = c.benchmark_group("log");
    for (rooms, batch) in [(1, 1), (1, 40), (1, 256), (100, 256)] {
        let drafts: Vec<_> = (0..batch).map(|n| draft(&format!("room {}", n % rooms)).into()).collect();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new(format!("append to {rooms} rooms"), batch), |b| {
            b.iter(|| store.log.append(&drafts).unwrap());
        });
    }
    let room = RoomName::channel("room 0");
    group.throughput(Throughput::Elements(100));
    group.bench_function("history of 100", |b| {
        b.iter(|| assert_eq!(store.log.history(&room, None, 100).unwrap().len(), 100));
    });
    group.finish();
}

fn open(dir: &Path) -> Embedded {
    std::fs::create_dir(dir).unwrap();
    let log = LogOptions {
        history_max: Some(100_000),
        durability: Durability::Process,
        journal_max: 64 << 20,
        store_max: None,
        on_apply: Arc::new(|_| {}),
    };
    Embedded::open(EmbeddedOptions { data_dir: dir, accounts: None, log }).unwrap()
}

/// A message of 128 bytes.
pub fn draft(room: &str) -> Draft {
    Draft::new(RoomName::channel(room), "alice@propromo.example".into(), "x".repeat(128))
}
