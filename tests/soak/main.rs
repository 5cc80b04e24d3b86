//! A soak: connections, messages and logins come and go while stores and servers fail, and in the end nothing is missing.
//!
//! ```text
//! speakers ─▶ nodes ─▶ listeners     what a speaker was told is stored, every listener has heard, once and in order
//! racers ───▶                        of many who come with one token one gets in, ever
//! visitors ─▶                        logins, pages, handshakes that break off
//! faults ───▶                        one each few seconds, chosen by a seed
//! ```
//!
//! The short ones run with all tests. `scripts/soak` runs the long one, which also holds memory against its start.

mod actors;
mod attack;
mod faults;
mod verdict;
mod world;

use rand::{SeedableRng, rngs::SmallRng};
use std::{
    env, thread,
    time::{Duration, Instant},
};
use verdict::{Footprint, Verdict};
use world::{Phase, Storage, World};

/// Between two faults.
const PAUSE: Duration = Duration::from_secs(10);

/// The same while each thing that a server lives through happens once, before memory is measured the first time.
const WARM_UP_PAUSE: Duration = Duration::from_secs(6);

/// Shorter than that, caches still fill up: what is held is shown, and held against nothing.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_short_soak_on_the_embedded_store_loses_nothing() {
    short(Storage::Embedded);
}

#[test]
fn a_short_soak_of_two_nodes_on_redis_loses_nothing() {
    short(Storage::Redis);
}

#[test]
fn a_short_soak_of_two_nodes_with_an_archive_loses_nothing() {
    short(Storage::Archive);
}

#[test]
#[ignore = "takes minutes: scripts/soak"]
fn soak() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let storage = match env::var("SOAK_STORE").as_deref() {
        Ok("redis") => Storage::Redis,
        Ok("archive") => Storage::Archive,
        _ => Storage::Embedded,
    };
    let time = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(120));
    let seed = number("SOAK_SEED").unwrap_or_else(rand::random);
    println!("a soak of {} s on {storage:?}; to repeat its faults: --seed {seed}", time.as_secs());
    let world = World::start(storage);
    let verdict = world.while_peopled(|world| {
        let mut random = SmallRng::seed_from_u64(seed);
        // First everything may fail, the servers too.
        faults::happen(world, time / 3, PAUSE, faults::ANY, &mut random);
        // Then the servers live on, so that what they hold at the end can be held against the beginning. What is bounded
        // is to be at its bound by then: rooms keep `HISTORY_MAX` messages, stores have filled their caches, and a crowd
        // has left behind what the allocator keeps for the next one.
        faults::happen_once_each(world, WARM_UP_PAUSE, faults::SURVIVED);
        faults::happen(world, time / 6, PAUSE, faults::SURVIVED, &mut random);
        let before = at_rest(world);
        faults::happen(world, time / 2, PAUSE, faults::SURVIVED, &mut random);
        let after = at_rest(world);
        Verdict::of(world).with_footprints(&before, &after, time >= LONG)
    });
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
}

fn short(storage: Storage) {
    let seed = rand::random();
    println!("faults by the seed {seed}");
    let verdict = World::start(storage).while_peopled(|world| {
        let mut random = SmallRng::seed_from_u64(seed);
        faults::happen(world, Duration::from_secs(9), Duration::from_millis(1500), faults::ANY, &mut random);
        world.set(Phase::Quiet);
        Verdict::of(world)
    });
    println!("{verdict}");
    assert!(verdict.is_good() && verdict.confirmed > 0, "{verdict}");
}

/// What the servers hold when nobody is there any more.
fn at_rest(world: &World) -> Vec<Footprint> {
    world.set(Phase::Away);
    let until = Instant::now() + Duration::from_secs(30);
    // Threads that served a connection wait ten seconds for the next one.
    thread::sleep(Duration::from_secs(12));
    let mut now = Footprint::of(world);
    loop {
        thread::sleep(Duration::from_secs(2));
        let last = std::mem::replace(&mut now, Footprint::of(world));
        let is_still = last.iter().zip(&now).all(|(last, now)| last.threads == now.threads);
        if is_still || Instant::now() > until {
            world.set(Phase::Busy);
            return now;
        }
    }
}
