//! The memory that frames take while they wait for sockets.
//!
//! A frame for many members is one piece of memory, however many wait for it. So it is counted when it is made, and
//! until the last member releases it, not where it waits.

use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of all frames in this process that are still held.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Makes frames that count until they are dropped everywhere.
pub fn counted(frames: Vec<u8>) -> Bytes {
    if frames.is_empty() {
        return Bytes::new();
    }
    HELD.fetch_add(frames.capacity(), Ordering::Relaxed);
    Bytes::from_owner(Counted(frames))
}

/// How many bytes all held frames take now.
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

struct Counted(Vec<u8>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0.capacity(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_once_however_many_hold_them_and_until_the_last_lets_go() {
        // More than all other tests of this process hold together.
        const SIZE: usize = 1 << 30;
        let mut frames = Vec::with_capacity(SIZE);
        frames.push(1);
        let counted = counted(frames);
        let many: Vec<_> = (0..10).map(|_| counted.slice(..)).collect();
        assert!((SIZE..2 * SIZE).contains(&held()));
        drop(counted);
        assert!(held() >= SIZE);
        drop(many);
        assert!(held() < SIZE);
    }
}
