//! A bounded number of places; dropping a place returns it.

use super::rate::subnet;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A bounded number of places.
#[derive(Clone)]
pub struct Places {
    free: Arc<AtomicUsize>,
}

/// A taken place; dropping it returns it.
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

/// A bounded number of places for each address (IPv6: for each /64).
///
/// Only addresses with a place are remembered, so a bound on all places bounds this too.
#[derive(Clone)]
pub struct AddressPlaces {
    /// 0: any number.
    most: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Taken places of an address; dropping this returns them.
pub struct AddressPlace {
    address: IpAddr,
    count: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl AddressPlaces {
    /// `most` is how many places one address may have; 0: any number.
    pub fn new(most: usize) -> AddressPlaces {
        AddressPlaces { most, taken: Arc::default() }
    }

    /// A place for this address, unless it has as many as it may.
    pub fn take(&self, client: IpAddr) -> Option<AddressPlace> {
        self.take_many(client, 1)
    }

    /// So many places for this address, unless it would have more than it may. An address without any gets all that it may
    /// have, however many it asks for.
    pub fn take_many(&self, client: IpAddr, count: usize) -> Option<AddressPlace> {
        let address = subnet(client);
        let count = if self.most > 0 { count.min(self.most) } else { count };
        let mut all = self.taken.lock();
        let taken = all.get(&address).copied().unwrap_or(0);
        if self.most > 0 && taken + count > self.most {
            return None;
        }
        all.insert(address, taken + count);
        Some(AddressPlace { address, count, taken: self.taken.clone() })
    }
}

impl AddressPlace {
    /// The address, or its subnet, that has the place.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= self.count;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
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

    #[test]
    fn an_address_has_its_own_places_and_is_forgotten_without_any() {
        let places = AddressPlaces::new(2);
        let take = |client: &str| places.take(client.parse().unwrap());
        let held = [take("2001:db8::1"), take("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none(), "of the same /64");
        assert!(take("192.0.2.1").is_some());
        drop(held);
        assert!(take("2001:db8::3").is_some());
        assert!(places.taken.lock().is_empty());
    }

    #[test]
    fn without_a_limit_an_address_has_any_number() {
        let places = AddressPlaces::new(0);
        let held: Vec<_> = (0..100).map(|_| places.take(IpAddr::from([192, 0, 2, 1]))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
