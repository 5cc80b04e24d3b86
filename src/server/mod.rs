//! The network side: accept loop, connection threads, request heads, limits, shutdown.
//!
//! ```text
//! accept ─▶ threads ─▶ connection ─▶ reader ─▶ parse ─▶ head
//!                          ├─▶ gateway   plain requests
//!                          └─▶ upgrade         WebSockets, at their doors
//!             └─▶ tls ──────▶ connection          the same, when TLS is spoken
//! ```

pub mod accept;
mod answers;
pub mod connection;
pub mod linger;
pub mod listen;
pub mod pace;
pub mod reader;
pub mod reload;
pub mod shutdown;
mod surroundings;
#[cfg(test)]
mod test_support;
pub mod threads;
pub mod tls;
pub mod turned_away;
pub mod upgrade;
pub mod watchdog;

use crate::{
    api::{hooks::GithubIntake, idle_rooms, room_end, router, tasks},
    chat::Chat,
    config::{
        Config,
        ceilings::{self, Need},
        doors::DoorName,
    },
    gateway::{self, Gateway, handler::Handler},
    http::intake::Intake,
    limits::{places::AddressPlaces, rate::AddressLimit},
    start_error::StartError,
    vital,
    webhooks::Webhooks,
};
use accept::Acceptor;
use connection::Service;
use listen::{Address, Listener, Listeners, UNIX_PEER};
use reload::{Reload, Sources};
use sd_notify::NotifyState;
use shutdown::{StopSignal, Stopper};
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use tls::Tls;
use turned_away::TurnedAway;
use upgrade::{Doors, NoDoors, Upgrades};
use watchdog::tell_systemd;

/// How many connections the admin address takes, and how many of their requests are answered at a time.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_POOL_SIZE: usize = 2;

/// How long the shutdown waits until read marks are stored.
const READS_WAIT: Duration = Duration::from_secs(2);

/// A server with bound sockets and open stores.
pub struct Server {
    chat: Arc<Chat>,
    /// At least one.
    addresses: Vec<Address>,
    main: Listening,
    admin: Option<Listening>,
    tls: Option<Arc<Tls>>,
    webhooks: Option<Webhooks>,
    stopper: Stopper,
    stop: StopSignal,
}

/// Some addresses, and the service there.
struct Listening {
    service: Arc<Service>,
    acceptor: Acceptor,
}

impl Server {
    /// Binds the sockets, opens the stores, and starts everything but accepting.
    ///
    /// Call it before the process has other threads: it removes systemd's variables from the environment.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        shutdown::outlive_large_files()?;
        let need = Need::of_connections(config.tls.is_some());
        let max_connections = ceilings::affordable(config.limits.max_connections, need);
        // Before the stores: a port in use is the most frequent error.
        let listeners = Listeners::open(&config.listen, config.socket_mode, config.admin_listen)?;
        let encrypted = config.tls.is_some();
        let addresses =
            listeners.main.iter().map(|listener| listener.address(encrypted)).collect::<Result<Vec<_>, _>>();
        let addresses = addresses.map_err(failed("learn the address that is listened on"))?;
        if let Some(setting) = config.listen_given.as_deref().filter(|_| listeners.inherited) {
            tracing::warn!("{setting} changes nothing: systemd has opened the socket; change its socket unit");
        }
        let (stopper, stop) = shutdown::stop().map_err(failed("make a pipe"))?;
        let chat = Chat::open(config)?;
        let here = Arc::downgrade(&chat);
        chat.rooms.on_shut(move |room, deleted| {
            if let (Some(chat), Ok(room)) = (here.upgrade(), room.local().parse()) {
                room_end::send_out(&chat, room, deleted);
            }
        });
        if chat.config.doors.has(DoorName::Rooms) {
            idle_rooms::start(&chat).map_err(failed("start a thread"))?;
        }
        tasks::start(&chat).map_err(failed("start a thread"))?;
        let webhooks = Webhooks::start(&chat).map_err(failed("start a thread"))?;

