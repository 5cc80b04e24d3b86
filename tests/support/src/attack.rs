//! What the tests of attacks share: a chat that must go on meanwhile, and what the server takes of the machine.

use crate::{ALICE, BOB, Client, Connection, DEMO, Server, http::get, server::Setup};
use std::{thread, time::Duration};

/// How long a message may take to be heard while the server is attacked. Its usual time is a millisecond; a machine
/// that is busy with attackers and tests takes longer, and a server that makes members wait for them takes for ever.
const IN_TIME: Duration = Duration::from_secs(30);

/// Two members who talk while something else goes on.
pub struct Chat {
    alice: Client,
    bob: Client,
    said: usize,
}

impl Chat {
    #[track_caller]
    pub fn start(server: &Server) -> Chat {
        let (alice, bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
        alice.wait_at_most(IN_TIME);
        bob.wait_at_most(IN_TIME);
        Chat { alice, bob, said: 0 }
    }

    /// Says something that both must hear in time; not faster than `MESSAGE_RATE` allows.
    #[track_caller]
    pub fn goes_on(&mut self) {
        thread::park_timeout(Duration::from_millis(50));
        self.said += 1;
        let text = format!("the chat goes on: {}", self.said);
        self.alice.say(text.as_str());
        for member in [&mut self.alice, &mut self.bob] {
            while member.hear_message().text != text {}
        }
    }
}

/// Settings that let a test send as fast as it can.
pub fn without_message_rate() -> Setup {
    Server::with().env("MESSAGE_RATE", "0")
}

impl Server {
    /// Resident memory, bytes.
    pub fn memory(&self) -> usize {
        self.status("VmRSS:") * 1024
    }

    pub fn threads(&self) -> usize {
        self.status("Threads:")
    }

    /// What `/metrics` says by this name and these labels; zero if nothing was counted. `ADMIN_LISTEN` must be set.
    #[track_caller]
    pub fn figure(&self, sample: &str) -> f64 {
        self.sample(sample).unwrap_or_default()
    }

    /// The same; `None` if it is not there.
    #[track_caller]
    pub fn sample(&self, sample: &str) -> Option<f64> {
        let answer =
            Connection::open(self.admin_address()).send(get("/metrics", &[("Connection", "close")])).response();
        answer.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// A number in `/proc/PID/status`.
    #[track_caller]
    fn status(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}
