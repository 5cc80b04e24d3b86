//! The way of one node to its Redis, which can be cut, fall silent or be slow, as a network does.

use crate::ways::Ports;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How often a silent line is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Stands in the way to a server on this machine.
pub struct Line {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    condition: Condition,
    /// How long each byte is on its way.
    delay: Duration,
    open: Vec<TcpStream>,
    /// How many bytes came from the server.
    brought: usize,
    /// How many connections were made.
    made: usize,
    /// The first connections, up to this one, bring nothing any more.
    dead: usize,
    /// Whether the connections of now are dead when the line is mended.
    is_torn: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Well,
    /// Connections end, and none is made.
    Cut,
    /// Connections stay, and new ones are taken, but nothing comes through; it does once the line is mended.
    Silent,
}

impl Line {
    #[track_caller]
    pub fn to(port: u16) -> Line {
        Line::with(port, Ports::default())
    }

    /// One that replaces ports in what comes from the server.
    #[track_caller]
    pub(crate) fn with(port: u16, ports: Ports) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it listens").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if lock(&shared).condition != Condition::Cut
                    && let Ok(far) = TcpStream::connect(("127.0.0.1", port))
                {
                    carry(&near, &far, &shared, &ports);
                }
            }
        });
        Line { port: own, state }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn cut(&self) {
        let open = {
            let mut state = lock(&self.state);
            state.condition = Condition::Cut;
            std::mem::take(&mut state.open)
        };
        for end in open {
            // It fails if that connection has ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// How many bytes came from the server up to now.
    pub fn brought(&self) -> usize {
        lock(&self.state).brought
    }

    pub fn fall_silent(&self) {
        lock(&self.state).condition = Condition::Silent;
    }

    /// Like [`fall_silent`](Line::fall_silent), but what is open then, or is opened meanwhile, stays silent for good, as
    /// behind a firewall that has forgotten it.
    pub fn tear(&self) {
        let mut state = lock(&self.state);
        (state.condition, state.is_torn) = (Condition::Silent, true);
    }

    pub fn mend(&self) {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.is_torn) {
            state.dead = state.made;
        }
        state.condition = Condition::Well;
    }

    /// From now on each byte is so long on its way, in either direction.
    pub fn slow(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }
}

fn carry(near: &TcpStream, far: &TcpStream, state: &Arc<Mutex<State>>, ports: &Ports) {
    let clones = || Some((near.try_clone().ok()?, far.try_clone().ok()?));
    let (Some(there), Some(back), Some((near, far))) = (clones(), clones(), clones()) else { return };
    let number = {
        let mut state = lock(state);
        state.open.extend([near, far]);
        state.made += 1;
        state.made
    };
    pass(there.0, there.1, state.clone(), number, None);
    pass(back.1, back.0, state.clone(), number, Some(ports.clone()));
}

/// Passes on what comes over the connection of this number, each piece when it is due. `ports`: it comes from the server.
fn pass(mut from: TcpStream, mut to: TcpStream, state: Arc<Mutex<State>>, number: usize, ports: Option<Ports>) {
    let (pieces, coming) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
    // Small pieces go out at once.
    let _ = to.set_nodelay(true);
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if pieces.send((Instant::now(), bytes[..count].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Read);
    });
    thread::spawn(move || {
        while let Ok((came, mut bytes)) = coming.recv() {
            thread::sleep(lock(&state).delay.saturating_sub(came.elapsed()));
            while lock(&state).condition == Condition::Silent {
                thread::sleep(LOOK);
            }
            if number <= lock(&state).dead {
                continue;
            }
            if let Some(ports) = &ports {
                ports.replace(&mut bytes);
                lock(&state).brought += bytes.len();
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Each fails if the other end was faster.
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
