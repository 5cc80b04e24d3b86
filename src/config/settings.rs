//! Every setting: name, form, default, meaning. Flags, `--help`, `docs/SETTINGS.md` and `check` are made from this
//! table.

use super::{
    doors::OpenDoors,
    endpoint::{EVENTS, WebhookUrl},
    quantity,
    value::{self, Expected, Per},
};
use crate::logging;
use std::{collections::HashMap, fmt::Write, ops::RangeInclusive, path::Path, time::Duration};

/// One setting: an environment variable, and a flag of the same name.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// Other variables with the same meaning; `name` wins.
    pub aliases: &'static [&'static str],
    pub form: Form,
    /// As a user would write it; empty if there is none.
    pub default: &'static str,
    pub meaning: &'static str,
}

/// The form of a setting's text.
#[derive(Debug)]
pub enum Form {
    Address,
    /// Addresses and Unix sockets of the doors.
    Listen,
    /// Permissions of a file.
    Mode,
    Directory,
    /// The path of a file.
    File,
    Database,
    Storage,
    /// Never shown. Set only by environment or file: every user of the machine can read a flag.
    Secret,
    /// The path of a PEM file or (not as a flag) its text.
    Pem,
    /// A time in whole seconds, for times that are given in seconds elsewhere, such as lives of tokens.
    Seconds(RangeInclusive<u64>),
    /// A time in milliseconds, for times that this server waits.
    Wait(RangeInclusive<u64>),
    Bytes(RangeInclusive<u64>),
    Count(RangeInclusive<u64>),
    /// A time; 0: for ever, -1: never.
    Window,
    Rate(Per),
    Switch,
    Origins,
    Networks,
    Doors,
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// The URL that events are sent to; only its host is shown.
    Endpoint,
    LogFilter,
}

macro_rules! settings {
    ($($name:ident $(or $alias:ident)?: $form:expr, $default:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub static $name: Setting = Setting {
                name: stringify!($name),
                aliases: &[$(stringify!($alias))?],
                form: $form,
                default: $default,
                meaning: $meaning,
            };
        )*

        /// All settings, in the order of the documentation.
        pub static ALL: &[&Setting] = &[$(&$name),*];
    };
}

const LIFE: Form = Form::Seconds(1..=315_360_000);
const WAIT: Form = Form::Wait(100..=86_400_000);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

