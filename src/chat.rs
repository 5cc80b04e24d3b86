//! The parts of the server, put together once and shared by all threads.

use crate::{
    auth::password::Passwords,
    config::{
        Config,
        value::{Database, Storage},
    },
    http::reply::Reply,
    limits::{
        account_messages::AccountMessages,
        beginnings::Beginnings,
        guesses::{LoginLimits, RoomLimits},
        making::Making,
        overviews::OverviewLimit,
        places::{AddressPlaces, Places},
        posting::PostingLimit,
        publishing::PublishLimit,
        rate::AddressLimit,
        searching::SearchLimits,
        single_flight::SingleFlight,
        token_rate::TokenRate,
        turns::{Claimant, Turns},
    },
    message::{MessageId, RoomName},
    metrics::{Metrics, histogram::Histogram},
    recheck::Recheck,
    refusal::Refusal,
    room::{Bounds, Rooms, announcer::AnnouncePolicy, history_age::HistoryAge, names::Names, read_marks::ReadMarks},
    socket::{memory, sessions::Sessions},
    start_error::StartError,
    store::{
        accounts::{Accounts, UserId},
        archive::{ArchiveSearch, ArchivedLog, Archiver},
        channels::Channels,
        chat_rooms::ChatRooms,
        erasure::{Tasks, Unfinished},
        error::StoreError,
        ledger::Ledger,
        log::MessageLog,
        names::SharedNames,
        outbox::Outbox,
        postgres::{self, Postgres, archive::PostgresArchive},
        reads::Reads,
        redis::{RedisStores, address::Deployment},
        search::{Found, LookingThrough, Query, Search},
        sessions::Sessions as AccountSessions,
        sqlite::{
            Embedded, EmbeddedOptions, accounts::SqliteAccounts, channels::SqliteChannels, chat_rooms::SqliteChatRooms,
            data_dir::DataDir, database::READERS, log::LogOptions, outbox::SqliteOutbox, reads::SqliteReads,
            sessions::SqliteSessions, tasks::SqliteTasks,
        },
    },
};
use std::{
    sync::{Arc, atomic::AtomicBool},
    thread,
};

/// The key of a list of rooms: path, number of the previous room, most rooms, whether it is a page.
pub type ListKey = (String, i64, usize, bool);

/// Everything that a request or a connection may need.
pub struct Chat {
    pub config: Config,
    pub accounts: Arc<dyn Accounts>,
    pub ledger: Arc<dyn Ledger>,
    pub log: Arc<dyn MessageLog>,
    pub search: Arc<dyn Search>,
    /// How far webhooks have got, if there are any.
    pub outbox: Option<Arc<dyn Outbox>>,
    /// The rooms of the rooms door, and the names in them.
    pub chat_rooms: Arc<dyn ChatRooms>,
    /// Who has begun each channel and stream.
    pub channels: Arc<dyn Channels>,
    /// Sessions of browsers that stay logged in.
    pub account_sessions: Arc<dyn AccountSessions>,
    /// How far accounts have read.
    pub read_marks: ReadMarks,
    pub names: Names,
    pub rooms: Rooms,
    pub sessions: Sessions,
    /// The server is shutting down: `/readyz` sends no new clients here.
    pub draining: AtomicBool,
    /// Everybody who is in a room; their access is checked again.
    pub recheck: Recheck,
    pub passwords: Passwords,
    /// Sockets without a token, until their first message.
    pub unauthenticated: Places,
    pub unauthenticated_by_address: AddressPlaces,
    pub login_limits: LoginLimits,
    pub handshake_limits: AddressLimit,
    pub posting_limit: PostingLimit,
    /// Messages of accounts, over all their connections.
    pub account_messages: AccountMessages,
    pub signing_limits: TokenRate,
    pub room_limits: RoomLimits,
    /// First messages of channels.
    pub beginnings: Beginnings,
    /// Messages of backends, by key.
    pub publish_limit: PublishLimit,
    /// Turns for reading history.
    pub turns: Turns,
    /// Large answers that are being made.
    pub making: Making,
    /// Lists of rooms that are being made.
    pub lists: SingleFlight<ListKey, Result<Reply, Refusal>>,
    pub search_limits: SearchLimits,
    /// Rooms that are looked at for what is new, by account.
    pub overviews: OverviewLimit,
    /// Wrong API keys, by address.
    pub wrong_api_keys: AddressLimit,
    pub metrics: Arc<Metrics>,
    /// Tasks that commands leave here, if this process alone holds the messages.
    pub tasks: Option<Arc<dyn Tasks>>,
    pub unfinished_erasures: Unfinished,
    _history_age: Option<HistoryAge>,
    _archiver: Option<Archiver>,
    /// Keeps other processes from the same data; dropped last.
    _data_dir: Option<DataDir>,
}

