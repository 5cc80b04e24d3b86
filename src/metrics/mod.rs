//! What the server counts, for `/metrics`. `docs/OPERATIONS.md` says what each metric means to an operator.

pub mod archive;
pub mod histogram;
pub mod messages;
mod process;
mod refusal_log;
pub mod refusals;
pub mod text_format;
pub mod webhooks;

use crate::{
    http::head::Method,
    logging,
    refusal::Reason,
    socket::close::Close,
    store::{log::Backlog, outage, usage::Usage},
};
use archive::ArchiveMetrics;
use histogram::Histogram;
use messages::MessageMetrics;
use parking_lot::Mutex;
use process::Process;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
use refusal_log::RefusalLog;
use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use webhooks::WebhookMetrics;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The server's metrics. To count is to add to an atomic. Only what happens once for a request or a connection has
/// labels, which must be looked up.
pub struct Metrics {
    registry: Registry,
    /// TCP connections at `LISTEN`, and their maximum.
    pub sockets: Gauge,
    pub sockets_max: Gauge,
    /// TCP connections that were turned away because there was no place.
    pub sockets_refused: Counter,
    /// Connections and requests that were refused because their address had reached its limit.
    pub sockets_refused_by_address: Counter,
    /// Connections that were closed because their address makes TLS handshakes too often.
    pub tls_handshakes_refused: Counter,
    /// How many bytes wait for members whose sockets take no more, and how many such members there are.
    pub send_queue: Gauge,
    pub send_queue_members: Gauge,
    /// How many bytes the frames take that wait for sockets, each frame counted once, and their maximum.
    pub frames: Gauge,
    pub memory_budget: Gauge,
    /// Messages that wait to be stored.
    pub log_queue: Gauge,
    /// Tasks of commands (to erase messages or to set them aside) that are not done yet.
    pub erasures: Gauge,
    /// Connections to PostgreSQL, and their maximum.
    pub database_connections: Gauge,
    pub database_connections_max: Gauge,
    /// The bytes in the journal that are not in the tables behind it yet, their maximum, and their age.
    journal: Gauge,
    journal_max: Gauge,
    store: Gauge,
    store_max: Gauge,
    store_trimmed: Counter,
    journal_lag: Gauge<f64, AtomicU64>,
    /// How many plain requests can be answered at a time, and how many are being answered.
    pub http_workers: Gauge,
    pub http_workers_busy: Gauge,
    /// How many bytes the large answers take that are being sent; equal answers count once.
    pub answers: Gauge,
    /// The same while they are made.
    pub answers_made: Gauge,
    /// Free bytes on the disk of `DATA_DIR`.
    pub disk_free: Gauge,
    /// When the certificate ends, in Unix seconds; 0 without TLS.
    pub certificate_end: Gauge,
    /// How long it takes to spend a token.
    pub spend: Histogram,
    pub webhooks: WebhookMetrics,
    pub archive: ArchiveMetrics,
    connections: Family<Labels<1>, Gauge>,
    handshakes: Family<Labels<2>, Counter>,
    closes: Family<Labels<2>, Counter>,
    refusals: Family<Labels<1>, Counter>,
    logins: Family<Labels<1>, Counter>,
    sessions: Family<Labels<1>, Counter>,
    /// Read marks that moved forward, and marks that wait to be stored.
    pub read_marks: Counter,
    pub read_marks_waiting: Gauge,
    /// How many readers of history wait for their turn.
    pub history_waiting: Gauge,
    /// How many searches wait for their turn.
    pub searches_waiting: Gauge,
    searches: Family<Labels<1>, Counter>,
    rooms_removed: Family<Labels<1>, Counter>,
    requests: Family<Labels<3>, Counter>,
    request_times: Family<Labels<1>, Histogram>,
    /// What stores can't do at present.
    outages: Family<Labels<1>, Gauge>,
    looks: Mutex<Vec<Look>>,
    told: RefusalLog,
    /// Refusals that have no line of their own in the log.
    refusals_summed: Counter,
    panics: Counter,
}