settings! {
    CONFIG: Form::File, "/etc/propromo-chat/config.toml", "the settings file (TOML), which counts less than flags, environment and `.env`; `propromo-chat config init` writes one; the default file may be missing";
    LISTEN or PORT: Form::Listen, "127.0.0.1:1993", "address and port of every door, or several separated by commas; a port alone is on loopback, port 0 picks a free one; `unix:/path` is a Unix socket for a proxy on this machine, whose `X-Forwarded-For` is believed";
    SOCKET_MODE: Form::Mode, "660", "permissions of the Unix sockets of `LISTEN`: users with write permission can connect";
    LISTEN_ALL: Form::Switch, "false", "whether a port without a host means every IPv4 address instead of loopback, as in the image";
    ADMIN_LISTEN: Form::Address, "", "address for `/metrics`; the health paths `/healthz` and `/readyz` are both there and on `LISTEN`";
    TLS_CERT: Form::Pem, "", "speak TLS on `LISTEN`: path of the certificate with its chain (or PEM text), read again on SIGHUP; without it plain HTTP";
    TLS_KEY: Form::Pem, "", "path of the certificate's private key, not encrypted (or PEM text)";
    TLS_HANDSHAKE_RATE: Form::Rate(Per::Minute), "6000/min", "with TLS, connections of one address (IPv6: a /64); further ones are closed before any work is done for them. Proxies of `TRUSTED_PROXIES` don't count (0: no limit)";
    TLS_HSTS: Form::Seconds(0..=63_072_000), "0", "with TLS, how long browsers must use nothing else for this host, on all its ports (0: browsers are told nothing)";
    DOORS: Form::Doors, "propromo,tickets,streams,rooms", "the kinds of clients that are served; the paths of the others answer 404: `propromo` is `/login` and `/chat/`, `tickets` is `/auth`, `/ws_ticket`, `/token/ws` and `/channel/`, `streams` is `/stream`, `rooms` is `/chats`";
    DATA_DIR: Form::Directory, "./data", "directory of the embedded store and, if no key is given, of a generated secret (mode 0600); under systemd the state directory";
    DATABASE_URL: Form::Database, "sqlite:$DATA_DIR/chat.db", "where accounts and monitors are; `postgres://…` for several nodes";
    DATABASE_POOL: Form::Count(1..=256), "8", "most connections of one node to PostgreSQL; each answers thousands of look-ups per second";
    CHAT_STORAGE_URL or REDIS_URL: Form::Storage, "", "where messages, spent tokens and presence are: `redis://`, `rediss://`, cluster or sentinel; without it embedded, in `DATA_DIR`";
    JWT_PRIVATE_KEY: Form::Secret, "", "key that signs tokens: PEM text (may be encrypted) or an HS256 secret; without it a secret is generated in `DATA_DIR`";
    JWT_PUBLIC_KEY: Form::Secret, "", "the public key of `JWT_PRIVATE_KEY`, as PEM text; with an HS256 secret the same or absent";
    JWT_OLD_KEYS: Form::Secret, "", "earlier keys whose tokens are still accepted: their public keys as PEM text, or HS256 secrets, one after the other";
    JWT_PASSPHRASE: Form::Secret, "", "passphrase of an encrypted `JWT_PRIVATE_KEY`; without it the server asks on the terminal";
    API_KEYS: Form::Secret, "", "keys of backends for `/api/v1`, one per line: `NAME SCOPE[,SCOPE…] SECRET`; `propromo-chat keys api` makes one, SIGHUP reads them again; without keys there is no such API";
    TOKEN_TTL: LIFE, "5m", "life of a connection token of `/login`";
    TICKET_TTL: LIFE, "1m", "life of a ticket of `/ws_ticket`";
    WS_TOKEN_TTL: LIFE, "15m", "life of a connection token of `/token/ws`";
    LOGIN_TOKEN_USE: Form::Word(value::LOGIN_TOKEN_USE), "once", "what a token of `/login` opens if it is not for one chat only: one WebSocket (`once`), or each of the account's chats once (`once-per-chat`), for clients that log in once and open all";
    ACCESS_TTL: LIFE, "1h", "life of an access token";
    SESSION_TTL: Form::Seconds(0..=315_360_000), "30d", "how long a browser stays logged in without being used, by the cookie of `/session` (0: no sessions)";
    SESSIONS_PER_ACCOUNT: Form::Count(1..=1000), "20", "browsers in which one account can stay logged in; with more, the one that was not used for longest is logged out";
    ROOM_TOKEN_TTL: LIFE, "1h", "life of a token for a closed room";
    CLOCK_LEEWAY: Form::Seconds(0..=300), "10s", "how far ahead of this machine's clock a token may begin (`nbf`, `iat`; its end is exact), and how far clocks of nodes and stores may differ before the log says so; at 300 seconds from the store's clock nobody is let in";
    STORE_PATIENCE: Form::Seconds(1..=300), "10s", "how long the server asks for the outcome of a message if the store's answer was lost; then the sender gets `unknown`";
    HISTORY_ON_JOIN: Form::Count(0..=10_000), "100", "messages replayed to a client that joins a room";
    HISTORY_MAX: Form::Count(0..=1_000_000_000_000), "100000", "messages kept of each room (0: all)";
    HISTORY_HOT: Form::Count(0..=1_000_000), "1000", "messages of each room that stay in Redis, if accounts are in PostgreSQL: there is an archive of all (0: no archive)";
    HISTORY_MAX_AGE: Form::Count(0..=36_500), "0", "days after which messages are deleted, in every room and within an hour (0: never)";
    READ_MARKS: Form::Count(1..=100_000), "1000", "rooms for which one account's read marks are kept; those read longest ago are dropped first";
    INBOX_ROOMS: Form::Count(1..=10_000), "500", "rooms of one account that `/inbox` and `/rooms` report, chats first";
    ANNOUNCE_USERS: Form::Count(0..=100_000), "200", "in rooms with up to this many users each coming and going is reported; in larger ones everybody gets the number of users once a second";
    ANNOUNCE_RATE: Form::Rate(Per::Second), "10/s", "comings and goings of one account that are reported at once, in bursts of twenty times that; more are reported once a second, if something has changed (0: no limit)";
    EDIT_WINDOW: Form::Window, "0", "how long the author of a message may edit it (0: for ever, -1: never)";
    MESSAGE_RATE: Form::Rate(Per::Second), "20/s", "messages of one connection, and ten times that for all connections of one account to a node; in bursts of five times that (0: no limit)";
    ANONYMOUS_RATE: Form::Rate(Per::Second), "50/s", "messages of one address (IPv6: a /64) at the rooms door, where nobody has an account; a message counts once for each KiB that it begins; in bursts of five times that (0: no limit)";
    PUBLISH_RATE: Form::Rate(Per::Second), "200/s", "messages that one key of `API_KEYS` publishes, edits or deletes on a node, and its mutes, notices and disconnections, in bursts of five times that (0: no limit)";
    CHANNEL_RATE: Form::Rate(Per::Minute), "300/min", "new channels of one account on a node: those in which it says the first message (0: no limit)";
    CHANNELS_PER_ACCOUNT: Form::Count(0..=1_000_000), "1000", "channels that one account has begun and in which something is kept (0: no limit)";
    CHANNELS_PER_KEY: Form::Count(0..=10_000_000), "10000", "the same for each key of `API_KEYS`, for `/hooks/github`, and for kept streams (0: no limit)";
    MUTES_PER_ACCOUNT: Form::Count(0..=1_000_000), "1000", "channels in which one account is muted; rooms of monitors don't count (0: no limit)";
    LOGIN_RATE: Form::Rate(Per::Minute), "10/min", "wrong passwords of one address (IPv6: a /64), and for one account or room; see SECURITY.md (0: no limit)";
    TICKET_RATE: Form::Rate(Per::Minute), "600/min", "tickets of `/ws_ticket`, tokens of `/token/ws`, renewed sessions, and tokens of `/login?tokens=per-chat`, for one account; ten times that for one address (IPv6: a /64), whose tokens for closed rooms count too (0: no limit)";
    SEARCH_RATE: Form::Rate(Per::Minute), "120/min", "searches of one account in the channel protocol, and of one address (IPv6: a /64) (0: no limit)";
    SEARCH_TIME: Form::Wait(1..=60_000), "1s", "how long one search looks; then it answers with what it has, and says where to go on";
    OVERVIEW_RATE: Form::Rate(Per::Minute), "60000/min", "rooms that `GET /rooms` and new inboxes look at for one account on a node (0: no limit)";
    HANDSHAKE_RATE: Form::Rate(Per::Minute), "60000/min", "opening handshakes of one address (IPv6: a /64), including refused ones; generous, since a whole office may come back at once (0: no limit)";
    ROOM_RATE: Form::Rate(Per::Minute), "30/min", "new rooms of one address (IPv6: a /64) at the rooms door (0: no limit)";
    ROOM_CHANGE_RATE: Form::Rate(Per::Minute), "600/min", "changes and deletions of rooms by one address (IPv6: a /64) at the rooms door (0: no limit)";
    ROOMS_PER_ADDRESS: Form::Count(0..=1_000_000), "1000", "rooms of the rooms door that one address (IPv6: a /64) has made and that are still there (0: no limit)";
    ROOM_IDLE: Form::Seconds(0..=315_360_000), "7d", "a room of the rooms door is deleted after this time without members and messages (0: never)";
    ROOM_UNUSED: Form::Seconds(1..=315_360_000), "6h", "the same for a room in which nothing was ever said";
    MAX_ROOMS: Form::Count(1..=1_000_000), "10000", "rooms of the rooms door; a room that was never used is removed for a new one, and if there is none, no more can be made";
    ROOMS_LISTED: Form::Count(1..=10_000), "200", "rooms in one answer of `GET /chats`; `Link` leads to the next page";
    MAX_CONNECTIONS: Form::Count(1..=1_000_000), "10000", "connections in all; further ones are answered 503, or closed if the server speaks TLS";
    MAX_CONNECTIONS_PER_ADDRESS: Form::Count(0..=1_000_000), "1000", "connections of one address (IPv6: a /64); further ones are answered 503. Name your proxies in `TRUSTED_PROXIES`, or everything that they pass on counts as one address (0: no limit)";
    MAX_UNAUTHENTICATED: Form::Count(1..=1_000_000), "256", "connections that are open without a token, until their first message; further ones are answered 503";
    MAX_UNAUTHENTICATED_PER_ADDRESS: Form::Count(1..=1_000_000), "32", "such connections of one address (IPv6: a /64); further ones are answered 503";
    MAX_MESSAGE: Form::Bytes(1..=64 * MIB), "16KiB", "size of a WebSocket message";
    MAX_BODY: Form::Bytes(1..=64 * MIB), "64KiB", "size of a request body";
    MAX_HEAD: Form::Bytes(256..=MIB), "16KiB", "size of a request head";
    PING_INTERVAL: WAIT, "30s", "how often a silent connection is pinged";
    PONG_TIMEOUT: WAIT, "1m15s", "how long a connection may stay silent before it is closed";
    AUTH_DEADLINE: WAIT, "10s", "time to send a first message that authenticates";
    HEAD_DEADLINE: WAIT, "10s", "time to send a request head";
    IDLE_DEADLINE: WAIT, "15s", "how long a plain connection may stay open without a request";
    SEND_QUEUE: Form::Bytes(KIB..=1024 * MIB), "1MiB", "bytes that may wait for a member that does not read";
    MEMORY_BUDGET: Form::Bytes(0..=1024 * 1024 * MIB), "0", "bytes that may wait for all members together; beyond that, members with most waiting are dropped first (0: half of the memory of the machine or its control group)";
    SEND_STALL: WAIT, "15s", "time without progress after which such a member is dropped";
    ORIGIN_ALLOWLIST: Form::Origins, "", "hosts whose pages may connect, such as `localhost,*.example.org`; without it all may";
    ORIGIN_REQUIRED: Form::Switch, "false", "whether clients without `Origin` (not browsers) are refused";
    TRUSTED_PROXIES: Form::Networks, "", "networks whose `X-Forwarded-For` is believed, such as `10.0.0.0/8,::1`";
    STREAM_JWT_SECRET: Form::Secret, "", "HS256 secret of the backend that signs stream tokens; without it the stream door is closed";
    STREAM_PUBLISH_KEY: Form::Secret, "", "key that `POST /stream` needs";
    STREAM_PUBLIC: Form::Switch, "false", "whether anybody may listen to streams, without a token";
    STREAM_PUBLISH_LOOPBACK: Form::Switch, "false", "whether programs on this machine may publish without the key";
    AUTH_BY_QUERY: Form::Switch, "false", "whether `GET /auth` also accepts `?user=&pwd=`; proxies log addresses, and so the passwords in them";
    GITHUB_WEBHOOK_SECRET: Form::Secret, "", "secret with which GitHub signs its deliveries to `/hooks/github/:room`; without it that path does not exist";
    WEBHOOK_URL: Form::Endpoint, "", "where events are sent, in the form of the Standard Webhooks specification (see docs/PROTOCOL.md §11); without it none are sent";
    WEBHOOK_SECRET: Form::Secret, "", "what signs them: `whsec_` and the base64 of 24 to 64 random bytes; up to 4 separated by white space, while the receiver changes from one to another";
    WEBHOOK_EVENTS: Form::Words(EVENTS), "message.created,message.edited,message.deleted,member.joined,member.left", "which events are sent";
    WEBHOOK_ALLOW_PRIVATE: Form::Switch, "false", "whether the endpoint may be on this machine, in a private network, or without TLS";
    WEBHOOK_TIMEOUT: Form::Wait(1_000..=300_000), "15s", "how long the endpoint's answer may take";
    WEBHOOK_GIVE_UP: Form::Wait(1_000..=2_592_000_000), "1d", "how long a failed event is tried again before it is given up";
    FIRST_MESSAGE_AUTH: Form::Switch, "true", "whether `/channel/…` may be opened without a token, to authenticate in the first message";
    WS_TOKEN_REUSE: Form::Switch, "false", "whether a token of `/token/ws` may be used again until it expires";
    PUBLIC_ROOM_CHANGES: Form::Word(value::PUBLIC_ROOM_CHANGES), "anyone", "who may change or delete a public room: `anyone`, `creator` or `nobody`";
    RECHECK_INTERVAL: Form::Seconds(1..=86_400), "30m", "how often the access of connected clients is checked again; `account revoke` has it checked at once";
    DRAIN_DELAY: Form::Wait(0..=60_000), "0s", "how long the server goes on serving after SIGTERM while `/readyz` answers 503, so that a load balancer sends no new clients";
    SHUTDOWN_SPREAD: Form::Wait(0..=60_000), "5s", "longest time over which sockets are closed at the end, so that clients do not all come back at once";
    DURABILITY: Form::Word(value::DURABILITY), "process", "what an echo promises in the embedded store: `process` survives a crash of the server, `power` also a power failure";
    JOURNAL_MAX: Form::Bytes(MIB..=1024 * MIB), "64MiB", "bytes of memory for messages in the journal of the embedded store that wait for its tables; beyond that senders wait";
    STORE_MAX: Form::Bytes(0..=1024 * 1024 * 1024 * MIB), "0", "bytes that messages and their search index may take in the embedded store, half of it each; before that the oldest messages of the largest rooms are deleted (0: four fifths of what was free on the disk at the start, including what they took then)";
    LOG_LEVEL: Form::LogFilter, "info", "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,propromo_chat::door=debug`";
    LOG_REFUSALS: Form::Count(0..=1_000_000), "10", "refusals of one reason and one address (IPv6: a /64) that have a log line each per minute, as long as there are at most 1,000 in all; the others share one line with their number (0: each has its own)";
    ACCESS_LOG: Form::Switch, "false", "whether each request and handshake on `LISTEN` has a log line at `info`: method, endpoint, status, bytes, seconds, client; otherwise it has one at `debug`";
    LOG_FORMAT: Form::Word(logging::FORMATS), "text", "`text` or `json`, on standard error";
}

