//! Many small rooms that are busy at once.

use crate::{Client, channel::enter, faults::hold_log};
use std::{net::SocketAddr, path::Path};

/// One more than a small room may have.
const LARGE: usize = 17;
/// So many that half of them are many still: a batch may have begun before all have said something.
const ROOMS: usize = 32;

/// One member each of many rooms, whose messages have just been stored together; the next of some of them has the
/// server know that. The server has a [small journal](crate::faults::SMALL_JOURNAL).
#[track_caller]
pub fn many_rooms(address: SocketAddr, access: &str, data_dir: &Path) -> Vec<Client> {
    let mut large: Vec<Client> = (0..LARGE).map(|_| enter(address, access, "large")).collect();
    let mut small: Vec<Client> = (0..ROOMS).map(|n| enter(address, access, &format!("small-{n}"))).collect();
    {
        // What is said meanwhile is stored together, behind the first: that is for a large room, so the log thread waits
        // with it, and no client's.
        let mut filler = enter(address, access, "filled");
        let held = hold_log(data_dir, &mut filler);
        large[0].say("all at once");
        large[0].hear_all_up_to_now();
        // What is said too late is refused, so nobody waits for the others' answers.
        small.iter_mut().for_each(|client| client.say("all at once"));
        small.iter_mut().for_each(|client| drop(client.hear_all_up_to_now()));
        held.release();
    }
    small.iter_mut().for_each(|client| drop(client.wait_for("message")));
    small.iter_mut().for_each(|client| drop(client.post("at once after it")));
    small
}
