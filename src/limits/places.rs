//! A bounded number of places, each given back by itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// So many places, no more.
#[derive(Clone)]
pub struct Places {
    free: Arc<AtomicUsize>,
}

/// One taken place; dropping it gives it back.
pub struct Place {
    free: Arc<AtomicUsize>,
}

impl Places {
    pub fn new(count: usize) -> Places {
        Places { free: Arc::new(AtomicUsize::new(count)) }
    }

    /// A place, if one is free.
    pub fn take(&self) -> Option<Place> {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        taken.is_ok().then(|| Place { free: self.free.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_given_back_is_free_again() {
        let places = Places::new(1);
        let place = places.take();
        assert!(place.is_some());
        assert!(places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
    }
}
