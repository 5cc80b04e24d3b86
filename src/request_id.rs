//! The id of a request. It is in each of the request's log lines and in its answer, so that one can be found by the
//! other.

use ipnet::IpNet;
use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The header that holds it, in answers and in requests of trusted proxies.
pub const HEADER: &str = "X-Request-Id";

/// Most characters of an id that a proxy sends.
const MAX_LENGTH: usize = 128;

/// The id of a request. A WebSocket keeps the id of the request that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A new id: a random part for the process, and a counter within it.
    pub fn next() -> RequestId {
        static PROCESS: LazyLock<u32> = LazyLock::new(rand::random);
        static COUNT: AtomicU64 = AtomicU64::new(1);
        RequestId(format!("{:08x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// The id that a proxy in `trusted` sent, if it is fit for logs and headers; otherwise a new one.
    ///
    /// Ids of other clients are not accepted: a client could make its log lines look like those of another request.
    pub fn given(given: Option<&str>, peer: IpAddr, trusted: &[IpNet]) -> RequestId {
        let peer = peer.to_canonical();
        given
            .filter(|id| fit(id) && trusted.iter().any(|net| net.contains(&peer)))
            .map_or_else(RequestId::next, |id| RequestId(id.into()))
    }

    /// An id that was made before, and passed on within this process.
    pub fn passed_on(id: &str) -> RequestId {
        RequestId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives all log lines of this thread the id, until the returned value is dropped.
    ///
    /// Not a span of `tracing`: its registry has room for only 4,096 threads, and takes some KiB for each.
    pub fn enter(&self) -> Entered {
        Entered { before: CURRENT.replace(Some(self.clone())) }
    }

    /// The id of the thread's present request, if any.
    pub fn current() -> Option<RequestId> {
        // Nothing stays borrowed while other code runs. What is logged while a thread ends belongs to no request.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<RequestId>> = const { RefCell::new(None) };
}

/// Gives the thread's log lines an id until it is dropped.
#[must_use]
pub struct Entered {
    before: Option<RequestId>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Whether an id has only letters, digits, and the other characters of UUIDs, base64 and trace ids.
fn fit(id: &str) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn taken(id: &str, peer: IpAddr) -> bool {
        RequestId::given(Some(id), peer, &["10.0.0.0/8".parse().unwrap()]).as_str() == id
    }

    #[test]
    fn no_two_requests_have_one_id() {
        assert_ne!(RequestId::next(), RequestId::next());
    }

    #[test]
    fn a_thread_is_within_a_request_until_it_leaves() {
        let (outer, inner) = (RequestId::next(), RequestId::next());
        assert_eq!(RequestId::current(), None);
        let entered = outer.enter();
        drop(inner.enter());
        assert_eq!(RequestId::current(), Some(outer.clone()));
        drop(entered);
        assert_eq!(RequestId::current(), None);
    }

    #[test]
    fn a_trusted_proxy_names_its_requests() {
        assert!(taken("3f2504e0-4f89-11d3-9a0c-0305e82c3301", PROXY));
        assert!(taken("abc", "::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_stranger_names_nothing() {
        assert!(!taken("abc", "192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_id_that_is_unfit_for_a_log_is_replaced() {
        for id in ["", "a b", "a\"b", "a\u{1b}[31m", "ä", &"a".repeat(129)] {
            assert!(!taken(id, PROXY), "{id:?}");
        }
    }
}
