//! The configuration: every setting, checked and ready to use. The settings are in [`settings`], the values that users
//! give in [`layers`] and [`sources`].

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
pub mod provenance;
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

/// All settings as the server uses them. Made once by [`assemble`], from flags, environment and files.
#[derive(Clone)]
pub struct Config {
    /// At least one.
    pub listen: Vec<Listen>,
    /// Permissions of the Unix sockets among them.
    pub socket_mode: u32,
    /// Where `listen` was set, if it was.
    pub listen_given: Option<String>,
    pub admin_listen: Option<SocketAddr>,
    /// The server's identity for TLS; `None`: plain HTTP on `listen`.
    pub tls: Option<Arc<Identity>>,
    /// How long browsers are told to insist on TLS.
    pub hsts: Option<Duration>,
    pub data_dir: PathBuf,
    /// The kinds of clients that are served.
    pub doors: OpenDoors,
    pub database: Database,
    /// Most connections to PostgreSQL.
    pub database_pool: u32,
    pub storage: Storage,
    pub keys: Keyring,
    /// The keys of programs that may call `/api/v1`. Without keys there is no such API.
    pub api_keys: ApiKeys,
    pub tokens: TokenLives,
    pub sessions: SessionSettings,
    pub history_on_join: usize,
    /// How many messages each room keeps; `None`: all.
    pub history_max: Option<u64>,
    /// How many messages of each room stay in Redis; `None`: there is no archive of the others.
    pub history_hot: Option<u64>,
    /// How old messages may become; `None`: any age.
    pub history_max_age: Option<Duration>,
    /// For how many rooms an account may have read marks.
    pub read_marks: usize,
    /// How far clocks may differ.
    pub clock_leeway: Duration,
    /// For how long the store is asked for the outcome of a message whose answer was lost.
    pub store_patience: Duration,
    /// How long its author may edit a message.
    pub edit_window: EditWindow,
    pub limits: Limits,
    pub rooms: RoomSettings,
    pub origins: OriginAllowlist,
    pub origin_required: bool,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub stream: StreamSettings,
    pub login_token_use: LoginTokenUse,
    pub auth_by_query: bool,
    /// The secret with which GitHub signs deliveries.
    pub github_webhook_secret: Option<String>,
    /// Where events are sent; `None`: nowhere.
    pub webhooks: Option<WebhookSettings>,
    pub first_message_auth: bool,
    pub ws_token_reuse: bool,
    pub public_room_changes: PublicRoomChanges,
    /// How often access is checked again.
    pub recheck_interval: Duration,
    /// How long the server goes on serving after SIGTERM, while `/readyz` answers 503.
    pub drain_delay: Duration,
    /// Over how long a time all sockets are closed at the end, at most.
    pub shutdown_spread: Duration,
    pub durability: Durability,
    /// How many refusals of a reason and an address have a log line each, per minute; 0: all.
    pub refusals_told: u64,
    /// Whether each request has a log line at `info`.
    pub access_log: bool,
    /// How many bytes may wait in the journal of the embedded store.
    pub journal_max: u64,
    /// How many bytes messages may take in the embedded store.
    pub store_max: u64,
    /// `serve --demo`: with demo accounts; demo keys are allowed.
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
    /// The longest life of any token that this server signs.
    pub fn longest(&self) -> Duration {
        self.connection.max(self.ticket).max(self.two_step).max(self.access).max(self.room)
    }
}

/// How browsers stay logged in.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The life of a session since its last use; zero: there are no sessions.
    pub ttl: Duration,
    /// Most sessions of one account.
    pub most: usize,
}

/// Every bound of PROTOCOL.md section 9.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages per second of one connection; `None`: no limit. Bursts of five times as many pass.
    pub message_rate: Option<std::num::NonZeroU32>,
    /// Messages per second of one address where nobody has an account; `None`: no limit.
    pub anonymous_rate: Option<std::num::NonZeroU32>,
    /// Messages per second that a backend publishes with one key; `None`: no limit.
    pub publish_rate: Option<std::num::NonZeroU32>,
    /// Wrong logins per minute of one address, and for one account; `None`: no limit.
    pub login_rate: Option<std::num::NonZeroU32>,
    /// Tokens per minute that are signed for one account without a password; `None`: no limit.
    pub ticket_rate: Option<std::num::NonZeroU32>,
    /// Searches per minute of one address, and of one account; `None`: no limit.
    pub search_rate: Option<std::num::NonZeroU32>,
    /// How long one search looks before it answers with what it has.
    pub search_time: Duration,
    /// Rooms per minute that are looked at for one account that asks what is new; `None`: no limit.
    pub overview_rate: Option<std::num::NonZeroU32>,
    /// Opening handshakes per minute of one address; `None`: no limit.
    pub handshake_rate: Option<std::num::NonZeroU32>,
    /// New rooms per minute of one address; `None`: no limit.
    pub room_rate: Option<std::num::NonZeroU32>,
    /// Changes of rooms per minute of one address; `None`: no limit.
    pub room_change_rate: Option<std::num::NonZeroU32>,
    /// Most rooms of the rooms door that one address has made; 0: no limit.
    pub rooms_per_address: u64,
    /// TLS handshakes per minute of one address; `None`: no limit.
    pub tls_handshake_rate: Option<std::num::NonZeroU32>,
    /// Channels per minute that one account begins; `None`: no limit.
    pub channel_rate: Option<std::num::NonZeroU32>,
    /// Most channels that one account has begun; 0: no limit.
    pub channels_per_account: u64,
    /// Most channels that one key of backends has begun; 0: no limit.
    pub channels_per_key: u64,
    /// Most channels in which one account is muted; 0: no limit.
    pub mutes_per_account: u64,
    /// In rooms with up to this many users each coming and going is reported.
    pub announce_users: usize,
    /// Comings and goings per second of one account that are reported at once; `None`: no limit.
    pub announce_rate: Option<std::num::NonZeroU32>,
    /// How many rooms of an account its inbox reports.
    pub inbox_rooms: usize,
    pub max_connections: usize,
    /// Most connections of one address; 0: no limit except the one for all.
    pub max_connections_per_address: usize,
    /// Most connections that are open without a token, until their first message.
    pub max_unauthenticated: usize,
    /// Most such connections of one address.
    pub max_unauthenticated_per_address: usize,
    /// Most bytes of one WebSocket message.
    pub max_message: usize,
    /// Most bytes of a request body.
    pub max_body: usize,
    /// Most bytes of a request head.
    pub max_head: usize,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub auth_deadline: Duration,
    pub head_deadline: Duration,
    /// How long a connection may stay open without a request.
    pub idle_http: Duration,
    /// How many bytes may wait for a member that does not read.
    pub send_queue: usize,
    /// How many bytes may wait for all sockets together.
    pub memory_budget: usize,
    /// How long a member may take nothing of what waits for it.
    pub send_stall: Duration,
}

/// How long rooms of the rooms door last, and how they are listed.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// How long a room lasts without members and messages; `None`: for ever.
    pub idle: Option<Duration>,
    /// How long a room lasts in which nothing was ever said.
    pub unused: Duration,
    /// Most rooms.
    pub most: u64,
    /// Most rooms in one answer.
    pub listed: usize,
}

impl RoomSettings {
    /// How long a room lasts in which nothing was ever said; `None`: for ever.
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