impl Setting {
    /// Every variable that sets this, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.form, Form::Secret)
    }

    /// Whether it may come from `NAME_FILE` or a systemd credential. URLs may, because they may hold passwords.
    pub fn may_be_a_file(&self) -> bool {
        matches!(self.form, Form::Secret | Form::Pem | Form::Database | Form::Storage | Form::Endpoint)
    }
}

impl Form {
    /// Checks whether `text` is valid. The error says what it should be.
    ///
    /// Does not check secrets and certificates: only the code that uses a key can do that.
    pub fn check(&self, text: &str) -> Result<(), Expected> {
        match self {
            Form::Address => value::address(text).map(drop),
            Form::Listen => value::listen(text, false).map(drop),
            Form::Mode => value::mode(text).map(drop),
            Form::Directory | Form::File | Form::Secret | Form::Pem => Ok(()),
            Form::Database => value::database(text, Path::new("")).map(drop),
            Form::Storage => value::storage(text).map(drop),
            Form::Seconds(_) | Form::Wait(_) => self.time(text).map(drop),
            Form::Bytes(_) | Form::Count(_) | Form::Rate(_) => self.number(text).map(drop),
            Form::Window => value::edit_window(text).map(drop),
            Form::Switch => value::switch(text).map(drop),
            Form::Origins => value::origins(text).map(drop),
            Form::Networks => value::networks(text).map(drop),
            Form::Doors => OpenDoors::parse(text).map(drop),
            Form::Word(words) => value::word(text, words).map(drop),
            Form::Words(words) => value::words(text, words).map(drop),
            Form::Endpoint => WebhookUrl::parse(text).map(drop),
            Form::LogFilter => logging::check_level(text),
        }
    }

