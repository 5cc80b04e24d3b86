//! Large answers on their way to clients, who may read slowly: equal ones are kept once, and all together are bounded.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of an answer from which on it is large. A smaller one is taken by the socket's own buffer.
const LARGE: usize = 16 * 1024;

/// What all of them may take at least: one of the largest that there are, and some others.
const LEAST: usize = 64 << 20;

/// The part of `MEMORY_BUDGET` that they may take.
const SHARE: usize = 8;

/// The large answers that somebody is being sent.
pub struct Answers {
    most: usize,
    held: Arc<AtomicUsize>,
    hasher: RandomState,
    /// By their hash. Those that nobody is sent any more are swept out when there are twice as many as there were.
    bodies: Mutex<(HashMap<u64, Weak<Body>>, usize)>,
}

/// An answer, to be sent.
pub struct Answer {
    head: Vec<u8>,
    body: Option<Arc<Body>>,
}

struct Body {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl Answers {
    /// `budget`: bytes that may wait for all clients.
    pub fn new(budget: usize) -> Answers {
        Answers {
            most: (budget / SHARE).max(LEAST),
            held: Arc::default(),
            hasher: RandomState::new(),
            bodies: Mutex::default(),
        }
    }

    /// Bytes of all that are kept.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Keeps an answer until it is sent; `None`: there are too many.
    pub fn keep(&self, mut answer: Vec<u8>) -> Option<Answer> {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
        if answer.len() - end < LARGE {
            return Some(Answer { head: answer, body: None });
        }
        let bytes = answer.split_off(end);
        let hash = self.hasher.hash_one(&bytes);
        let (bodies, swept) = &mut *self.bodies.lock();
        if let Some(body) = bodies.get(&hash).and_then(Weak::upgrade).filter(|body| body.bytes == bytes) {
            return Some(Answer { head: answer, body: Some(body) });
        }
        if self.held() + bytes.len() > self.most {
            return None;
        }
        if bodies.len() > 2 * *swept + 64 {
            bodies.retain(|_, body| body.strong_count() > 0);
            *swept = bodies.len();
        }
        self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        let body = Arc::new(Body { bytes, held: self.held.clone() });
        bodies.insert(hash, Arc::downgrade(&body));
        Some(Answer { head: answer, body: Some(body) })
    }
}

impl Answer {
    /// What is to be sent, one after the other.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head, self.body.as_ref().map_or(&[], |body| &body.bytes)]
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: usize, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nX-Request-Id: {id}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn what_many_are_sent_is_kept_once() {
        let answers = Answers::new(0);
        let body = "x".repeat(1 << 20);
        let kept: Vec<_> = (0..1_000).map(|id| answers.keep(answer(id, &body)).unwrap()).collect();
        assert_eq!(answers.held(), body.len());
        for (id, kept) in kept.iter().enumerate() {
            assert!(kept.parts().concat() == answer(id, &body));
        }
        drop(kept);
        assert_eq!(answers.held(), 0);
    }

    #[test]
    fn all_together_stay_within_their_share() {
        let answers = Answers::new(0);
        let different = |id: usize| answers.keep(answer(id, &format!("{id:09}").repeat(1 << 17)));
        let kept: Vec<_> = (0..100).filter_map(different).collect();
        assert!(kept.len() < 100 && answers.held() <= LEAST);
        assert!(answers.keep(answer(0, "a small one")).is_some());
        drop(kept);
        assert!(different(101).is_some());
    }
}
