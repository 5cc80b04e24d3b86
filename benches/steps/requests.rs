//! Reading a request head, and having a plain request answered through the gateway.

use criterion::{BenchmarkId, Criterion};
use propromo_chat::facade::steps::{Gateway, Handler, Head, Persistence, Reply};
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a script sends.
const SHORT: &str = "GET /healthz HTTP/1.1\r\nHost: localhost:1993\r\n\r\n";

/// What a browser sends to open a WebSocket.
const BROWSER: &str = "GET /chat/%242y%2412%24abcdefghijklmnopqrstuv%2Fwxyz?auth=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl HTTP/1.1\r\n\
    Host: chat.example.org\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://chat.example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

pub fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    for (name, request) in [("short", SHORT), ("browser", BROWSER)] {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| Head::parse(black_box(request.as_bytes()), PEER, &[]).unwrap().unwrap());
        });
    }
    group.finish();

    let mut group = c.benchmark_group("gateway");
    for size in [16, 64 << 10] {
        let body = "x".repeat(size);
        let gateway = Gateway::start(4, Handler::new(move |_| Reply::text(200, body.as_str()))).unwrap();
        let (head, _) = Head::parse(SHORT.as_bytes(), PEER, &[]).unwrap().unwrap();
        group.bench_function(BenchmarkId::new("exchange", size), |b| {
            b.iter(|| gateway.exchange(black_box(&head), b"", Persistence::Kept).unwrap());
        });
    }
    group.finish();
}
