//! Logs: `tracing` to standard error, for people or as JSON. They never have a token, a password or the text of a
//! message.

use crate::request_id::RequestId;
use std::{
    fmt,
    io::{self, IsTerminal},
    net::IpAddr,
    panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, JsonFields, Writer},
        time::SystemTime,
    },
    registry::LookupSpan,
};

/// The values of `LOG_FORMAT`.
pub const FORMATS: &[&str] = &["text", "json"];

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Threads that have panicked since the start.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many threads have panicked since the start of logging.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Starts logging, once per process; further calls change nothing.
///
/// `level` and `format` are `LOG_LEVEL` and `LOG_FORMAT`, checked with [`check_level`] and [`FORMATS`].
pub fn start(level: &str, format: &str) {
    let filter = filter(level).unwrap_or_else(|_| EnvFilter::default().add_directive(LevelFilter::INFO.into()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // If it reported its own failures, it would panic when standard error is closed.
        .log_internal_errors(false);
    // In the form of RFC 3339, in UTC.
    let line = format::format().with_timer(SystemTime);
    let started = match format {
        "json" => {
            let inner = line.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let line = WithRequest { inner, insert: json_request };
            tracing::subscriber::set_global_default(
                subscriber.fmt_fields(JsonFields::new()).event_format(line).finish(),
            )
        }
        _ => {
            let inner = line.with_ansi(io::stderr().is_terminal());
            let line = WithRequest { inner, insert: text_request };
            tracing::subscriber::set_global_default(subscriber.event_format(line).finish())
        }
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// Adds the id of the thread's present request to the lines of another format.
struct WithRequest<F> {
    inner: F,
    /// Inserts the id into a line, which ends with a line feed.
    insert: fn(&mut String, &RequestId),
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(request) = RequestId::current() else { return self.inner.format_event(context, out, event) };
        let mut line = String::with_capacity(256);
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        (self.insert)(&mut line, &request);
        out.write_str(&line)
    }
}

fn text_request(line: &mut String, request: &RequestId) {
    let end = line.trim_end_matches('\n').len();
    line.insert_str(end, &format!(" request={}", request.as_str()));
}

/// Nothing in an id needs an escape in JSON.
fn json_request(line: &mut String, request: &RequestId) {
    if let Some(end) = line.rfind('}') {
        line.insert_str(end, &format!(",\"request\":\"{}\"", request.as_str()));
    }
}

/// A request or handshake that was answered.
pub struct Access<'a> {
    pub method: &'static str,
    /// The pattern of its path, or the name of its door: paths and queries may hold secrets.
    pub endpoint: &'a str,
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: usize,
    pub time: Duration,
    pub client: IpAddr,
}

impl Access<'_> {
    /// Writes the line of the request: at `info` with `ACCESS_LOG`, otherwise at a lower level.
    pub fn log(&self, at_info: bool) {
        let Access { method, endpoint, status, bytes, time, client } = self;
        let seconds = time.as_secs_f64();
        if at_info {
            tracing::info!(method, endpoint, status, bytes, seconds, %client, "answered");
        } else {
            tracing::debug!(method, endpoint, status, bytes, seconds, %client, "answered");
        }
    }
}

/// Checks whether `LOG_LEVEL` is valid. The error says what it should be.
pub fn check_level(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

/// A level alone is for this crate; other crates then log only warnings and errors.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let text = text.trim();
    let expected = || "error, warn, info, debug, trace or a filter such as info,propromo_chat::door=debug".to_owned();
    let level = text.to_ascii_lowercase();
    let directives = match level.as_str() {
        "off" | "error" | "warn" => level,
        "info" | "debug" | "trace" => format!("warn,propromo_chat={level}"),
        // EnvFilter would read a misspelt level as the name of a crate, and log only that crate.
        _ if !names_a_level(&level) => return Err(expected()),
        _ => text.to_owned(),
    };
    EnvFilter::builder().with_regex(false).parse(directives).map_err(|_| expected())
}

fn names_a_level(text: &str) -> bool {
    text.split(',').all(|directive| LEVELS.contains(&directive.rsplit('=').next().unwrap_or(directive).trim()))
}

/// Counts a panic, and logs it as an error, instead of printing the default text.
///
/// A message that was formatted at run time may quote a client, so only literal messages are shown.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message not shown)");
    tracing::error!(place, thread = thread::current().name().unwrap_or("unnamed"), "a thread panicked: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_alone_keeps_other_crates_quiet() {
        assert_eq!(filter("DEBUG").unwrap().to_string(), "propromo_chat=debug,warn");
        assert_eq!(filter("error").unwrap().to_string(), "error");
    }

    #[test]
    fn a_filter_is_taken_as_it_is() {
        assert_eq!(filter("info,tiny_http=debug").unwrap().to_string(), "tiny_http=debug,info");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in ["inof", "propromo_chat", "info,door", "propromo_chat=loud", "", "[", "info,,"] {
            assert!(check_level(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_request_stands_at_the_end_of_a_line() {
        let request = RequestId::passed_on("5f3a-1");
        let mut text = String::from("INFO refused reason=\"x}\"\n");
        text_request(&mut text, &request);
        assert_eq!(text, "INFO refused reason=\"x}\" request=5f3a-1\n");
        let mut json = String::from("{\"message\":\"refused }\"}\n");
        json_request(&mut json, &request);
        assert_eq!(json, "{\"message\":\"refused }\",\"request\":\"5f3a-1\"}\n");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|[=,:\\[\\]{}]|info|debug){0,12}") {
            let _ = check_level(&text);
        }
    }
}
