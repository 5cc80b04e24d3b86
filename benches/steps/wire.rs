//! What goes to a client: a message's JSON in the words of a door, and its frame.

use criterion::{BenchmarkId, Criterion, Throughput};
use propromo_chat::facade::steps::{ChannelEncoder, Encoder, Message, MessageId, PropromoEncoder, RoomName, frame};
use std::hint::black_box;
use uuid::Uuid;

pub fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for size in [32, 128, 1024, 16_384, 65_536] {
        let payload = "x".repeat(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &payload, |b, payload| {
            let mut out = Vec::with_capacity(size + 16);
            b.iter(|| {
                out.clear();
                frame::text(&mut out, |out| out.extend_from_slice(black_box(payload).as_bytes()));
                black_box(out.len())
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("json");
    let room = RoomName::monitor("demo");
    let encoders: [(&str, &dyn Encoder); 2] = [("propromo", &PropromoEncoder), ("channel", &ChannelEncoder)];
    for (name, encoder) in encoders {
        for size in [32, 128, 1024, 16_384] {
            let message = message(&"x".repeat(size));
            group.throughput(Throughput::Elements(1));
            group.bench_with_input(BenchmarkId::new(name, size), &message, |b, message| {
                let mut out = Vec::with_capacity(size + 256);
                b.iter(|| {
                    out.clear();
                    encoder.message(&room, black_box(message), &mut out);
                    black_box(out.len())
                });
            });
        }
    }
    group.finish();
}

/// A message as the log would have stored it.
pub fn message(text: &str) -> Message {
    Message::new(MessageId(Uuid::now_v7()), "alice@propromo.example".into(), text)
}
