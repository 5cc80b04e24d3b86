//! Close codes (RFC 6455 §7.4.1) and the reasons sent with them.

use std::time::Duration;

/// How long a closing socket has to take the close frame and answer it.
pub const GOODBYE: Duration = Duration::from_secs(2);

/// Why this end closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    /// At most 123 bytes: one word that a program can match, or a short sentence.
    pub reason: &'static str,
}

impl Close {
    pub const NORMAL: Close = Close { code: 1000, reason: "" };
    pub const SHUTDOWN: Close = Close { code: 1001, reason: "server is shutting down" };
    pub const PROTOCOL: Close = Close { code: 1002, reason: "protocol error" };
    pub const BINARY: Close = Close { code: 1003, reason: "text frames only" };
    pub const NOT_UTF8: Close = Close { code: 1007, reason: "text is not UTF-8" };
    pub const TOO_LARGE: Close = Close { code: 1009, reason: "message too large" };
    /// A message in more frames than any client needs.
    pub const FRAGMENTS: Close = Close::policy("too many fragments");
    /// A store can't be reached; the client may come back.
    pub const UNAVAILABLE: Close = Close { code: 1013, reason: "unavailable" };
    /// The client did not answer our pings within `PONG_TIMEOUT`.
    pub const SILENT: Close = Close { code: 1011, reason: "no answer to pings" };
    /// The member does not read what it is sent.
    pub const SLOW: Close = Close { code: 1013, reason: "reading too slowly" };

    /// A rule refuses the client (1008); `reason` is the word of that rule.
    pub const fn policy(reason: &'static str) -> Close {
        Close { code: 1008, reason }
    }
}
