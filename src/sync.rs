//! Locking of mutexes, and work on several threads.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The minimum number of items for using several threads.
pub(crate) const PARALLEL_THRESHOLD: usize = 256;
/// The maximum number of threads, to leave processors to other programs.
const MAX_THREADS: usize = 4;

/// Locks a mutex, even after a thread panicked while it held the lock.
///
/// The values behind the mutexes of this crate are valid after every single assignment.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps each item, on several threads if there are many. Returns the results in the order of the
/// items.
pub(crate) fn map_in_parallel<I: Sync, T: Send>(
    items: &[I],
    map: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let map_part = |part: &[I]| -> Vec<T> { part.iter().map(&map).collect() };
    let threads = match items.len() {
        0..PARALLEL_THRESHOLD => 1,
        _ => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
    };
    thread::scope(|scope| {
        let mut parts = items.chunks(items.len().div_ceil(threads).max(1));
        let first = parts.next().unwrap_or_default();
        let others: Vec<_> = parts
            .map(|part| {
                let thread = thread::Builder::new();
                (part, thread.spawn_scoped(scope, || map_part(part)))
            })
            .collect();
        let mut results = map_part(first);
        for (part, other) in others {
            results.extend(match other {
                Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The thread could not be spawned, so use this one.
                Err(_) => map_part(part),
            });
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        for len in [0, 1, PARALLEL_THRESHOLD * 5 + 1] {
            let items: Vec<usize> = (0..len).collect();
            assert_eq!(map_in_parallel(&items, |n| *n), items);
        }
    }
}
