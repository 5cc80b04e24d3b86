//! What the server counts, for `/metrics`.

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The server's figures. Each is an atomic, so counting never waits.
pub struct Metrics {
    registry: Registry,
    /// WebSockets open now.
    pub connections: Gauge,
    /// Messages taken from members.
    pub messages: Counter,
    /// Messages handed to members' sockets, counted once a member.
    pub deliveries: Counter,
    responses: Labelled<1>,
    handshakes: Labelled<2>,
    logins: Labelled<1>,
}

/// Label values are words of ours, never of clients: so there are few.
type Labelled<const N: usize> = Family<[(&'static str, &'static str); N], Counter>;

impl Metrics {
    /// A plain HTTP request was answered with `status`.
    pub fn answered(&self, status: u16) {
        let class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.responses.get_or_create(&[("class", class)]).inc();
    }

    /// A handshake at `door` ended: `ok`, or the word of the refusal's reason.
    pub fn handshake(&self, door: &'static str, result: &'static str) {
        self.handshakes.get_or_create(&[("door", door), ("result", result)]).inc();
    }

    /// Someone gave email and password: `ok`, or the word of the refusal's reason.
    pub fn login(&self, result: &'static str) {
        self.logins.get_or_create(&[("result", result)]).inc();
    }

    /// All figures as OpenMetrics text, which Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = String::new();
        if let Err(error) = text::encode(&mut page, &self.registry) {
            tracing::error!(%error, "the figures can't be written");
        }
        page
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("propromo_chat"),
            connections: Gauge::default(),
            messages: Counter::default(),
            deliveries: Counter::default(),
            responses: Family::default(),
            handshakes: Family::default(),
            logins: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("build", "Which version runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("connections", "WebSockets open now", metrics.connections.clone());
        registry.register("messages", "Messages taken from members", metrics.messages.clone());
        registry.register("deliveries", "Messages handed to members, once a member", metrics.deliveries.clone());
        registry.register("http_responses", "Plain HTTP requests answered, by status", metrics.responses.clone());
        registry.register("handshakes", "WebSocket handshakes, by door and result", metrics.handshakes.clone());
        registry.register("logins", "Logins with email and password, by result", metrics.logins.clone());
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_line(metrics: &Metrics, line: &str) -> bool {
        metrics.render().lines().any(|l| l == line)
    }

    #[test]
    fn what_was_counted_is_on_the_page() {
        let metrics = Metrics::default();
        metrics.connections.inc();
        metrics.messages.inc_by(3);
        metrics.answered(204);
        metrics.answered(404);
        metrics.handshake("propromo", "token_used");
        metrics.login("ok");
        for line in [
            "propromo_chat_connections 1",
            "propromo_chat_messages_total 3",
            "propromo_chat_http_responses_total{class=\"2xx\"} 1",
            "propromo_chat_http_responses_total{class=\"4xx\"} 1",
            "propromo_chat_handshakes_total{door=\"propromo\",result=\"token_used\"} 1",
            "propromo_chat_logins_total{result=\"ok\"} 1",
        ] {
            assert!(has_line(&metrics, line), "{line}\n{}", metrics.render());
        }
    }

    #[test]
    fn the_page_ends_as_open_metrics_demands() {
        assert!(Metrics::default().render().ends_with("# EOF\n"));
    }
}
