//! The accept loop: counts connections, hands each to a thread, and keeps running whatever the system runs out of.

use super::{listen::Listener, shutdown::StopSignal, threads::Threads, turned_away::TurnedAway};
use crate::{
    door::conversation::Rest,
    limits::{
        places::{AddressPlace, AddressPlaces},
        rate::AddressLimit,
    },
    metrics::Metrics,
    vital,
};
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    fs::File,
    io,
    net::{IpAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long nothing is accepted after the system has run out of something.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How often the same trouble is logged at most.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// Accepts connections on one or more listeners.
pub struct Acceptor {
    listeners: Vec<Listener>,
    max_connections: usize,
    connections: Arc<AtomicUsize>,
    /// The places of each address. The connections of `proxies` take none here.
    by_address: AddressPlaces,
    /// How often one address may connect. The connections of `proxies` don't count.
    rate: AddressLimit,
    proxies: Vec<IpNet>,
    threads: Threads<Accepted>,
    turned_away: TurnedAway,
    /// A descriptor in reserve. Without any descriptor left, it is closed for a moment, to accept one connection and
    /// turn it away. Otherwise that connection would wait without an answer, and `poll` would report it over and over.
    spare: Option<File>,
    trouble: Trouble,
    heartbeat: Option<Heartbeat>,
    /// Connections that were turned away.
    refused: Counter,
    /// Those among them whose address had reached its limit.
    refused_by_address: Counter,
    /// Those whose address connects too often.
    refused_by_rate: Counter,
}

struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    permit: Permits,
}

/// What a connection takes while it lasts: one of all places, and one of its address, unless it is a proxy's.
type Permits = (Permit, Option<AddressPlace>);

/// A regular task of the accept loop, which shows that the loop is alive.
pub struct Heartbeat {
    pub every: Duration,
    pub beat: Box<dyn FnMut() + Send>,
}

impl Acceptor {
    /// Serves at most `max_connections` at a time; more are turned away. The rest that `serve` may return runs on
    /// another thread, and counts as the same connection.
    pub fn new(
        listeners: Vec<impl Into<Listener>>,
        max_connections: usize,
        turned_away: TurnedAway,
        serve: impl Fn(TcpStream, IpAddr) -> Option<Rest> + Send + Sync + 'static,
    ) -> io::Result<Acceptor> {
        // These threads' stacks stay small: what needs much stack was done on the first thread.
        let rests = Threads::new(|(rest, _permit): (Rest, Permits)| rest());
        let serve = move |Accepted { stream, peer, permit }: Accepted| {
            if let Some(rest) = serve(stream, peer)
                && let Err(((rest, _permit), _)) = rests.run((rest, permit))
            {
                rest();
            }
        };
        // A client that is gone between `poll` and `accept` must not block the loop.
        let listeners: Vec<Listener> = listeners.into_iter().map(Into::into).collect();
        listeners.iter().try_for_each(Listener::set_nonblocking)?;
        Ok(Acceptor {
            listeners,
            max_connections,
            connections: Arc::new(AtomicUsize::new(0)),
            by_address: AddressPlaces::new(0),
            rate: AddressLimit::a_minute(None),
            proxies: Vec::new(),
            threads: Threads::new(serve),
            turned_away,
            spare: spare(),
            trouble: Trouble::default(),
            heartbeat: None,
            refused: Counter::default(),
            refused_by_address: Counter::default(),
            refused_by_rate: Counter::default(),
        })
    }

    /// Bounds the connections of each address by these places. For connections of `proxies`, the reader of their
    /// requests takes the places.
    pub fn with_places_by_address(mut self, places: AddressPlaces, proxies: Vec<IpNet>) -> Acceptor {
        (self.by_address, self.proxies) = (places, proxies);
        self
    }

    /// Bounds how often one address may connect, where a connection costs work before it says anything.
    pub fn with_rate(mut self, rate: AddressLimit) -> Acceptor {
        self.rate = rate;
        self
    }

    /// Runs `heartbeat` as long as the loop runs.
    pub fn with_heartbeat(mut self, heartbeat: Option<Heartbeat>) -> Acceptor {
        self.heartbeat = heartbeat;
        self
    }

    /// Shows in the metrics how many connections there are, how many there may be, and how many were refused.
    pub fn with_metrics(mut self, metrics: &Metrics) -> Acceptor {
        self.refused = metrics.sockets_refused.clone();
        self.refused_by_address = metrics.sockets_refused_by_address.clone();
        self.refused_by_rate = metrics.tls_handshakes_refused.clone();
        metrics.sockets_max.set(self.max_connections as i64);
        let connections = self.connections.clone();
        metrics.look(move |metrics| _ = metrics.sockets.set(connections.load(Ordering::Relaxed) as i64));
        self
    }