impl Chat {
    /// Opens the stores and starts the engine's threads.
    pub fn open(config: Config) -> Result<Arc<Chat>, StartError> {
        let apply_times = Histogram::default();
        let stores = Stores::open(&config, &apply_times)?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = |error| StartError(format!("can't start the engine's threads: {error}"));
        let limits = &config.limits;
        let announce = AnnouncePolicy { users: limits.announce_users, rate: limits.announce_rate };
        let bounds = Bounds { announce, inbox_rooms: limits.inbox_rooms, patience: config.store_patience };
        let rooms = Rooms::start(stores.log.clone(), cores, bounds).map_err(threads)?;
        let history_age = config.history_max_age.map(|age| HistoryAge::start(stores.log.clone(), age));
        let history_age = history_age.transpose().map_err(threads)?;
        let sessions = Sessions::start(config.limits.memory_budget).map_err(threads)?;
        let recheck = Recheck::start(
            stores.of_accounts.accounts.clone(),
            stores.of_accounts.chat_rooms.clone(),
            config.recheck_interval,
        )?;
        let (dropped, told) = (&sessions.flusher().dropped, config.refusals_told);
        let metrics = Arc::new(Metrics::new(rooms.metrics(), dropped, &apply_times, told));
        let (feed, most) = (stores.log.feed(), config.read_marks);
        let read_marks = ReadMarks::start(stores.of_accounts.reads.clone(), feed, most, metrics.read_marks.clone())
            .map_err(threads)?;
        let chat = Arc::new(Chat {
            rooms,
            sessions,
            draining: AtomicBool::new(false),
            recheck,
            passwords: Passwords::new((cores / 2).max(1)),
            unauthenticated: Places::new(config.limits.max_unauthenticated),
            unauthenticated_by_address: AddressPlaces::new(config.limits.max_unauthenticated_per_address),
            login_limits: LoginLimits::new(config.limits.login_rate),
            account_messages: AccountMessages::a_second(config.limits.message_rate),
            posting_limit: PostingLimit::a_second(config.limits.anonymous_rate),
            signing_limits: TokenRate::a_minute(config.limits.ticket_rate),
            handshake_limits: AddressLimit::a_minute(config.limits.handshake_rate),
            turns: Turns::new(match config.storage {
                Storage::Embedded => READERS as usize,
                // Redis answers in the order of requests, many at a time.
                Storage::Redis(_) => usize::MAX,
            }),
            making: Making::new(config.limits.memory_budget),
            lists: SingleFlight::new(),
            room_limits: RoomLimits::new(&config.limits, config.rooms.most),
            beginnings: Beginnings::new(&config.limits),
            publish_limit: PublishLimit::a_second(config.limits.publish_rate),
            search_limits: SearchLimits::new(config.limits.search_rate, config.limits.search_time),
            overviews: OverviewLimit::a_minute(config.limits.overview_rate),
            wrong_api_keys: AddressLimit::a_minute(config.limits.login_rate),
            names: Names::start(stores.names).map_err(threads)?,
            metrics,
            accounts: stores.of_accounts.accounts,
            chat_rooms: stores.of_accounts.chat_rooms,
            channels: stores.of_accounts.channels,
            account_sessions: stores.of_accounts.sessions,
            read_marks,
            ledger: stores.ledger,
            log: stores.log,
            search: stores.search,
            outbox: stores.outbox,
            tasks: stores.tasks,
            unfinished_erasures: Unfinished::default(),
            _history_age: history_age,
            _archiver: stores.archiver,
            _data_dir: stores.data_dir,
            config,
        });
        chat.show_in_metrics(stores.of_accounts.connections);
        chat.hear_other_nodes();
        Ok(chat)
    }