    /// Reads a text of a form that is a time.
    pub fn time(&self, text: &str) -> Result<Duration, Expected> {
        match self {
            Form::Seconds(range) => value::seconds(text, range.clone()),
            Form::Wait(range) => value::wait(text, range.clone()),
            _ => Err("a time".into()),
        }
    }

    /// Reads a text of a form that is a number. Sizes are in bytes, times of whole seconds in seconds.
    pub fn number(&self, text: &str) -> Result<u64, Expected> {
        match self {
            Form::Seconds(_) => self.time(text).map(|time| time.as_secs()),
            Form::Bytes(range) => value::size(text, range.clone()),
            Form::Count(range) => value::number(text, range.clone()),
            Form::Rate(per) => value::rate(text, *per),
            _ => Err("a number".into()),
        }
    }

    /// A time or a size in the units that make it shortest: `7d` for 604800.
    pub fn readable(&self, text: &str) -> Option<String> {
        let scale = match self {
            Form::Seconds(_) | Form::Wait(_) | Form::Window => &quantity::TIME,
            Form::Bytes(_) => &quantity::SIZE,
            _ => return None,
        };
        scale.parse(text).map(|amount| scale.format(amount))
    }

    /// Whether its text may have several entries, separated by commas.
    pub fn is_list(&self) -> bool {
        matches!(self, Form::Listen | Form::Origins | Form::Networks | Form::Doors | Form::Words(_))
    }

