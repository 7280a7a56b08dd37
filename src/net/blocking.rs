//! Work that blocks: the system's resolver, files.

use std::io;
use std::thread;

/// The result of `work`, done by a thread of its own, which goes on to its end even when nobody waits any more.
///
/// smol has a pool for this, but its threads stay and wake up twice a second for ever.
///
/// # Errors
/// The system has no thread to give, or the work panicked.
pub(super) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (give, result) = smol::channel::bounded(1);
    thread::Builder::new().name(NAME.into()).spawn(move || {
        // nobody may wait any more
        let _ = give.try_send(work());
    })?;
    result.recv().await.map_err(|_| io::Error::other("internal error"))
}

const NAME: &str = "mqtt-blocking";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_comes_back_and_a_panic_is_an_error() {
        smol::block_on(async {
            assert_eq!(unblock(|| 5).await.unwrap(), 5);
            let panicking: io::Result<()> = unblock(|| panic!("on purpose")).await;
            assert!(panicking.is_err());
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_pool_of_threads_is_left_behind() {
        let address = smol::block_on(crate::net::resolve("localhost", 1));
        assert!(!address.unwrap().is_empty());
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            // a thread may end meanwhile
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            assert!(!name.starts_with("blocking-"), "{name}");
        }
    }
}
