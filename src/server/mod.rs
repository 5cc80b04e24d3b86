//! The network side: accept loop, connection threads, request heads, limits, shutdown.
//!
//! ```text
//! accept ─▶ threads ─▶ connection ─▶ reader ─▶ parse ─▶ head
//!                          ├─▶ http::gateway   plain requests
//!                          └─▶ upgrade         WebSockets, at their doors
//! ```

pub mod accept;
pub mod answer;
pub mod chunked;
pub mod client_address;
pub mod connection;
pub mod head;
pub mod listen;
pub mod pace;
pub mod parse;
pub mod reader;
pub mod shutdown;
#[cfg(test)]
mod test_support;
pub mod threads;
pub mod turned_away;
pub mod upgrade;

use crate::{
    auth::keys::Keyring,
    chat::{Chat, StartError},
    config::{Config, ceilings, sources::SettingError},
    http::{
        backend::Handler,
        gateway::{self, Gateway},
        router,
    },
    vital,
};
use accept::{Acceptor, Heartbeat};
use connection::Service;
use listen::Listeners;
use sd_notify::NotifyState;
use shutdown::{StopSignal, Stopper};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};
use upgrade::{Doors, NoDoors, Upgrades};

/// Connections to the admin address; and how many of its requests are answered at a time.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_POOL_SIZE: usize = 2;

/// A server with its sockets bound and its stores open.
pub struct Server {
    chat: Arc<Chat>,
    address: SocketAddr,
    main: Listening,
    admin: Option<Listening>,
    stopper: Stopper,
    stop: StopSignal,
}

/// One address, and what is served there.
struct Listening {
    service: Arc<Service>,
    acceptor: Acceptor,
}

impl Server {
    /// Binds the sockets, opens the stores, and starts everything but accepting.
    ///
    /// Must be called before the process has other threads: it takes systemd's variables out of the environment.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        shutdown::outlive_large_files()?;
        let max_connections = ceilings::affordable(config.limits.max_connections);
        // Before the stores: that the port is in use is what goes wrong most often.
        let listeners = Listeners::open(config.listen, config.admin_listen)?;
        let address = listeners.main.local_addr().map_err(failed("learn the address that is listened on"))?;
        let (stopper, stop) = shutdown::stop().map_err(failed("make a pipe"))?;
        let chat = Chat::open(config)?;

        let doors = Box::new(Doors::new(chat.clone()));
        let handler: Handler = {
            let chat = chat.clone();
            Arc::new(move |request| router::handle(&chat, request))
        };
        let main = Listening::new(&chat, listeners.main, max_connections, gateway::POOL_SIZE, handler, doors)?;
        let admin = listeners.admin.map(|listener| {
            let handler: Handler = {
                let chat = chat.clone();
                Arc::new(move |request| router::handle_admin(&chat, request))
            };
            Listening::new(&chat, listener, ADMIN_CONNECTIONS, ADMIN_POOL_SIZE, handler, Box::new(NoDoors))
        });
        Ok(Server { chat, address, main, admin: admin.transpose()?, stopper, stop })
    }

    /// The address that is listened on, with the port that was chosen if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends [`Server::run`] from another thread, as a signal would.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until SIGTERM, SIGINT or the [`Stopper`], then lets everything come to its end. At SIGHUP the keys are
    /// what `keys` then gives.
    pub fn run(self, keys: impl Fn() -> Result<Keyring, SettingError> + Send + 'static) -> Result<(), StartError> {
        let Server { chat, address, main, admin, stopper, stop } = self;
        let config = chat.config.clone();
        shutdown::on_signals(stopper, move || renew_keys(&config, keys()))?;
        let mut services = vec![main.service];
        let mut admin_thread = None;
        if let Some(admin) = admin {
            services.push(admin.service);
            let (acceptor, stop) = (admin.acceptor, stop.try_clone().map_err(failed("copy a pipe"))?);
            let run = move || acceptor.run(&stop);
            let thread = vital::spawn("accept-admin", run);
            admin_thread = Some(thread.map_err(failed("start a thread"))?);
        }

        // A script may have closed our standard output; that is no reason not to serve.
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
        drop(stdout);
        tell_systemd(NotifyState::Ready);

        vital::run(|| main.acceptor.with_heartbeat(watchdog()).run(&stop));
        tell_systemd(NotifyState::Stopping);
        // Only a panic could make this fail, and it ends here as well.
        let _ = admin_thread.map(|thread| thread.join());
        shutdown::drain(&chat, &services);
        chat.rooms.stop();
        Ok(())
    }
}

impl Listening {
    fn new(
        chat: &Chat,
        listener: TcpListener,
        max_connections: usize,
        pool_size: usize,
        handler: Handler,
        upgrades: Box<dyn Upgrades>,
    ) -> Result<Listening, StartError> {
        let gateway = Gateway::start(pool_size, handler)
            .map_err(failed("start the inner HTTP server (its socket goes to TMPDIR, which must be writable)"))?;
        let (limits, trusted) = (chat.config.limits.clone(), chat.config.trusted_proxies.clone());
        let service = Arc::new(Service::new(limits, trusted, gateway, upgrades));
        let serving = service.clone();
        let acceptor = Acceptor::new(listener, max_connections, move |stream, peer| serving.serve(stream, peer));
        Ok(Listening { service, acceptor: acceptor.map_err(failed("make the listener non-blocking"))? })
    }
}

/// Signs with the keys that were read again; those before stay good for the tokens that they signed.
fn renew_keys(config: &Config, keys: Result<Keyring, SettingError>) {
    match keys {
        Ok(keys) if config.keys.renew(&keys, config.tokens.longest()) => {
            tracing::info!(algorithm = keys.algorithm(), "the keys were read again: tokens are signed with a new one");
        }
        Ok(_) => tracing::info!("the keys were read again: nothing has changed"),
        Err(error) => tracing::error!(%error, "the keys could not be read again; the ones before stay in use"),
    }
}

/// Tells systemd's watchdog that connections are still accepted, twice in its interval (`sd_watchdog_enabled(3)`).
fn watchdog() -> Option<Heartbeat> {
    let interval = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())?;
    Some(Heartbeat { every: interval / 2, beat: Box::new(|| tell_systemd(NotifyState::Watchdog)) })
}

/// Does nothing if systemd has not started the server.
fn tell_systemd(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "can't tell systemd about the server's state");
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError(format!("can't {what}: {error}"))
}
