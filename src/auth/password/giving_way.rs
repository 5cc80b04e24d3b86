//! Long work on a thread that gives way to others.
//!
//! The `argon2` crate computes a hash in one call, so there are no steps between which it could take breaks as bcrypt does.

use rustix::process::nice;
use std::{panic::resume_unwind, thread};

/// How much nicer the thread is than others. While they want its core it gets a quarter of that: a login must make progress
/// on a busy machine too.
const NICER: i32 = 5;

/// Does work on a thread of its own, with a lower priority.
pub fn giving_way<T: Send>(work: impl Fn() -> T + Sync) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("argon2id".into()).spawn_scoped(scope, || {
            // Where that is forbidden the hash is right all the same. Linux lowers the priority of this thread alone.
            let _ = nice(NICER);
            work()
        });
        match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // There are no more threads.
            Err(_) => work(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_thread_of_the_work_gives_way() {
        let own = getpriority_process(None).unwrap();
        assert_eq!(giving_way(|| getpriority_process(None).unwrap()), (own + NICER).min(19));
        assert_eq!(getpriority_process(None).unwrap(), own);
    }
}