    /// What a text of this form is.
    pub fn described(&self) -> String {
        match self {
            Form::Directory => "The path of a directory.".into(),
            Form::File => "The path of a file.".into(),
            Form::Secret => "Secret: the text itself, or the path of a file that holds it.".into(),
            Form::Pem => "The path of a PEM file, or its text.".into(),
            Form::Words(words) => format!("A list of some of {}, or one text with commas.", words.join(", ")),
            _ if self.is_list() => "A list of texts, or one text with commas.".into(),
            Form::LogFilter => "A level, or a filter of `tracing`.".into(),
            // For a text that no form accepts, `check` says what the text should be.
            _ => self.check("\u{1}").err().map_or_else(String::new, |expected| {
                let mut letters = expected.chars();
                letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
            }),
        }
    }

    fn placeholder(&self) -> &'static str {
        match self {
            Form::Address => "ADDRESS:PORT",
            Form::Listen => "ADDRESS:PORT|unix:PATH",
            Form::Mode => "MODE",
            Form::Directory => "DIRECTORY",
            Form::File => "FILE",
            Form::Database | Form::Storage | Form::Endpoint => "URL",
            Form::Secret | Form::Pem => "PATH",
            Form::Seconds(_) | Form::Wait(_) | Form::Window => "TIME",
            Form::Bytes(_) => "SIZE",
            Form::Count(_) => "NUMBER",
            Form::Rate(_) => "RATE",
            Form::Switch => "true|false",
            Form::Origins => "HOSTS",
            Form::Networks => "NETWORKS",
            Form::Doors => "DOORS",
            Form::Word(_) => "WORD",
            Form::Words(_) => "WORDS",
            Form::LogFilter => "LEVEL",
        }
    }
}

