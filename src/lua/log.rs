//! Where log and trace lines go: into the queues of the Lua states that asked for them, by `mqtt.log` and `mqtt.trace`.
//!
//! The library logs with `tracing`. Until a script asks there is no subscriber, and a line costs one load of an atomic.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, Weak};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::event_queue::{Entry, EventQueue};
use crate::session::TRACE_TARGET;

/// A Lua state, and what it asked for.
struct Listener {
    queue: Weak<EventQueue>,
    log: bool,
    trace: bool,
}

static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());
/// Whether any of them wants log lines, or trace lines.
static LOG: AtomicBool = AtomicBool::new(false);
static TRACE: AtomicBool = AtomicBool::new(false);

/// `mqtt.log` was called.
pub(super) fn subscribe_log(queue: &Arc<EventQueue>, wanted: bool) {
    change(queue, |listener| listener.log = wanted);
}

/// `mqtt.trace` was called.
pub(super) fn subscribe_trace(queue: &Arc<EventQueue>, wanted: bool) {
    change(queue, |listener| listener.trace = wanted);
}

/// Whether any state wants lines.
#[inline]
pub(super) fn anybody_listens() -> bool {
    LOG.load(Ordering::Relaxed) || TRACE.load(Ordering::Relaxed)
}

/// The state ends.
pub(super) fn unsubscribe(queue: &Arc<EventQueue>) {
    change(queue, |listener| (listener.log, listener.trace) = (false, false));
}

fn change(queue: &Arc<EventQueue>, change: impl FnOnce(&mut Listener)) {
    let mut listeners = LISTENERS.lock();
    let index = listeners.iter().position(|listener| listener.queue.ptr_eq(&Arc::downgrade(queue)));
    let index = index.unwrap_or_else(|| {
        listeners.push(Listener { queue: Arc::downgrade(queue), log: false, trace: false });
        listeners.len() - 1
    });
    change(&mut listeners[index]);
    listeners.retain(|listener| (listener.log || listener.trace) && listener.queue.strong_count() > 0);
    let log = listeners.iter().any(|listener| listener.log);
    let trace = listeners.iter().any(|listener| listener.trace);
    // under the lock, so that of two threads the one that looked last also stores last
    let changed = (LOG.swap(log, Ordering::Relaxed) != log) | (TRACE.swap(trace, Ordering::Relaxed) != trace);
    drop(listeners);
    if changed {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // fails where the program has a subscriber of its own: then that one gets the lines
            let _ = tracing::subscriber::set_global_default(Router);
        });
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The subscriber.
struct Router;

impl Router {
    fn wants(metadata: &Metadata<'_>) -> bool {
        if metadata.target() == TRACE_TARGET {
            TRACE.load(Ordering::Relaxed)
        } else {
            let ours = metadata.target() == "mqtt" || metadata.target().starts_with("mqtt::");
            ours && *metadata.level() <= Level::INFO && LOG.load(Ordering::Relaxed)
        }
    }
}

impl Subscriber for Router {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        if Router::wants(metadata) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match (TRACE.load(Ordering::Relaxed), LOG.load(Ordering::Relaxed)) {
            (true, _) => LevelFilter::TRACE,
            (false, true) => LevelFilter::INFO,
            (false, false) => LevelFilter::OFF,
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Router::wants(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text(String::new());
        event.record(&mut text);
        let is_packet = metadata.target() == TRACE_TARGET;
        let listeners = LISTENERS.lock();
        let wants = |listener: &&Listener| if is_packet { listener.trace } else { listener.log };
        for queue in listeners.iter().filter(wants).filter_map(|listener| listener.queue.upgrade()) {
            let text = text.0.clone();
            queue.push(if is_packet {
                Entry::Trace(text)
            } else {
                Entry::Log { level: level_name(*metadata.level()), text }
            });
        }
    }

    // There are no spans in this library.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        _ => "info",
    }
}

/// An event's message, and its other fields as `name=value`.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // writing to a string cannot fail
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