    /// Does here what other nodes report.
    fn hear_other_nodes(self: &Arc<Self>) {
        let here = Arc::downgrade(self);
        self.rooms.on_disconnect(move |account| {
            if let Some(chat) = here.upgrade() {
                chat.recheck.disconnect(UserId(account));
            }
        });
        let here = Arc::downgrade(self);
        self.rooms.on_read(move |account, room, id| {
            if let Some(chat) = here.upgrade() {
                chat.read_marks.heard(UserId(account), room, id);
            }
        });
    }

    /// Has metrics look up what they show. `connections`: how many connections to PostgreSQL there are now.
    fn show_in_metrics(self: &Arc<Self>, connections: Option<Connections>) {
        if let Some(connections) = connections {
            self.metrics.database_connections_max.set(self.config.database_pool.into());
            self.metrics.look(move |metrics| _ = metrics.database_connections.set(connections().into()));
        }
        if let Some(archiver) = &self._archiver {
            let figures = archiver.figures();
            self.metrics.look(move |metrics| metrics.archive.show(&figures));
        }
        let looked_at = Arc::downgrade(self);
        self.metrics.look(move |metrics| {
            let Some(chat) = looked_at.upgrade() else { return };
            let (bytes, members) = chat.sessions.flusher().waiting();
            metrics.send_queue.set(bytes as i64);
            metrics.send_queue_members.set(members as i64);
            metrics.frames.set(memory::held() as i64);
            metrics.memory_budget.set(i64::try_from(chat.sessions.flusher().budget()).unwrap_or(i64::MAX));
            metrics.log_queue.set(chat.rooms.waiting() as i64);
            metrics.answers_made.set(chat.making.held() as i64);
            metrics.history_waiting.set(chat.turns.waiting() as i64);
            metrics.searches_waiting.set(chat.search_limits.waiting() as i64);
            metrics.read_marks_waiting.set(chat.read_marks.waiting() as i64);
            metrics.journal(chat.log.backlog());
            metrics.store(chat.log.usage());
            // While the tasks can't be read, their number is unknown.
            if let Some(Ok(waiting)) = chat.tasks.as_ref().map(|tasks| tasks.waiting()) {
                metrics.erasures.set(waiting.len() as i64);
            }
        });
    }

    /// Searches a room in the claimant's turn: a page of messages before one of them, or the newest.
    pub fn find(
        &self,
        room: &RoomName,
        claimant: Claimant,
        query: &Query,
        (before, limit): (Option<MessageId>, usize),
    ) -> Result<Found, StoreError> {
        let search = |until| self.search.search(room, query, before, limit, until);
        let found = self.search_limits.take_turn(claimant, search);
        self.metrics.searched(match &found {
            Ok(found) if found.is_cut_short => "cut_short",
            Ok(_) => "whole",
            Err(_) => "failed",
        });
        found
    }
}

/// The back ends of the settings.
struct Stores {
    of_accounts: AccountStores,
    ledger: Arc<dyn Ledger>,
    log: Arc<dyn MessageLog>,
    search: Arc<dyn Search>,
    outbox: Option<Arc<dyn Outbox>>,
    names: Option<Arc<dyn SharedNames>>,
    tasks: Option<Arc<dyn Tasks>>,
    archiver: Option<Archiver>,
    data_dir: Option<DataDir>,
}

type Connections = Box<dyn Fn() -> u32 + Send + Sync>;

/// The accounts, and what is kept beside them.
struct AccountStores {
    accounts: Arc<dyn Accounts>,
    chat_rooms: Arc<dyn ChatRooms>,
    channels: Arc<dyn Channels>,
    sessions: Arc<dyn AccountSessions>,
    reads: Arc<dyn Reads>,
    tasks: Arc<dyn Tasks>,
    archive: Option<Arc<PostgresArchive>>,
    /// How many connections to PostgreSQL there are now.
    connections: Option<Connections>,
}

impl From<Postgres> for AccountStores {
    fn from(postgres: Postgres) -> AccountStores {
        let Postgres { accounts, chat_rooms, channels, sessions, reads, tasks, archive, connections } = postgres;
        let (archive, connections) = (Some(archive), Some(connections));
        AccountStores { accounts, chat_rooms, channels, sessions, reads, tasks, archive, connections }
    }
}