    /// Accepts until `stop` is given, then closes the listeners. Open connections go on.
    pub fn run(mut self, stop: &StopSignal) {
        let mut last_beat = Instant::now();
        loop {
            let wait = self.heartbeat.as_mut().map(|heartbeat| {
                if last_beat.elapsed() >= heartbeat.every {
                    (heartbeat.beat)();
                    last_beat = Instant::now();
                }
                heartbeat.every.saturating_sub(last_beat.elapsed())
            });
            match self.wait(stop, wait) {
                Ok(Event::Stop) => return,
                Ok(Event::Connections(listeners)) => {
                    vital::may_panic("accept");
                    listeners.into_iter().for_each(|listener| self.accept(listener, stop));
                }
                Ok(Event::Nothing) => {}
                Err(errno) => self.back_off(errno, stop),
            }
        }
    }

    fn wait(&self, stop: &StopSignal, wait: Option<Duration>) -> Result<Event, Errno> {
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(self.listeners.iter().map(|listener| listener.poll(PollFlags::IN)));
        // A wait that is too long for a Timespec counts as endless.
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) if !fds[0].revents().is_empty() => Ok(Event::Stop),
            Ok(_) => Ok(Event::Connections(
                (0..).zip(&fds[1..]).filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| at).collect(),
            )),
            Err(Errno::INTR) => Ok(Event::Nothing),
            Err(errno) => Err(errno),
        }
    }

    fn accept(&mut self, listener: usize, stop: &StopSignal) {
        match self.listeners[listener].accept() {
            Ok((stream, peer)) => self.hand_over(stream, peer),
            Err(error) => match Errno::from_io_error(&error) {
                // The client is gone, or only this one connection has failed (accept(2)).
                Some(
                    Errno::AGAIN
                    | Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::PERM
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH
                    | Errno::OPNOTSUPP
                    | Errno::NOPROTOOPT,
                ) => {}
                Some(errno @ (Errno::MFILE | Errno::NFILE)) => self.turn_one_away(listener, errno, stop),
                errno => self.back_off(errno.unwrap_or(Errno::INVAL), stop),
            },
        }
    }

    fn hand_over(&mut self, stream: TcpStream, peer: IpAddr) {
        let place = if self.proxies.iter().any(|net| net.contains(&peer.to_canonical())) {
            None
        } else if self.rate.check(peer).is_err() {
            self.trouble.log("an address connects too often; more connections are closed (TLS_HANDSHAKE_RATE)", None);
            self.refused.inc();
            self.refused_by_rate.inc();
            return self.turned_away.add(stream);
        } else if let Some(place) = self.by_address.take(peer) {
            Some(place)
        } else {
            self.trouble.log(
                "an address has as many connections as one may; more are turned away (MAX_CONNECTIONS_PER_ADDRESS; if it \
                 is a proxy, TRUSTED_PROXIES)",
                None,
            );
            self.refused.inc();
            self.refused_by_address.inc();
            return self.turned_away.add(stream);
        };
        let Some(permit) = Permit::take(&self.connections, self.max_connections) else {
            self.trouble.log("all connections are in use; new ones are turned away (MAX_CONNECTIONS)", None);
            self.refused.inc();
            return self.turned_away.add(stream);
        };
        if let Err((accepted, error)) = self.threads.run(Accepted { stream, peer, permit: (permit, place) }) {
            self.trouble.log("no thread for a connection; it is turned away", Some(&error));
            self.refused.inc();
            self.turned_away.add(accepted.stream);
        }
    }

    /// Without descriptors left: closes the spare one for a moment, to turn one connection away.
    fn turn_one_away(&mut self, listener: usize, errno: Errno, stop: &StopSignal) {
        self.trouble.log("no descriptors left; connections are turned away", Some(&errno.into()));
        self.refused.inc();
        let had_spare = self.spare.take().is_some();
        if let Ok((stream, _)) = self.listeners[listener].accept() {
            // Not held until the client has read the answer: its descriptor is needed.
            self.turned_away.at_once(&stream);
        }
        self.spare = spare();
        if !had_spare || self.spare.is_none() {
            self.back_off(errno, stop);
        }
    }

    fn back_off(&mut self, errno: Errno, stop: &StopSignal) {
        self.trouble.log("can't accept connections at the moment", Some(&errno.into()));
        stop.wait_for(BACK_OFF);
    }
}

enum Event {
    Stop,
    /// Connections wait on these listeners.
    Connections(Vec<usize>),
    Nothing,
}