/// The setting that a variable with this name sets, also as `NAME_FILE`.
pub fn of_variable(name: &str) -> Option<&'static Setting> {
    ALL.iter().copied().find(|setting| {
        setting.names().any(|known| {
            name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest == "_FILE" && setting.may_be_a_file())
        })
    })
}

/// Whether a variable with this name, also as `NAME_FILE`, is a setting.
pub fn is_variable(name: &str) -> bool {
    of_variable(name).is_some()
}

/// The key of a variable in the settings file: `message_rate` for `MESSAGE_RATE`.
pub fn key(variable: &str) -> String {
    variable.to_ascii_lowercase()
}

/// The flag of a variable without its dashes: `message-rate` for `MESSAGE_RATE`.
pub fn flag(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

/// Every variable that has a flag: of secrets only `NAME_FILE`, of URLs both.
pub fn flag_variables(setting: &Setting) -> Vec<String> {
    let mut variables = Vec::new();
    for name in setting.names() {
        if !setting.is_secret() {
            variables.push(name.to_owned());
        }
        if setting.may_be_a_file() {
            variables.push(format!("{name}_FILE"));
        }
    }
    variables
}

/// The flags of all settings, accepted before and after every command.
///
/// They are hidden: [`help`] shows them once, instead of with every command.
pub fn arguments() -> impl Iterator<Item = clap::Arg> {
    ALL.iter().flat_map(|setting| {
        flag_variables(setting).into_iter().map(|variable| {
            let arg = clap::Arg::new(variable.clone())
                .long(flag(&variable))
                .value_name(if variable.ends_with("_FILE") { "PATH" } else { setting.form.placeholder() })
                .action(clap::ArgAction::Set)
                .global(true)
                .hide(true);
            match setting.form {
                Form::Switch => arg.num_args(0..=1).default_missing_value("true"),
                _ if setting.form.is_list() => arg.action(clap::ArgAction::Append),
                // Lets PEM text reach the check, which refuses it without showing it.
                Form::Pem => arg.allow_hyphen_values(true),
                _ => arg,
            }
        })
    })
}

/// The settings among the flags of a command line, by variable. A list may be given in several flags.
pub fn given(matches: &clap::ArgMatches) -> HashMap<String, String> {
    let variables = ALL.iter().flat_map(|setting| flag_variables(setting));
    variables
        .filter_map(|variable| {
            let parts: Vec<&str> = matches.get_many::<String>(&variable)?.map(String::as_str).collect();
            Some((variable, parts.join(",")))
        })
        .collect()
}

/// The part of `--help` about settings.
pub fn help() -> String {
    let mut help = String::from(
        "Settings (a flag, else the environment variable of that name, else the line in ./.env, else the one in the \
         settings file; MESSAGE_RATE is --message-rate):\n",
    );
    for setting in ALL {
        let variable = flag_variables(setting).swap_remove(0);
        let default = if setting.default.is_empty() { String::new() } else { format!(" [{}]", setting.default) };
        let others = setting.aliases.iter().map(|alias| format!(" [or {alias}]")).collect::<String>();
        let meaning = setting.meaning.replace('`', "");
        let _ = writeln!(
            help,
            "  --{} <{}>{others}\n          {meaning}{default}",
            flag(&variable),
            setting.form.placeholder()
        );
    }
    help.push_str(
        "\nSecrets and URLs may come from a file: NAME_FILE=path (--name-file path), or a systemd credential NAME.\n\
         A secret itself is no flag, because every user of a machine can read the flags of its programs.",
    );
    help
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn each_variable_sets_one_thing() {
        let mut seen = HashSet::new();
        for setting in ALL {
            for name in setting.names() {
                assert!(seen.insert(name), "{name}");
                assert!(seen.insert(&*format!("{name}_FILE").leak()), "{name}_FILE");
            }
        }
    }

    #[test]
    fn each_default_can_be_read() {
        for setting in ALL.iter().filter(|s| !s.default.is_empty()) {
            assert_eq!(setting.form.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn a_secret_is_no_flag() {
        let flags: Vec<_> = arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
        assert!(flags.contains(&"jwt-private-key-file".to_owned()));
        assert!(!flags.contains(&"jwt-private-key".to_owned()));
    }

    #[test]
    fn the_help_names_every_setting() {
        let help = help();
        for setting in ALL {
            assert!(help.contains(&format!("--{}", flag(setting.name))), "{}", setting.name);
        }
    }

    #[test]
    fn the_document_shows_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SETTINGS.md");
        let document = std::fs::read_to_string(path).expect("docs/SETTINGS.md is there");
        let shown =
            document.split_once("<!-- settings -->").and_then(|(_, rest)| rest.split_once("<!-- /settings -->"));
        let (shown, _) =
            shown.expect("docs/SETTINGS.md has its table between <!-- settings --> and <!-- /settings -->");
        assert!(shown.trim() == markdown_table().trim(), "put this table there:\n{}", markdown_table());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_form_panic(text in "\\PC*") {
            // An address may be resolved by DNS; `value` tests its parser without that.
            for setting in ALL.iter().filter(|s| !matches!(s.form, Form::Address | Form::Listen)) {
                let _ = setting.form.check(&text);
            }
        }
    }

    /// The table of `docs/SETTINGS.md`.
    fn markdown_table() -> String {
        let mut table = String::from("| setting | default | meaning |\n|---|---|---|\n");
        for setting in ALL {
            let others = setting.aliases.iter().map(|alias| format!(" (or `{alias}`)")).collect::<String>();
            let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
            let secret = if setting.is_secret() { "; secret" } else { "" };
            let _ = writeln!(table, "| `{}`{others} | {default} | {}{secret} |", setting.name, setting.meaning);
        }
        table
    }
}
