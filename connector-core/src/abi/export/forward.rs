//! Logs and panics of a library of its own: its `tracing` and its panic hook know nothing of the host's.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::super::{Host, Str};
use super::answer::{PANIC_PLACE, literal};

/// Sends what this library logs, and its panics, to the host.
pub(super) fn install(host: Host, library: &'static str) {
    // Fails when the library has a subscriber of its own, which then is what its author wants.
    let _ = tracing::subscriber::set_global_default(Forwarder { host });
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = literal(panic.payload()).map(|text| format!(": {text}")).unwrap_or_default();
        log(&host, 1, library, &format!("a plugin panicked at {place}{text}"));
        PANIC_PLACE.set(Some(place));
    }));
}

fn log(host: &Host, level: u32, target: &str, message: &str) {
    if let Some(log) = host.log {
        unsafe { log(level, Str::new(target), Str::new(message)) };
    }
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Events as one line of text; spans are left to the library.
struct Forwarder {
    host: Host,
}

impl Subscriber for Forwarder {
    /// The host's level may change.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = self.host.log_level.map_or(3, |level| unsafe { level() });
        metadata.is_event() && number(*metadata.level()) <= most
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        log(&self.host, number(*event.metadata().level()), event.metadata().target(), &line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}
