//! Every setting, checked and usable. What may be set is [`settings`]' matter, what the user typed [`layers`] and [`sources`]'.

pub mod assemble;
pub mod ceilings;
pub mod certificate;
pub mod doors;
mod dotenv;
pub mod endpoint;
pub mod error;
pub mod layers;
mod misspelt;
mod mistaken;
pub mod origin;
pub mod quantity;
#[cfg(test)]
mod round_trip;
pub mod secret_file;
pub mod settings;
pub mod settings_file;
pub mod signing;
pub mod sources;
pub mod value;
pub mod webhooks;

use crate::{
    auth::{api_keys::ApiKeys, keys::Keyring, origin::OriginAllowlist},
    redact,
    store::sqlite::database::Durability,
};
use certificate::Identity;
use doors::OpenDoors;
use ipnet::IpNet;
use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use value::{Database, EditWindow, Listen, LoginTokenUse, PublicRoomChanges, Storage};
use webhooks::WebhookSettings;

/// All settings, as the server uses them. Made once, by [`assemble`], from flags, environment and `.env`.
#[derive(Clone)]
pub struct Config {
    /// At least one.
    pub listen: Vec<Listen>,
    /// Permissions of the Unix sockets among them.
    pub socket_mode: u32,
    /// Where `listen` was set, if it was.
    pub listen_given: Option<String>,
    pub admin_listen: Option<SocketAddr>,
    /// Who the server is over TLS; `None`: plain HTTP on `listen`.
    pub tls: Option<Arc<Identity>>,
    /// How long browsers are told to insist on TLS.
    pub hsts: Option<Duration>,
    pub data_dir: PathBuf,
    /// The kinds of clients that are served.
    pub doors: OpenDoors,
    pub database: Database,
    /// Connections to PostgreSQL at most.
    pub database_pool: u32,
    pub storage: Storage,
    pub keys: Keyring,
    /// Whose programs may call `/api/v1`; none: nobody's, and it is not there.
    pub api_keys: ApiKeys,
    pub tokens: TokenLives,
    pub sessions: SessionSettings,
    pub history_on_join: usize,
    /// Messages kept a room; `None` keeps all.
    pub history_max: Option<u64>,
    /// How old messages get; `None`: as old as they like.
    pub history_max_age: Option<Duration>,
    /// Rooms of an account of which is kept how far it has read them.
    pub read_marks: usize,
    /// How far clocks may be apart.
    pub clock_leeway: Duration,
    /// How long it is asked what became of a message whose store gave no answer.
    pub store_patience: Duration,
    /// How long a message may be edited by who said it.
    pub edit_window: EditWindow,
    pub limits: Limits,
    pub rooms: RoomSettings,
    pub origins: OriginAllowlist,
    pub origin_required: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub stream: StreamSettings,
    pub login_token_use: LoginTokenUse,
    pub auth_by_query: bool,
    /// What GitHub signs its deliveries with.
    pub github_webhook_secret: Option<String>,
    /// Where events are sent; none: nowhere.
    pub webhooks: Option<WebhookSettings>,
    pub first_message_auth: bool,
    pub ws_token_reuse: bool,
    pub public_room_changes: PublicRoomChanges,
    /// How often is looked whether those who are connected still have access.
    pub recheck_interval: Duration,
    /// How long everything is served on after SIGTERM, while `/readyz` says 503.
    pub drain_delay: Duration,
    /// Over which time all sockets are closed at the end, at most.
    pub shutdown_spread: Duration,
    pub durability: Durability,
    /// Refusals of a reason and an address that have a line each, a minute; 0: all.
    pub refusals_told: u64,
    /// Whether each request has a line at `info`.
    pub access_log: bool,
    /// What may wait in the journal of the embedded store, in bytes.
    pub journal_max: u64,
    /// What messages may take in the embedded store, in bytes.
    pub store_max: u64,
    /// `serve --demo`: demo accounts, demo keys allowed.
    pub demo: bool,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Database::Postgres(url) => f.write_str(&redact::without_password(url)),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Embedded => f.write_str("embedded"),
            Storage::Redis(url) => f.write_str(&redact::without_password(url)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct TokenLives {
    pub connection: Duration,
    pub ticket: Duration,
    pub two_step: Duration,
    pub access: Duration,
    pub room: Duration,
}

impl TokenLives {
    /// How long any token lives that this server signs.
    pub fn longest(&self) -> Duration {
        self.connection.max(self.ticket).max(self.two_step).max(self.access).max(self.room)
    }
}

/// How browsers stay logged in.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Since it was used last; zero: there are none.
    pub ttl: Duration,
    /// Of one account.
    pub most: usize,
}

/// Every bound of PROTOCOL.md section 9.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages a second of one connection; `None`: no limit. Bursts of five times that are let through.
    pub message_rate: Option<std::num::NonZeroU32>,
    /// Messages a second of one address where nobody has an account; `None`: no limit.
    pub anonymous_rate: Option<std::num::NonZeroU32>,
    /// Messages a second that one key of a backend publishes; `None`: no limit.
    pub publish_rate: Option<std::num::NonZeroU32>,
    /// Logins a minute of one address and of one account; `None`: no limit.
    pub login_rate: Option<std::num::NonZeroU32>,
    /// Tokens a minute that are signed for one account without a password; `None`: no limit.
    pub ticket_rate: Option<std::num::NonZeroU32>,
    /// Searches of an address in a minute.
    pub search_rate: Option<std::num::NonZeroU32>,
    /// Opening handshakes a minute of one address; `None`: no limit.
    pub handshake_rate: Option<std::num::NonZeroU32>,
    /// New rooms a minute of one address; `None`: no limit.
    pub room_rate: Option<std::num::NonZeroU32>,
    /// Users of a room up to which each coming and going is told.
    pub announce_users: usize,
    /// Comings and goings a second of one account that are told at once; `None`: no limit.
    pub announce_rate: Option<std::num::NonZeroU32>,
    /// Rooms of an account of which its inbox tells.
    pub inbox_rooms: usize,
    pub max_connections: usize,
    /// Connections of one address; 0: no limit but that for all.
    pub max_connections_per_address: usize,
    /// Connections that are open without a token, until their first message.
    pub max_unauthenticated: usize,
    /// Such connections of one address.
    pub max_unauthenticated_per_address: usize,
    /// Bytes of one WebSocket message.
    pub max_message: usize,
    /// Bytes of a request body.
    pub max_body: usize,
    /// Bytes of a request head.
    pub max_head: usize,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub auth_deadline: Duration,
    pub head_deadline: Duration,
    /// How long a connection may stay without a request.
    pub idle_http: Duration,
    /// Bytes that may wait for a member that doesn't read.
    pub send_queue: usize,
    /// Bytes that may wait for all sockets together.
    pub memory_budget: usize,
    /// How long a member may make no progress.
    pub send_stall: Duration,
}

/// How long rooms of the rooms door last, and how they are listed.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// Without anybody and anything said; `None`: for ever.
    pub idle: Option<Duration>,
    /// If nothing was ever said.
    pub unused: Duration,
    /// How many there may be.
    pub most: u64,
    /// Rooms in one answer.
    pub listed: usize,
}

impl RoomSettings {
    /// How long a room lasts in which nothing was ever said.
    pub fn unused(&self) -> Option<Duration> {
        self.idle.map(|idle| idle.min(self.unused))
    }
}

#[derive(Clone)]
pub struct StreamSettings {
    pub jwt_secret: Option<String>,
    pub publish_key: Option<String>,
    pub public: bool,
    pub publish_loopback: bool,
}