/// One of the connections that are allowed, until it is dropped.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Permit> {
        // Only the accept loop adds, so nothing can come between these two steps.
        if count.load(Ordering::Acquire) >= max {
            return None;
        }
        count.fetch_add(1, Ordering::AcqRel);
        Some(Permit(count.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Logs trouble when it begins and then from time to time: a flood of connections must not cause a flood of lines.
#[derive(Default)]
struct Trouble {
    last: Option<(&'static str, Instant)>,
}

impl Trouble {
    fn log(&mut self, what: &'static str, error: Option<&io::Error>) {
        if self.last.is_some_and(|(last, at)| last == what && at.elapsed() < LOG_AGAIN) {
            return;
        }
        self.last = Some((what, Instant::now()));
        match error {
            Some(error) => tracing::warn!(%error, "{what}"),
            None => tracing::warn!("{what}"),
        }
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::shutdown;
    use crossbeam_channel::{Sender, bounded};
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, SocketAddr, TcpListener},
        process::Command,
        thread,
    };

    /// Runs an acceptor during `test`, and checks that it stops.
    fn with_acceptor(
        max_connections: usize,
        serve: impl Fn(TcpStream, IpAddr) + Send + Sync + 'static,
        heartbeat: Option<Heartbeat>,
        test: impl FnOnce(SocketAddr),
    ) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move |stream, peer| {
            serve(stream, peer);
            None
        };
        let acceptor = Acceptor::new(vec![listener], max_connections, TurnedAway::told(), serve)
            .unwrap()
            .with_heartbeat(heartbeat);
        let (stopper, signal) = shutdown::stop().unwrap();
        let thread = thread::spawn(move || acceptor.run(&signal));
        test(address);
        stopper.stop();
        thread.join().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the listener is still open");
    }

    fn answer(address: SocketAddr) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn connections_are_served_until_the_stop() {
        let serve = |mut stream: TcpStream, peer: IpAddr| write!(stream, "hello {peer}").unwrap();
        with_acceptor(10, serve, None, |address| {
            for _ in 0..20 {
                assert_eq!(answer(address), "hello 127.0.0.1");
            }
        });
    }

    #[test]
    fn one_above_the_limit_is_told_so_and_a_place_that_is_free_is_given_again() {
        let (leave, may_leave) = bounded::<()>(0);
        let (entered, is_in) = bounded(1);
        let serve = move |_: TcpStream, _: IpAddr| {
            entered.send(()).unwrap();
            let _ = may_leave.recv();
        };
        with_acceptor(1, serve, None, |address| {
            let inside = TcpStream::connect(address).unwrap();
            is_in.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(answer(address).starts_with("HTTP/1.1 503 "));
            leave.send(()).unwrap();
            drop(inside);
            // The place becomes free a moment after the connection's end.
            let again = (0..1000).any(|_| {
                let _client = TcpStream::connect(address).unwrap();
                is_in.recv_timeout(Duration::from_millis(20)).is_ok()
            });
            assert!(again);
            drop(leave);
        });
    }

    #[test]
    fn the_rest_of_a_connection_runs_on_another_thread_and_keeps_its_place() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (leave, may_leave) = bounded::<()>(0);
        let (at_work, threads) = bounded(2);
        let serve = move |stream: TcpStream, _| {
            at_work.send(thread::current().id()).unwrap();
            let (at_work, may_leave) = (at_work.clone(), may_leave.clone());
            Some(Box::new(move || {
                at_work.send(thread::current().id()).unwrap();
                let _ = may_leave.recv();
                drop(stream);
            }) as Rest)
        };
        let acceptor = Acceptor::new(vec![listener], 1, TurnedAway::told(), serve).unwrap();
        let (stopper, signal) = shutdown::stop().unwrap();
        let thread = thread::spawn(move || acceptor.run(&signal));
        let _inside = TcpStream::connect(address).unwrap();
        let next = || threads.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_ne!(next(), next());
        assert!(answer(address).starts_with("HTTP/1.1 503 "));
        drop(leave);
        stopper.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        with_acceptor(
            1,
            |_, _| panic!("as asked"),
            None,
            |address| {
                // Each is either served, and closed by the panic, or turned away because the previous one is not done
                // yet.
                assert!((0..1000).filter(|_| answer(address).is_empty()).nth(3).is_some());
            },
        );
    }

    /// Runs itself again in a process with few descriptors, since the limit holds for a whole process.
    #[test]
    fn running_out_of_descriptors_is_answered_and_survived() {
        const AGAIN: &str = "PROPROMO_TEST_FEW_DESCRIPTORS";
        if std::env::var_os(AGAIN).is_none() {
            let name = format!("{}::running_out_of_descriptors_is_answered_and_survived", module_path!());
            let name = name.split_once("::").unwrap().1;
            let script = "ulimit -n 64 && exec \"$0\" --exact \"$1\"";
            let exe = std::env::current_exe().unwrap();
            let output = Command::new("sh").arg("-c").arg(script).arg(exe).arg(name).env(AGAIN, "1").output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            return;
        }
        with_acceptor(
            10,
            |mut stream, _| stream.write_all(b"hello").unwrap(),
            None,
            |address| {
                use socket2::{Domain, Socket, Type};
                let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                let all_others: Vec<File> = std::iter::from_fn(spare).collect();
                client.connect(&address.into()).unwrap();
                let mut told = String::new();
                // Reset once all was read: no descriptor is left to hold the connection.
                let _ = (&client).read_to_string(&mut told);
                assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
                drop(all_others);
                assert_eq!(answer(address), "hello");
            },
        );
    }

    #[test]
    fn the_heart_beats_while_nothing_happens() {
        let (beat, beats): (Sender<()>, _) = bounded(2);
        let heartbeat = Heartbeat { every: Duration::from_millis(1), beat: Box::new(move || _ = beat.try_send(())) };
        with_acceptor(
            1,
            |_, _| (),
            Some(heartbeat),
            |_| {
                for _ in 0..2 {
                    beats.recv_timeout(Duration::from_secs(60)).unwrap();
                }
            },
        );
    }
}