impl From<SqliteAccounts> for AccountStores {
    fn from(accounts: SqliteAccounts) -> AccountStores {
        AccountStores {
            chat_rooms: Arc::new(SqliteChatRooms::beside(&accounts)),
            channels: Arc::new(SqliteChannels::beside(&accounts)),
            sessions: Arc::new(SqliteSessions::beside(&accounts)),
            reads: Arc::new(SqliteReads::beside(&accounts)),
            tasks: Arc::new(SqliteTasks::beside(&accounts)),
            accounts: Arc::new(accounts),
            archive: None,
            connections: None,
        }
    }
}

impl Stores {
    /// `apply_times` measures moving messages from the journal into their tables.
    fn open(config: &Config, apply_times: &Histogram) -> Result<Stores, StartError> {
        let postgres = |url: &str| {
            let opened = Postgres::open(url, config.database_pool, postgres::START_PATIENCE);
            opened.map(AccountStores::from).map_err(StartError::new)
        };
        match &config.storage {
            Storage::Embedded => {
                let (file, postgres) = match &config.database {
                    Database::Sqlite(file) => (Some(file.as_path()), None),
                    Database::Postgres(url) => (None, Some(postgres(url)?)),
                };
                let times = apply_times.clone();
                let log = LogOptions {
                    history_max: config.history_max,
                    durability: config.durability,
                    journal_max: config.journal_max,
                    store_max: Some(config.store_max),
                    on_apply: Arc::new(move |time| times.observe(time)),
                };
                let embedded = Embedded::open(EmbeddedOptions { data_dir: &config.data_dir, accounts: file, log })
                    .map_err(StartError::new)?;
                let outbox = config.webhooks.as_ref().map(|_| {
                    let file = config.data_dir.join("webhooks.db");
                    SqliteOutbox::open(&file, embedded.log.clone()).map(|outbox| Arc::new(outbox) as Arc<dyn Outbox>)
                });
                let outbox = outbox.transpose().map_err(StartError::new)?;
                let Embedded { accounts, chat_rooms, channels, sessions, reads, tasks, log, ledger, search, data_dir } =
                    embedded;
                let of_accounts = postgres.unwrap_or(AccountStores {
                    accounts,
                    chat_rooms,
                    channels,
                    sessions,
                    reads,
                    tasks,
                    archive: None,
                    connections: None,
                });
                let (names, tasks) = (None, Some(of_accounts.tasks.clone()));
                let data_dir = Some(data_dir);
                Ok(Stores { of_accounts, ledger, log, search, outbox, names, tasks, archiver: None, data_dir })
            }
            Storage::Redis(url) => {
                let of_accounts = match &config.database {
                    // `DATA_DIR` belongs to one process alone, but the nodes of one machine may share this file.
                    Database::Sqlite(file) => SqliteAccounts::open(file).map_err(StartError::new)?.into(),
                    Database::Postgres(url) => postgres(url)?,
                };
                let wrong = |expected| StartError(format!("CHAT_STORAGE_URL should be {expected}"));
                let deployment = Deployment::parse(url).map_err(wrong)?;
                let threads = |error| StartError(format!("can't start the threads of the Redis store: {error}"));
                let redis =
                    RedisStores::open(deployment, config.history_max, config.clock_leeway, config.store_patience);
                let RedisStores { log, ledger, names, outbox } = redis.map_err(threads)?;
                let (log, search, archiver): (Arc<dyn MessageLog>, Arc<dyn Search>, _) =
                    match of_accounts.archive.clone().zip(config.history_hot) {
                        Some((archive, hot)) => {
                            let log = Arc::new(ArchivedLog::new(log, archive, hot, config.history_max));
                            outbox.read_from(log.clone());
                            let archiver = Archiver::start(&log).map_err(threads)?;
                            (log.clone(), Arc::new(ArchiveSearch::of(&log)), Some(archiver))
                        }
                        None => (log.clone(), Arc::new(LookingThrough::of(log)), None),
                    };
                let outbox = config.webhooks.as_ref().map(|_| outbox as Arc<dyn Outbox>);
                let names: Option<Arc<dyn SharedNames>> = Some(names);
                let tasks = Some(of_accounts.tasks.clone());
                Ok(Stores { of_accounts, ledger, log, search, outbox, names, tasks, archiver, data_dir: None })
            }
        }
    }
}
