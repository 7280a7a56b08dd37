//! The end of the process, or of one owner of clients: everybody says goodbye within one limit.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Client;
use super::shared::Shared;
use crate::sys;

/// What all clients together get when the process ends.
const AT_EXIT: Duration = Duration::from_secs(1);

/// Every client that lives, and some that did.
static CLIENTS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Adds a new client. Dead entries are thrown out when the list would grow, so that this costs nothing on average.
pub(super) fn register(client: &Arc<Shared>) {
    sys::install(at_exit);
    let mut clients = CLIENTS.lock();
    if clients.len() == clients.capacity() {
        clients.retain(|client| client.strong_count() > 0);
    }
    clients.push(Arc::downgrade(client));
}

/// Closes every client that `which` chooses, as [`Client::close`] does, and waits until all have said goodbye or `limit`
/// (in real time) is over; what is left then is cut. Attempts that no broker has accepted are cut at once.
///
/// May be called on any thread but the reactor's, also at exit, and again. Does nothing in a forked child.
pub fn shutdown_all(limit: Duration, which: impl Fn(&Client) -> bool) {
    if sys::forked() {
        return;
    }
    let deadline = Instant::now() + limit;
    let clients: Vec<Client> = {
        let clients = CLIENTS.lock();
        clients.iter().filter_map(Weak::upgrade).map(Client::from_shared).collect()
    };
    let clients: Vec<Client> = clients.into_iter().filter(which).collect();
    for client in &clients {
        client.shared.end(); // in the background: this may be a thread that has ended all but itself
    }
    for client in &clients {
        client.shared.await_goodbye(deadline);
    }
}

/// Registered with the system, so that a process without another way to end says goodbye as well.
pub(super) fn at_exit() {
    shutdown_all(AT_EXIT, |_| true);
}
