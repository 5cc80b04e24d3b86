//! From the given settings to the server's configuration: reads every setting, and checks settings that depend on each
//! other.

use super::{
    Config, Limits, RoomSettings, SessionSettings, StreamSettings, TokenLives, ceilings,
    certificate::Identity,
    doors::OpenDoors,
    error::SettingError,
    settings::{self, *},
    signing::{self, PassphraseSource},
    sources::Settings,
    value::{self, Database, Expected, Listen, Storage},
};
use crate::auth::{api_keys::ApiKeys, foreign::GOOD_SECRET, keys::Keyring};
use std::{net::Ipv4Addr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

/// Settings that hold one secret each, with which somebody could sign or publish. (`JWT_OLD_KEYS` holds several. A
/// passphrase only opens a key.)
const SECRETS: [&Setting; 4] = [&JWT_PRIVATE_KEY, &JWT_PUBLIC_KEY, &STREAM_JWT_SECRET, &STREAM_PUBLISH_KEY];

impl Settings {
    /// Reads everything, for `serve`. With `demo` the embedded store is used, whatever else is set.
    ///
    /// Creates the secret in `DATA_DIR` if no key is given.
    pub fn config(&self, demo: bool, passphrase: &mut PassphraseSource<'_>) -> Result<Config, SettingError> {
        let config = Config {
            listen: self.listen()?,
            socket_mode: self.get(&SOCKET_MODE, value::mode)?,
            listen_given: self.is_given(&LISTEN).then(|| self.name_of(&LISTEN)),
            admin_listen: self.optional(&ADMIN_LISTEN, value::address)?,
            tls: Identity::from_settings(self)?.map(Arc::new),
            hsts: Some(self.seconds(&TLS_HSTS)?)
                .filter(|_| self.text(&TLS_CERT).is_some())
                .filter(|life| !life.is_zero()),
            data_dir: self.data_dir()?,
            doors: self.get(&DOORS, OpenDoors::parse)?,
            database: if demo { self.embedded_database()? } else { self.database()? },
            // Fits into 32 bits: the form allows no more.
            database_pool: u32::try_from(self.number(&DATABASE_POOL)?).unwrap_or(u32::MAX),
            storage: if demo { Storage::Embedded } else { self.storage()? },
            api_keys: self.api_keys()?,
            tokens: self.token_lives()?,
            sessions: self.sessions()?,
            history_on_join: self.size(&HISTORY_ON_JOIN)?,
            read_marks: self.size(&READ_MARKS)?,
            history_max: Some(self.number(&HISTORY_MAX)?).filter(|&kept| kept > 0),
            history_hot: Some(self.number(&HISTORY_HOT)?).filter(|&hot| hot > 0),
            history_max_age: Some(self.number(&HISTORY_MAX_AGE)?)
                .filter(|&days| days > 0)
                .map(|days| Duration::from_secs(days * 24 * 60 * 60)),
            clock_leeway: self.seconds(&CLOCK_LEEWAY)?,
            store_patience: self.seconds(&STORE_PATIENCE)?,
            edit_window: self.get(&EDIT_WINDOW, value::edit_window)?,
            limits: self.limits()?,
            rooms: RoomSettings {
                idle: Some(self.seconds(&ROOM_IDLE)?).filter(|idle| !idle.is_zero()),
                unused: self.seconds(&ROOM_UNUSED)?,
                most: self.number(&MAX_ROOMS)?,
                listed: self.size(&ROOMS_LISTED)?,
            },
            origins: self.optional(&ORIGIN_ALLOWLIST, value::origins)?.unwrap_or_default(),
            origin_required: self.get(&ORIGIN_REQUIRED, value::switch)?,
            trusted_proxies: self.optional(&TRUSTED_PROXIES, value::networks)?.unwrap_or_default(),
            stream: StreamSettings {
                jwt_secret: self.text(&STREAM_JWT_SECRET).map(str::to_owned),
                publish_key: self.text(&STREAM_PUBLISH_KEY).map(str::to_owned),
                public: self.get(&STREAM_PUBLIC, value::switch)?,
                publish_loopback: self.get(&STREAM_PUBLISH_LOOPBACK, value::switch)?,
            },
            login_token_use: self.get(&LOGIN_TOKEN_USE, value::login_token_use)?,
            auth_by_query: self.get(&AUTH_BY_QUERY, value::switch)?,
            github_webhook_secret: self.text(&GITHUB_WEBHOOK_SECRET).map(str::to_owned),
            webhooks: self.webhooks()?,
            first_message_auth: self.get(&FIRST_MESSAGE_AUTH, value::switch)?,
            ws_token_reuse: self.get(&WS_TOKEN_REUSE, value::switch)?,
            public_room_changes: self.get(&PUBLIC_ROOM_CHANGES, value::public_room_changes)?,
            recheck_interval: self.seconds(&RECHECK_INTERVAL)?,
            drain_delay: self.seconds(&DRAIN_DELAY)?,
            shutdown_spread: self.seconds(&SHUTDOWN_SPREAD)?,
            durability: self.get(&DURABILITY, value::durability)?,
            refusals_told: self.number(&LOG_REFUSALS)?,
            access_log: self.get(&ACCESS_LOG, value::switch)?,
            journal_max: self.number(&JOURNAL_MAX)?,
            store_max: match self.number(&STORE_MAX)? {
                0 => ceilings::most_of_the_disk(&self.data_dir()?),
                bytes => bytes,
            },
            demo,
            // Last, because it may ask for a passphrase and create a file.
            keys: self.checked_together().and_then(|()| self.keyring(demo, passphrase))?,
        };
        Ok(config)
    }

    /// The addresses of the doors. With `LISTEN_ALL`, an entry without a host means every address of the machine.
    pub fn listen(&self) -> Result<Vec<Listen>, SettingError> {
        let all = self.get(&LISTEN_ALL, value::switch)?;
        let mut listen = self.get(&LISTEN, |text| value::listen(text, all))?;
        if all && !self.is_given(&LISTEN) {
            for one in &mut listen {
                if let Listen::Tcp(address) = one {
                    address.set_ip(Ipv4Addr::UNSPECIFIED.into());
                }
            }
        }
        Ok(listen)
    }

    pub fn data_dir(&self) -> Result<PathBuf, SettingError> {
        self.get(
            &DATA_DIR,
            |text| {
                if text.contains('\0') { Err("a directory".into()) } else { Ok(PathBuf::from(text)) }
            },
        )
    }

    pub fn database(&self) -> Result<Database, SettingError> {
        let data_dir = self.data_dir()?;
        self.get(&DATABASE_URL, |text| value::database(text, &data_dir))
    }

    /// The SQLite file of `DATABASE_URL`, or the default file if that names another kind of database.
    fn embedded_database(&self) -> Result<Database, SettingError> {
        match self.database()? {
            Database::Sqlite(path) => Ok(Database::Sqlite(path)),
            Database::Postgres(_) => Ok(Database::Sqlite(self.data_dir()?.join("chat.db"))),
        }
    }

    pub fn storage(&self) -> Result<Storage, SettingError> {
        Ok(self.optional(&CHAT_STORAGE_URL, value::storage)?.unwrap_or(Storage::Embedded))
    }

    pub fn token_lives(&self) -> Result<TokenLives, SettingError> {
        Ok(TokenLives {
            connection: self.seconds(&TOKEN_TTL)?,
            ticket: self.seconds(&TICKET_TTL)?,
            two_step: self.seconds(&WS_TOKEN_TTL)?,
            access: self.seconds(&ACCESS_TTL)?,
            room: self.seconds(&ROOM_TOKEN_TTL)?,
        })
    }

    pub fn sessions(&self) -> Result<SessionSettings, SettingError> {
        Ok(SessionSettings { ttl: self.seconds(&SESSION_TTL)?, most: self.size(&SESSIONS_PER_ACCOUNT)? })
    }

    /// The keys that sign and verify. If none are given, makes a secret in `DATA_DIR`.
    pub fn keyring(&self, demo: bool, passphrase: &mut PassphraseSource<'_>) -> Result<Keyring, SettingError> {
        Ok(signing::keyring(self, &self.data_dir()?, demo, passphrase)?.with_leeway(self.seconds(&CLOCK_LEEWAY)?))
    }

    /// The keys of backends; empty if none are set.
    pub fn api_keys(&self) -> Result<ApiKeys, SettingError> {
        ApiKeys::parse(self.text(&API_KEYS).unwrap_or_default()).map_err(|(line, error)| {
            SettingError(format!("line {line} of {} can't be used: {error}", self.name_of(&API_KEYS)))
        })
    }

    /// Every setting that is wrong, by itself or with another. The first one is the error at a start.
    pub fn problems(&self) -> Vec<SettingError> {
        let alone = settings::ALL.iter().filter_map(|setting| {
            let text = self.text(setting)?;
            setting.form.check(text).err().map(|expected| self.unreadable(setting, &expected))
        });
        let mut problems: Vec<_> = alone.collect();
        if problems.is_empty() {
            problems.extend(self.checked_together().err());
        }
        problems
    }

    /// Settings that are allowed but are probably mistakes.
    pub fn doubts(&self) -> Result<Vec<String>, SettingError> {
        let mut doubts = self.warnings.clone();
        if self.number(&SEND_QUEUE)? < self.number(&MAX_MESSAGE)? {
            let (queue, message) = (self.name_of(&SEND_QUEUE), self.name_of(&MAX_MESSAGE));
            doubts.push(format!(
                "{queue} is less than {message}: a message that long reaches nobody whose socket is busy"
            ));
        }
        if self.number(&HISTORY_MAX)? > 0 && self.number(&HISTORY_ON_JOIN)? > self.number(&HISTORY_MAX)? {
            let (join, kept) = (self.name_of(&HISTORY_ON_JOIN), self.name_of(&HISTORY_MAX));
            doubts.push(format!("{join} is more than {kept}: no room keeps that many messages"));
        }
        if self.get(&STREAM_PUBLIC, value::switch)? && self.text(&STREAM_JWT_SECRET).is_some() {
            doubts.push(format!("{} lets anybody listen to streams, whatever the token", self.name_of(&STREAM_PUBLIC)));
        }
        if let Some(secret) = self.text(&STREAM_JWT_SECRET).filter(|secret| secret.len() < GOOD_SECRET) {
            doubts.push(format!(
                "{} has {} bytes; with less than {GOOD_SECRET} (RFC 7518 §3.2) it can be found out from one token",
                self.name_of(&STREAM_JWT_SECRET),
                secret.len()
            ));
        }
        if !self.seconds(&TLS_HSTS)?.is_zero() && self.text(&TLS_CERT).is_none() {
            let (hsts, cert) = (self.name_of(&TLS_HSTS), TLS_CERT.name);
            doubts.push(format!("{hsts} says nothing without {cert}; behind a proxy that speaks TLS, set it there"));
        }
        if self.storage()? != Storage::Embedded && self.text(&JWT_PRIVATE_KEY).is_none() {
            let (storage, key) = (self.name_of(&CHAT_STORAGE_URL), JWT_PRIVATE_KEY.name);
            doubts.push(format!(
                "{storage} is shared with other nodes, but {key} is not given: each node makes a secret of its own, and \
                 refuses the tokens of the others"
            ));
        }
        if self.get(&PUBLIC_ROOM_CHANGES, value::public_room_changes)? == super::PublicRoomChanges::Anyone {
            let changes = self.name_of(&PUBLIC_ROOM_CHANGES);
            doubts.push(format!(
                "{changes} is `anyone`: whoever finds a public room may change, close or delete it; `creator` is safer"
            ));
        }
        Ok(doubts)
    }

    fn checked_together(&self) -> Result<(), SettingError> {
        if self.seconds(&PONG_TIMEOUT)? <= self.seconds(&PING_INTERVAL)? {
            return Err(SettingError(format!(
                "{} is {}; it should be more than {} ({}), or connections are dropped before they are pinged",
                self.name_of(&PONG_TIMEOUT),
                self.printed(&PONG_TIMEOUT).unwrap_or_default(),
                self.name_of(&PING_INTERVAL),
                self.printed(&PING_INTERVAL).unwrap_or_default(),
            )));
        }
        let admin = self.optional(&ADMIN_LISTEN, value::address)?.filter(|admin| admin.port() != 0);
        if let Some(admin) = admin.filter(|admin| self.listen().is_ok_and(|all| all.contains(&Listen::Tcp(*admin)))) {
            return Err(SettingError(format!(
                "{} is {admin}, where the doors are; it should be another address or port",
                self.name_of(&ADMIN_LISTEN)
            )));
        }
        self.api_keys()?;
        self.webhooks()?;
        if let Some(error) = SECRETS.iter().find_map(|secret| self.mistaken(secret)) {
            return Err(error);
        }
        if self.text(&JWT_PUBLIC_KEY).is_some() && self.text(&JWT_PRIVATE_KEY).is_none() {
            return Err(SettingError(format!(
                "{} is given without JWT_PRIVATE_KEY; this server signs tokens, so give both (`propromo-chat keys` makes them)",
                self.name_of(&JWT_PUBLIC_KEY)
            )));
        }
        Ok(())
    }

    fn limits(&self) -> Result<Limits, SettingError> {
        Ok(Limits {
            message_rate: self.rate(&MESSAGE_RATE)?,
            anonymous_rate: self.rate(&ANONYMOUS_RATE)?,
            publish_rate: self.rate(&PUBLISH_RATE)?,
            login_rate: self.rate(&LOGIN_RATE)?,
            ticket_rate: self.rate(&TICKET_RATE)?,
            search_rate: self.rate(&SEARCH_RATE)?,
            search_time: self.seconds(&SEARCH_TIME)?,
            overview_rate: self.rate(&OVERVIEW_RATE)?,
            handshake_rate: self.rate(&HANDSHAKE_RATE)?,
            room_rate: self.rate(&ROOM_RATE)?,
            room_change_rate: self.rate(&ROOM_CHANGE_RATE)?,
            rooms_per_address: self.number(&ROOMS_PER_ADDRESS)?,
            tls_handshake_rate: self.rate(&TLS_HANDSHAKE_RATE)?,
            channel_rate: self.rate(&CHANNEL_RATE)?,
            channels_per_account: self.number(&CHANNELS_PER_ACCOUNT)?,
            channels_per_key: self.number(&CHANNELS_PER_KEY)?,
            mutes_per_account: self.number(&MUTES_PER_ACCOUNT)?,
            announce_users: self.size(&ANNOUNCE_USERS)?,
            announce_rate: self.rate(&ANNOUNCE_RATE)?,
            inbox_rooms: self.size(&INBOX_ROOMS)?,
            max_connections: self.size(&MAX_CONNECTIONS)?,
            max_connections_per_address: self.size(&MAX_CONNECTIONS_PER_ADDRESS)?,
            max_unauthenticated: self.size(&MAX_UNAUTHENTICATED)?,
            max_unauthenticated_per_address: self.size(&MAX_UNAUTHENTICATED_PER_ADDRESS)?,
            max_message: self.size(&MAX_MESSAGE)?,
            max_body: self.size(&MAX_BODY)?,
            max_head: self.size(&MAX_HEAD)?,
            ping_interval: self.seconds(&PING_INTERVAL)?,
            pong_timeout: self.seconds(&PONG_TIMEOUT)?,
            auth_deadline: self.seconds(&AUTH_DEADLINE)?,
            head_deadline: self.seconds(&HEAD_DEADLINE)?,
            idle_http: self.seconds(&IDLE_DEADLINE)?,
            send_queue: self.size(&SEND_QUEUE)?,
            memory_budget: match self.size(&MEMORY_BUDGET)? {
                0 => ceilings::half_of_memory(),
                bytes => bytes,
            },
            send_stall: self.seconds(&SEND_STALL)?,
        })
    }

    pub fn number(&self, setting: &Setting) -> Result<u64, SettingError> {
        self.get(setting, |text| setting.form.number(text))
    }

    fn size(&self, setting: &Setting) -> Result<usize, SettingError> {
        let read = |text: &str| -> Result<usize, Expected> {
            usize::try_from(setting.form.number(text)?).map_err(|_| "a number that this machine can count to".into())
        };
        self.get(setting, read)
    }

    pub(super) fn seconds(&self, setting: &Setting) -> Result<Duration, SettingError> {
        self.get(setting, |text| setting.form.time(text))
    }

    fn rate(&self, setting: &Setting) -> Result<Option<NonZeroU32>, SettingError> {
        // Fits into 32 bits: no form allows more than `value::MAX_RATE`.
        self.number(setting).map(|n| u32::try_from(n).ok().and_then(NonZeroU32::new))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Sources;
    use super::*;

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Settings::resolve(&Sources { environment, ..Sources::default() }).unwrap()
    }

    fn config(environment: &[(&str, &str)], demo: bool) -> Result<Config, SettingError> {
        let key = [("JWT_PRIVATE_KEY", "a secret of thirty-two bytes, or more")];
        settings(&[&key, environment].concat()).config(demo, &mut || unreachable!("no key is encrypted"))
    }

    fn refused(environment: &[(&str, &str)]) -> String {
        config(environment, false).err().expect("refused").to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_protocol() {
        let config = config(&[], false).unwrap();
        assert_eq!(config.listen, [Listen::Tcp(([127, 0, 0, 1], 1993).into())]);
        assert_eq!(config.database, Database::Sqlite("./data/chat.db".into()));
        assert_eq!(config.storage, Storage::Embedded);
        assert_eq!(config.tokens.two_step, Duration::from_secs(900));
        assert_eq!(config.history_max, Some(100_000));
        assert_eq!(config.limits.message_rate, NonZeroU32::new(20));
        assert_eq!(config.limits.send_queue, 1_048_576);
        assert!(config.first_message_auth && !config.ws_token_reuse && !config.origin_required);
    }

    #[test]
    fn zero_is_no_limit() {
        let config = config(&[("MESSAGE_RATE", "0"), ("LOGIN_RATE", "0/min"), ("HISTORY_MAX", "0")], false).unwrap();
        assert_eq!((config.limits.message_rate, config.limits.login_rate, config.history_max), (None, None, None));
    }

    #[test]
    fn the_database_stands_in_the_data_directory() {
        let config = config(&[("DATA_DIR", "/srv/chat")], false).unwrap();
        assert_eq!(config.database, Database::Sqlite("/srv/chat/chat.db".into()));
    }

    #[test]
    fn a_demo_uses_the_embedded_stores() {
        let far = [("DATABASE_URL", "postgres://db/chat"), ("REDIS_URL", "redis://cache")];
        assert_eq!(config(&far, false).unwrap().storage, Storage::Redis("redis://cache".into()));
        let demo = config(&far, true).unwrap();
        assert_eq!((demo.database, demo.storage), (Database::Sqlite("./data/chat.db".into()), Storage::Embedded));
    }

    #[test]
    fn a_pong_timeout_below_the_ping_interval_is_refused() {
        assert!(refused(&[("PING_INTERVAL", "80")]).starts_with("PONG_TIMEOUT, by default, is 1m15s;"));
    }

    #[test]
    fn what_names_no_host_may_be_every_address() {
        let listen = |environment: &[(&str, &str)]| config(environment, false).unwrap().listen[0].to_string();
        let all = ("LISTEN_ALL", "true");
        assert_eq!(listen(&[all]), "0.0.0.0:1993");
        assert_eq!(listen(&[("PORT", "8080")]), "127.0.0.1:8080");
        assert_eq!(listen(&[("PORT", "8080"), all]), "0.0.0.0:8080");
        assert_eq!(listen(&[("LISTEN", "127.0.0.2:80"), all]), "127.0.0.2:80");
    }

    #[test]
    fn the_admin_address_is_another_one() {
        assert!(refused(&[("ADMIN_LISTEN", "127.0.0.1:1993")]).contains("another address"));
        assert!(config(&[("ADMIN_LISTEN", ":0"), ("LISTEN", ":0")], false).is_ok());
    }

    #[test]
    fn a_public_key_alone_is_refused() {
        let alone = settings(&[("JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----")]);
        assert!(alone.problems()[0].to_string().contains("without JWT_PRIVATE_KEY"));
    }

    #[test]
    fn check_names_every_problem_at_once() {
        assert_eq!(settings(&[("MAX_HEAD", "x"), ("PORT", "y"), ("DURABILITY", "z")]).problems().len(), 3);
        assert!(settings(&[]).problems().is_empty());
    }

    #[test]
    fn what_can_hardly_be_meant_is_said() {
        assert_eq!(settings(&[]).doubts().unwrap().len(), 1, "anyone may change public rooms");
        let safe = ("PUBLIC_ROOM_CHANGES", "creator");
        assert!(settings(&[safe]).doubts().unwrap().is_empty());
        assert!(settings(&[("STREAM_JWT_SECRET", "my_secret")]).doubts().unwrap()[0].contains("has 9 bytes"));
        assert_eq!(settings(&[("SEND_QUEUE", "2048"), ("HISTORY_MAX", "10"), safe]).doubts().unwrap().len(), 2);
    }
}
