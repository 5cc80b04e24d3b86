//! The ways of one node to all servers of its Redis. What these say of each other's addresses leads over the ways too.

use crate::line::Line;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Ports in what servers say, and those to put in their place.
#[derive(Clone, Default)]
pub(crate) struct Ports(Arc<OnceLock<Vec<(String, String)>>>);

impl Ports {
    /// Puts the ways' ports in place of the servers': in `:PORT` of numbers and redirections, and in lines of their own.
    pub fn replace(&self, bytes: &mut [u8]) {
        let Some(ports) = self.0.get() else { return };
        for (theirs, ours) in ports {
            let mut from = 0;
            while let Some(at) = bytes[from..].windows(theirs.len()).position(|at| at == theirs.as_bytes()) {
                let (start, end) = (from + at, from + at + theirs.len());
                let is_begun = start > 0 && matches!(bytes[start - 1], b':' | b'\n');
                if is_begun && bytes.get(end) == Some(&b'\r') {
                    bytes[start..end].copy_from_slice(ours.as_bytes());
                }
                from = end;
            }
        }
    }
}

/// Ways to servers on this machine, one to each.
pub struct Ways {
    ports: Ports,
    lines: Vec<Line>,
}

impl Ways {
    #[track_caller]
    pub fn to(servers: &[u16]) -> Ways {
        let ports = Ports::default();
        let lines: Vec<Line> = servers.iter().map(|port| Line::with(*port, ports.clone())).collect();
        let pairs: Vec<_> =
            servers.iter().zip(&lines).map(|(theirs, line)| (theirs.to_string(), line.port.to_string())).collect();
        assert!(pairs.iter().all(|(theirs, ours)| theirs.len() == ours.len()), "answers keep their length: {pairs:?}");
        assert!(ports.0.set(pairs).is_ok(), "they are set once");
        Ways { ports, lines }
    }

    /// The same Redis, over these ways.
    pub fn through(&self, url: &str) -> String {
        let pairs = self.ports.0.get().into_iter().flatten();
        pairs.fold(url.to_owned(), |url, (theirs, ours)| url.replace(&format!(":{theirs}"), &format!(":{ours}")))
    }

    pub fn cut(&self) {
        self.lines.iter().for_each(Line::cut);
    }

    pub fn fall_silent(&self) {
        self.lines.iter().for_each(Line::fall_silent);
    }

    pub fn tear(&self) {
        self.lines.iter().for_each(Line::tear);
    }

    pub fn slow(&self, delay: Duration) {
        self.lines.iter().for_each(|line| line.slow(delay));
    }

    /// All comes through again, at once.
    pub fn mend(&self) {
        self.slow(Duration::ZERO);
        self.lines.iter().for_each(Line::mend);
    }
}