        let doors = Box::new(Doors::new(chat.clone()));
        let handler = {
            let chat = chat.clone();
            Handler::new(move |request| router::handle(&chat, request)).with_at_once(router::is_at_once)
        };
        let tls = chat
            .config
            .tls
            .clone()
            .map(|identity| Tls::new(identity, chat.config.limits.clone(), chat.metrics.clone()));
        let tls = tls.transpose()?.map(Arc::new);
        let by_address = chat.config.limits.max_connections_per_address;
        let capacity = Capacity { connections: max_connections, by_address, requests: gateway::POOL_SIZE };
        let github = chat.config.github_webhook_secret.as_deref();
        let intake = github.map(|secret| Box::new(GithubIntake::new(secret)) as Box<dyn Intake>);
        let mut main = Listening::new(
            &chat,
            listeners.main,
            tls.clone(),
            capacity,
            Answering { handler, upgrades: doors, intake },
        )?;
        main.acceptor = main.acceptor.with_metrics(&chat.metrics);
        let looked_at = Arc::downgrade(&main.service);
        chat.metrics.look(move |metrics| {
            let Some(service) = looked_at.upgrade() else { return };
            let (workers, busy) = service.workers();
            metrics.http_workers.set(workers as i64);
            metrics.http_workers_busy.set(busy as i64);
            metrics.answers.set(service.answers() as i64);
        });
        surroundings::watch(&chat);
        let admin = listeners.admin.map(|listener| {
            if let Ok(Address::Tcp(address, _)) = listener.address(false) {
                tracing::info!(%address, "metrics and health are served");
            }
            let handler = {
                let chat = chat.clone();
                Handler::new(move |request| router::handle_admin(&chat, request))
            };
            let capacity = Capacity { connections: ADMIN_CONNECTIONS, by_address: 0, requests: ADMIN_POOL_SIZE };
            let answering = Answering { handler, upgrades: Box::new(NoDoors), intake: None };
            Listening::new(&chat, vec![listener], None, capacity, answering)
        });
        Ok(Server { chat, addresses, main, admin: admin.transpose()?, tls, webhooks, stopper, stop })
    }

    /// Serves until SIGTERM or SIGINT, then lets everything end in order. At SIGHUP reloads (see [`reload`]), with keys
    /// from `sources`.
    pub fn run(self, sources: Sources) -> Result<(), StartError> {
        let Server { chat, addresses, main, admin, tls, webhooks, stopper, stop } = self;
        let webhooks = webhooks.map(Arc::new);
        let reload = Reload { config: chat.config.clone(), sources, tls: tls.clone(), webhooks: webhooks.clone() };
        shutdown::on_signals(stopper, chat.clone(), move || reload.all())?;
        let mut services = vec![main.service];
        let mut admin_thread = None;
        if let Some(admin) = admin {
            services.push(admin.service);
            let (acceptor, stop) = (admin.acceptor, stop.try_clone().map_err(failed("copy a pipe"))?);
            let run = move || acceptor.run(&stop);
            let thread = vital::spawn("accept-admin", run);
            admin_thread = Some(thread.map_err(failed("start a thread"))?);
        }

        // A script may have closed our standard output; the server runs all the same.
        let mut stdout = io::stdout().lock();
        for address in addresses {
            let _ = writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush());
        }
        drop(stdout);
        tell_systemd(&[NotifyState::Ready]);
        let _sums = chat.metrics.tell_sums_regularly().map_err(failed("start a thread"))?;

        vital::run(|| main.acceptor.with_heartbeat(watchdog::heartbeat(&chat)).run(&stop));
        tell_systemd(&[NotifyState::Stopping]);
        // Fails only after a panic, and a panic ends the process anyway.
        let _ = admin_thread.map(|thread| thread.join());
        shutdown::drain(&chat, &services, tls.as_deref());
        chat.rooms.stop();
        chat.read_marks.stop(READS_WAIT);
        chat.metrics.tell_sums();
        if let Some(webhooks) = webhooks {
            webhooks.stop();
        }
        Ok(())
    }
}

/// How much one address serves at a time.
struct Capacity {
    connections: usize,
    /// Connections of one client address; 0: any number.
    by_address: usize,
    requests: usize,
}

/// What answers the requests of one address.
struct Answering {
    handler: Handler,
    upgrades: Box<dyn Upgrades>,
    intake: Option<Box<dyn Intake>>,
}

impl Listening {
    fn new(
        chat: &Chat,
        listeners: Vec<Listener>,
        tls: Option<Arc<Tls>>,
        capacity: Capacity,
        answering: Answering,
    ) -> Result<Listening, StartError> {
        let Answering { handler, upgrades, intake } = answering;
        let gateway = Gateway::start(capacity.requests, handler)
            .map_err(failed("start the inner HTTP server (its socket goes to TMPDIR, which must be writable)"))?;
        let (limits, mut trusted) = (chat.config.limits.clone(), chat.config.trusted_proxies.clone());
        if listeners.iter().any(Listener::is_unix) {
            trusted.push(UNIX_PEER.into());
        }
        let by_address = AddressPlaces::new(capacity.by_address);
        let (proxies, at_proxies) = (trusted.clone(), by_address.clone());
        let service = Service::new(limits, trusted, gateway, upgrades, chat.metrics.clone(), at_proxies);
        let service = Arc::new(service.with_intake(intake).over_tls(tls.is_some()));
        let serving = service.clone();
        let rate = AddressLimit::a_minute(chat.config.limits.tls_handshake_rate.filter(|_| tls.is_some()));
        let acceptor = match tls {
            None => Acceptor::new(listeners, capacity.connections, TurnedAway::told(), move |stream, peer| {
                serving.serve(stream, peer)
            }),
            Some(tls) => Acceptor::new(listeners, capacity.connections, TurnedAway::Closed, move |stream, peer| {
                tls.serve(stream, peer, |stream, peer| serving.serve(stream, peer))
            }),
        };
        let acceptor = acceptor.map_err(failed("make the listener non-blocking"))?;
        Ok(Listening { service, acceptor: acceptor.with_places_by_address(by_address, proxies).with_rate(rate) })
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError(format!("can't {what}: {error}"))
}