/// Names and values. The values are our own words, never a client's, so there are few.
type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

type Look = Box<dyn Fn(&Metrics) + Send>;

/// An open WebSocket; it counts until this is dropped.
pub struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// `rooms`, `dropped` (members that do not read) and `apply` (moving messages from the journal into their tables)
    /// are counted elsewhere and shown here. `refusals_told` is how many refusals of a reason and an address have a
    /// line each (0: all).
    pub fn new(rooms: &MessageMetrics, dropped: &Counter, apply: &Histogram, refusals_told: u64) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            sockets: Gauge::default(),
            sockets_max: Gauge::default(),
            sockets_refused: Counter::default(),
            sockets_refused_by_address: Counter::default(),
            tls_handshakes_refused: Counter::default(),
            send_queue: Gauge::default(),
            send_queue_members: Gauge::default(),
            frames: Gauge::default(),
            memory_budget: Gauge::default(),
            log_queue: Gauge::default(),
            database_connections: Gauge::default(),
            database_connections_max: Gauge::default(),
            erasures: Gauge::default(),
            journal: Gauge::default(),
            journal_max: Gauge::default(),
            store: Gauge::default(),
            store_max: Gauge::default(),
            store_trimmed: Counter::default(),
            journal_lag: Gauge::default(),
            http_workers: Gauge::default(),
            http_workers_busy: Gauge::default(),
            answers: Gauge::default(),
            answers_made: Gauge::default(),
            disk_free: Gauge::default(),
            certificate_end: Gauge::default(),
            spend: Histogram::default(),
            webhooks: WebhookMetrics::default(),
            archive: ArchiveMetrics::default(),
            connections: Family::default(),
            handshakes: Family::default(),
            closes: Family::default(),
            refusals: Family::default(),
            logins: Family::default(),
            sessions: Family::default(),
            read_marks: Counter::default(),
            read_marks_waiting: Gauge::default(),
            history_waiting: Gauge::default(),
            searches_waiting: Gauge::default(),
            searches: Family::default(),
            rooms_removed: Family::default(),
            requests: Family::default(),
            request_times: Family::default(),
            outages: Family::default(),
            looks: Mutex::default(),
            told: RefusalLog::new(refusals_told),
            refusals_summed: Counter::default(),
            panics: Counter::default(),
        };
        for why in ["unused", "idle", "made_place"] {
            let _ = metrics.rooms_removed.get_or_create(&[("why", why.into())]);
        }
        for result in ["whole", "cut_short", "failed"] {
            let _ = metrics.searches.get_or_create(&[("result", result.into())]);
        }
        let mut registry = Registry::default();
        metrics.register(registry.sub_registry_with_prefix("propromo_chat"), rooms, dropped, apply);
        registry.register_collector(Box::new(Process::new()));
        metrics.registry = registry;
        metrics
    }

    fn register(&self, registry: &mut Registry, rooms: &MessageMetrics, dropped: &Counter, apply: &Histogram) {
        registry.register("build", "Which version runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("sockets", "TCP connections of clients, of any kind", self.sockets.clone());
        registry.register("sockets_max", "TCP connections that there may be", self.sockets_max.clone());
        let help = "TCP connections turned away for want of room";
        registry.register("sockets_refused", help, self.sockets_refused.clone());
        let help = "TCP connections and requests turned away since their address has as many connections as one may";
        registry.register("sockets_refused_by_address", help, self.sockets_refused_by_address.clone());
        let help = "TCP connections closed since their address makes TLS handshakes too often";
        registry.register("tls_handshakes_refused", help, self.tls_handshakes_refused.clone());
        registry.register("connections", "WebSockets open now, by door", self.connections.clone());
        registry.register("handshakes", "WebSocket handshakes, by door and result", self.handshakes.clone());
        let help = "WebSockets closed by a rule or an error, by code and reason";
        registry.register("closes", help, self.closes.clone());
        registry.register("messages", "Messages from clients, by what became of them", rooms.messages.clone());
        let help = "Messages handed to the sockets of members, once a member";
        registry.register("deliveries", help, rooms.deliveries.clone());
        let help = "From storing messages to having handed them to the sockets of a lane's members";
        registry.register_with_unit("delivery", help, Unit::Seconds, rooms.delivery.clone());
        let help = "What waits for members whose sockets take no more";
        registry.register_with_unit("send_queue", help, Unit::Bytes, self.send_queue.clone());
        registry.register("send_queue_members", "Members for whom something waits", self.send_queue_members.clone());
        let help = "What frames take that members wait for, however many wait for the same";
        registry.register_with_unit("frames", help, Unit::Bytes, self.frames.clone());
        let help = "What such frames may take together";
        registry.register_with_unit("memory_budget", help, Unit::Bytes, self.memory_budget.clone());
        registry.register("members_dropped", "Members dropped because they don't read", dropped.clone());
        registry.register("log_queue_messages", "Messages that wait to be stored", self.log_queue.clone());
        let help = "Connections to PostgreSQL";
        registry.register("database_connections", help, self.database_connections.clone());
        let help = "Connections to PostgreSQL that there may be";
        registry.register("database_connections_max", help, self.database_connections_max.clone());
        registry.register("attendance", "Comings and goings in rooms, by how they are told", rooms.attendance.clone());
        registry.register("nodes", "Nodes that live, with this one (0: there are no others)", rooms.nodes.clone());
        let help = "Rooms of which this node hears what others store (0: there are no others)";
        registry.register("rooms_heard", help, rooms.rooms_heard.clone());
        let help = "Leases of this node that were over before it renewed them";
        registry.register("leases_lost", help, rooms.leases_lost.clone());
        let help = "Rooms of which was compared who is there with what the store says";
        registry.register("presence_compared_rooms", help, rooms.rooms_compared.clone());
        let help = "Claims of this node that were lost in the store, and written again";
        registry.register("presence_claims_corrected", help, rooms.claims_corrected.clone());
        let help = "Comings and goings that were found by comparing";
        registry.register("presence_corrected", help, rooms.presence_corrected.clone());
        registry.register("inbox_news", "Batches of messages that inboxes hear of, by how", rooms.inbox_news.clone());
        let help = "Rooms that inboxes and lists of rooms leave out, since their account has too many";
        registry.register("inbox_rooms_left_out", help, rooms.inbox_rooms_left_out.clone());
        let help =
            "Rooms whose log went back behind what was shown, as after a failover to a replica that lacks the last";
        registry.register("rooms_set_back", help, rooms.set_back.clone());
        registry.register_with_unit("append", "Storing a batch of messages", Unit::Seconds, rooms.append.clone());
        let help = "What commands have asked to be erased or set aside, and is not done yet";
        registry.register("erasures_waiting", help, self.erasures.clone());
        let help = "Messages in the journal that are not in the tables behind it yet, as they take in memory";
        registry.register_with_unit("journal", help, Unit::Bytes, self.journal.clone());
        let help = "How much that may be";
        registry.register_with_unit("journal_max", help, Unit::Bytes, self.journal_max.clone());
        let help = "How long the oldest of them has waited";
        registry.register_with_unit("journal_lag", help, Unit::Seconds, self.journal_lag.clone());
        let help = "Putting messages from the journal into their tables, many at a time";
        registry.register_with_unit("journal_apply", help, Unit::Seconds, apply.clone());
        let help = "What messages and their search index take in the embedded store";
        registry.register_with_unit("store", help, Unit::Bytes, self.store.clone());
        let help = "How much that may be";
        registry.register_with_unit("store_max", help, Unit::Bytes, self.store_max.clone());
        let help = "Messages that were deleted so that it is not more";
        registry.register("store_trimmed_messages", help, self.store_trimmed.clone());
        registry.register_with_unit("spend", "Spending a token", Unit::Seconds, self.spend.clone());
        self.webhooks.register(registry);
        self.archive.register(registry);
        let help = "What is left on the disk of DATA_DIR";
        registry.register_with_unit("disk_free", help, Unit::Bytes, self.disk_free.clone());
        let help = "When the certificate ends, since 1970 (0: no TLS)";
        registry.register_with_unit("certificate_end", help, Unit::Seconds, self.certificate_end.clone());
        // Those that alerts are for are there before they are met: a first one that comes with its name is no increase.
        for reason in [Reason::Internal, Reason::Unavailable] {
            drop(self.refusals.get_or_create(&[("reason", reason.word().into())]));
        }
        registry.register("refusals", "Requests and handshakes refused, by reason", self.refusals.clone());
        let help = "Refusals that have no line of their own in the log, but are in one with a count";
        registry.register("refusals_summed", help, self.refusals_summed.clone());
        registry.register("panics", "Threads that ended a request or a connection by a panic", self.panics.clone());
        registry.register("logins", "Logins with email and password, by result", self.logins.clone());
        registry.register("read_marks", "Read marks that moved forward", self.read_marks.clone());
        let help = "Pages of history that wait to be read";
        registry.register("history_waiting_pages", help, self.history_waiting.clone());
        registry.register("searches_waiting", "Searches that wait for their turn", self.searches_waiting.clone());
        registry.register("searches", "Searches, by how they ended", self.searches.clone());
        registry.register("read_marks_waiting", "Read marks that wait to be stored", self.read_marks_waiting.clone());
        let help = "Rooms of the rooms door that were removed since nobody uses them, by why";
        registry.register("rooms_removed", help, self.rooms_removed.clone());
        registry.register("sessions", "Sessions of browsers, by what became of them", self.sessions.clone());
        let help = "Plain requests answered, by endpoint, method and status";
        registry.register("http_requests", help, self.requests.clone());
        registry.register("outages", "Things that a store can't do at the moment, by store", self.outages.clone());
        let help = "Answering a plain request, by endpoint";
        registry.register_with_unit("http_request", help, Unit::Seconds, self.request_times.clone());
        let help = "Large answers that clients are being sent, equal ones once";
        registry.register_with_unit("answers", help, Unit::Bytes, self.answers.clone());
        let help = "Large answers that are being made";
        registry.register_with_unit("answers_made", help, Unit::Bytes, self.answers_made.clone());
        registry.register("http_workers", "Plain requests that can be answered at a time", self.http_workers.clone());
        registry.register(
            "http_workers_busy",
            "Plain requests that are being answered",
            self.http_workers_busy.clone(),
        );
    }

    /// Counts a plain request by `method` to `endpoint` (the pattern of its path), which was answered with `status`
    /// after `time`.
    pub fn answered(&self, method: Method, endpoint: &'static str, status: u16, time: Duration) {
        let endpoint = ("endpoint", Cow::from(endpoint));
        let (method, status) = (("method", method.as_str().into()), ("status", status.to_string().into()));
        self.requests.get_or_create(&[endpoint.clone(), method, status]).inc();
        self.request_times.get_or_create(&[endpoint]).observe(time);
    }

    /// Counts a refusal, without a line in the log.
    pub fn refused(&self, reason: Reason) {
        self.refusals.get_or_create(&[("reason", reason.word().into())]).inc();
    }

    /// Counts a handshake at `door`. `result` is `ok`, or the word of the refusal's reason.
    pub fn handshake(&self, door: &'static str, result: &'static str) {
        self.handshakes.get_or_create(&[("door", door.into()), ("result", result.into())]).inc();
    }

    /// Counts a WebSocket that is open at `door`.
    pub fn connected(&self, door: &'static str) -> Connected {
        let open = self.connections.get_or_create_owned(&[("door", door.into())]);
        open.inc();
        Connected(open)
    }

    /// Counts a WebSocket that this end closed.
    pub fn closed(&self, close: Close) {
        self.closes.get_or_create(&[("code", close.code.to_string().into()), ("reason", close.reason.into())]).inc();
    }

    /// Counts a login with email and password. `result` is `ok`, or the word of the refusal's reason.
    pub fn login(&self, result: &'static str) {
        self.logins.get_or_create(&[("result", result.into())]).inc();
    }

    /// Counts a search by how it ended: `whole`, `cut_short` or `failed`.
    pub fn searched(&self, result: &'static str) {
        self.searches.get_or_create(&[("result", result.into())]).inc();
    }

    /// Counts an unused room of the rooms door that was removed.
    pub fn room_removed(&self, why: &'static str) {
        self.rooms_removed.get_or_create(&[("why", why.into())]).inc();
    }

    /// Counts sessions by what happened to them.
    pub fn session(&self, event: &'static str, count: u64) {
        self.sessions.get_or_create(&[("event", event.into())]).inc_by(count);
    }

    /// Sets what is in the journal now.
    pub fn journal(&self, Backlog { bytes, max, lag }: Backlog) {
        self.journal.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.journal_max.set(i64::try_from(max).unwrap_or(i64::MAX));
        self.journal_lag.set(lag.as_secs_f64());
    }

    /// Sets how much disk space messages take.
    pub fn store(&self, Usage { bytes, max, trimmed, .. }: Usage) {
        self.store.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.store_max.set(i64::try_from(max).unwrap_or(i64::MAX));
        self.store_trimmed.inner().store(trimmed, Ordering::Relaxed);
    }

    /// Registers `look`, which sets gauges each time before the metrics are shown. It must keep nothing alive.
    pub fn look(&self, look: impl Fn(&Metrics) + Send + 'static) {
        self.looks.lock().push(Box::new(look));
    }

    /// All metrics as OpenMetrics text, which Prometheus reads.
    pub fn render(&self) -> String {
        self.looks.lock().iter().for_each(|look| look(self));
        self.panics.inner().store(logging::panics(), Ordering::Relaxed);
        for (store, count) in outage::all() {
            self.outages.get_or_create(&[("store", store.into())]).set(count as i64);
        }
        let mut page = String::new();
        if let Err(error) = text::encode(&mut page, &self.registry) {
            tracing::error!(%error, "the metrics can't be written");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&MessageMetrics::default(), &Counter::default(), &Histogram::default(), 0)
    }

    #[test]
    fn what_was_counted_is_on_the_page() {
        let rooms = MessageMetrics::default();
        let metrics = Metrics::new(&rooms, &Counter::default(), &Histogram::default(), 0);
        rooms.stored.inc_by(3);
        let _open = metrics.connected("propromo");
        drop(metrics.connected("channel"));
        metrics.answered(Method::Put, "/login", 404, Duration::from_millis(3));
        metrics.refused(Reason::NotFound);
        metrics.handshake("propromo", "token_used");
        metrics.closed(Close::TOO_LARGE);
        metrics.login("ok");
        metrics.look(|metrics| _ = metrics.send_queue.set(17));
        let page = metrics.render();
        for line in [
            "propromo_chat_messages_total{result=\"stored\"} 3",
            "propromo_chat_connections{door=\"propromo\"} 1",
            "propromo_chat_connections{door=\"channel\"} 0",
            "propromo_chat_http_requests_total{endpoint=\"/login\",method=\"PUT\",status=\"404\"} 1",
            "propromo_chat_http_request_seconds_bucket{le=\"0.005\",endpoint=\"/login\"} 1",
            "propromo_chat_refusals_total{reason=\"not_found\"} 1",
            "propromo_chat_handshakes_total{door=\"propromo\",result=\"token_used\"} 1",
            "propromo_chat_closes_total{code=\"1009\",reason=\"message too large\"} 1",
            "propromo_chat_logins_total{result=\"ok\"} 1",
            "propromo_chat_send_queue_bytes 17",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
    }

    #[test]
    fn the_page_ends_as_open_metrics_demands() {
        assert!(metrics().render().ends_with("# EOF\n"));
    }
}
