//! A way to a server on which requests or their answers get lost, with the connection that they came by.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// What gets lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The server never hears of it.
    Request,
    /// The server does as it is asked, and nobody hears of that.
    Answer,
}

/// Stands in the way to a server on this machine.
pub struct LossyWay {
    pub port: u16,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Default)]
struct Orders {
    /// What becomes of requests that hold this text.
    loss: Option<(Loss, String)>,
    /// Whether nothing comes through any more after a loss.
    then_closed: bool,
    closed: bool,
    lost: usize,
    /// Where new connections lead.
    to: u16,
}

impl LossyWay {
    #[track_caller]
    pub fn to(port: u16) -> LossyWay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it listens").port();
        let orders = Arc::new(Mutex::new(Orders { to: port, ..Orders::default() }));
        let shared = orders.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let to = Some(lock(&shared)).filter(|orders| !orders.closed).map(|orders| orders.to);
                // Else it ends at once, as when nobody listens.
                if let Some(to) = to
                    && let Ok(far) = TcpStream::connect(("127.0.0.1", to))
                {
                    carry(near, far, &shared);
                }
            }
        });
        LossyWay { port: own, orders }
    }

    /// From now on new connections lead to another server.
    pub fn turn_to(&self, port: u16) {
        lock(&self.orders).to = port;
    }

    /// From now on each request that holds this text is lost, or its answer is.
    pub fn lose(&self, loss: Loss, text: &str) {
        lock(&self.orders).loss = Some((loss, text.to_owned()));
    }

    /// [`LossyWay::lose`] for one; then nothing comes through any more.
    pub fn lose_and_close(&self, loss: Loss, text: &str) {
        lock(&self.orders).then_closed = true;
        self.lose(loss, text);
    }

    /// How often something was lost.
    pub fn lost(&self) -> usize {
        lock(&self.orders).lost
    }

    /// All comes through again.
    pub fn mend(&self) {
        let mut orders = lock(&self.orders);
        *orders = Orders { lost: orders.lost, to: orders.to, ..Orders::default() };
    }
}

/// Carries bytes in both directions, until one end is closed or something is to be lost.
fn carry(near: TcpStream, far: TcpStream, orders: &Arc<Mutex<Orders>>) {
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
    let answer_is_lost = Arc::new(AtomicBool::new(false));
    let (there, back) = (orders.clone(), orders.clone());
    let mute = answer_is_lost.clone();
    thread::spawn(move || {
        pass(near, far, |bytes| {
            let mut orders = lock(&there);
            let is_meant = |(_, text): &(Loss, String)| bytes.windows(text.len()).any(|at| at == text.as_bytes());
            let loss = orders.loss.clone().filter(is_meant).map(|(loss, _)| loss);
            if loss == Some(Loss::Request) {
                orders.note_loss();
            }
            mute.fetch_or(loss == Some(Loss::Answer), Ordering::SeqCst);
            !orders.closed && loss != Some(Loss::Request)
        });
    });
    thread::spawn(move || {
        pass(far_again, near_again, |_| {
            let mut orders = lock(&back);
            let is_lost = answer_is_lost.load(Ordering::SeqCst);
            if is_lost {
                orders.note_loss();
            }
            !orders.closed && !is_lost
        });
    });
}

impl Orders {
    fn note_loss(&mut self) {
        self.lost += 1;
        self.closed |= self.then_closed;
    }
}

/// Passes on what may go on; then ends both connections.
fn pass(mut from: TcpStream, mut to: TcpStream, mut may_go_on: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !may_go_on(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Each fails if the other end was faster.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn lock(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}
