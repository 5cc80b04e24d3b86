//! Shared parts of this module's tests.

use crate::config::Limits;
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

/// The two ends of one connection: the client's and the server's.
pub fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The documented defaults.
pub fn limits() -> Limits {
    Limits {
        message_rate: None,
        anonymous_rate: None,
        publish_rate: None,
        login_rate: None,
        ticket_rate: None,
        search_rate: None,
        search_time: Duration::from_millis(200),
        handshake_rate: None,
        room_rate: None,
        room_change_rate: None,
        rooms_per_address: 0,
        tls_handshake_rate: None,
        channel_rate: None,
        channels_per_account: 0,
        channels_per_key: 0,
        mutes_per_account: 0,
        overview_rate: None,
        announce_users: 200,
        announce_rate: None,
        inbox_rooms: 500,
        max_connections: 10_000,
        max_connections_per_address: 0,
        max_unauthenticated: 10,
        max_unauthenticated_per_address: 10,
        max_message: 16 * 1024,
        max_body: 64 * 1024,
        max_head: 16 * 1024,
        ping_interval: Duration::from_secs(30),
        pong_timeout: Duration::from_secs(75),
        auth_deadline: Duration::from_secs(10),
        head_deadline: Duration::from_secs(10),
        idle_http: Duration::from_secs(15),
        send_queue: 1 << 20,
        memory_budget: usize::MAX,
        send_stall: Duration::from_secs(15),
    }
}
