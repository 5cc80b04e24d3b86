//! The threads that connections run on: one for each connection, kept for a while and reused.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// The stack of a connection thread. A signature check and SQLite take less than 48 KiB of it, even in debug builds.
///
/// Only touched pages cost memory; ten thousand connections reserve 2.5 GiB of address space.
pub const STACK_SIZE: usize = 256 * 1024;
/// How many idle threads are kept for the next connections.
const MAX_IDLE: usize = 64;
/// How long an idle thread is kept.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Serves connections, each on a thread of its own. `T` is the work that a thread gets.
pub struct Threads<T> {
    /// Without capacity: work passes only to a thread that waits for it.
    handover: (Sender<T>, Receiver<T>),
    idle: Arc<AtomicUsize>,
    serve: Arc<dyn Fn(T) + Send + Sync>,
}

impl<T: Send + 'static> Threads<T> {
    /// If `serve` panics, only that piece of work ends.
    pub fn new(serve: impl Fn(T) + Send + Sync + 'static) -> Threads<T> {
        Threads { handover: bounded(0), idle: Arc::new(AtomicUsize::new(0)), serve: Arc::new(serve) }
    }

    /// Has `connection` served; returns it if no more threads can be started.
    pub fn run(&self, connection: T) -> Result<(), (T, io::Error)> {
        let Err(refused) = self.handover.0.try_send(connection) else { return Ok(()) };
        let connection = refused.into_inner();
        // Handed over only once the thread runs: a closure that can't be spawned is lost with everything it owns.
        let (first, receive_first) = bounded(1);
        let (waiting, idle, serve) = (self.handover.1.clone(), self.idle.clone(), self.serve.clone());
        let thread = thread::Builder::new().name("connection".to_owned()).stack_size(STACK_SIZE);
        match thread.spawn(move || work(receive_first, &waiting, &idle, &*serve)) {
            Ok(_) => first.send(connection).map_err(|refused| (refused.into_inner(), io::ErrorKind::Other.into())),
            Err(error) => Err((connection, error)),
        }
    }
}

fn work<T>(first: Receiver<T>, waiting: &Receiver<T>, idle: &AtomicUsize, serve: &dyn Fn(T)) {
    let mut next = first.recv().ok();
    drop(first);
    while let Some(connection) = next {
        if catch_unwind(AssertUnwindSafe(|| serve(connection))).is_err() {
            tracing::error!("a connection ended by a panic");
        }
        let may_wait = idle.fetch_add(1, Ordering::AcqRel) < MAX_IDLE;
        next = if may_wait { waiting.recv_timeout(IDLE_TIME).ok() } else { None };
        idle.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Job = Box<dyn FnOnce() + Send>;

    fn run(threads: &Threads<Job>, job: impl FnOnce() + Send + 'static) {
        assert!(threads.run(Box::new(job)).is_ok());
    }

    fn threads() -> Threads<Job> {
        Threads::new(|job: Job| job())
    }

    #[test]
    fn a_panic_ends_only_its_own_job() {
        let threads = threads();
        run(&threads, || panic!("as asked"));
        let (done, is_done) = bounded(1);
        run(&threads, move || done.send(()).unwrap());
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn jobs_that_block_do_not_hold_up_others() {
        let threads = threads();
        let (leave, may_leave) = bounded::<()>(0);
        let (done, is_done) = bounded(8);
        for _ in 0..8 {
            let (may_leave, done) = (may_leave.clone(), done.clone());
            let job = move || {
                let _ = may_leave.recv();
                done.send(()).unwrap();
            };
            run(&threads, job);
        }
        run(&threads, move || drop(leave));
        for _ in 0..8 {
            is_done.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn a_thread_that_waits_takes_the_next_job() {
        let threads = threads();
        let (seen, who) = bounded(1);
        let thread_of_a_job = || {
            let seen = seen.clone();
            run(&threads, move || seen.send(thread::current().id()).unwrap());
            who.recv_timeout(Duration::from_secs(60)).unwrap()
        };
        let first = thread_of_a_job();
        // The thread becomes idle a moment after its job; until then other threads are started.
        assert!((0..10_000).any(|_| thread_of_a_job() == first));
    }
}
