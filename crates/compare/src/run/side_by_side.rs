//! Independent work, several pieces at a time.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rayon::ThreadPoolBuilder;

use crate::error::{Error, Result};

/// `work` on every item and its number, `jobs` at a time, each on an equal share of the current threads; results in the order of the
/// items. After an error nothing more is begun, and what was begun is finished.
///
/// # Errors
/// One of those that `work` gave, or when a thread cannot be had.
pub(super) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    jobs: NonZeroUsize,
    work: impl Fn(usize, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let jobs = jobs.get().min(items.len());
    if jobs <= 1 {
        return items.iter().enumerate().map(|(number, item)| work(number, item)).collect();
    }
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let next = AtomicUsize::new(0);
    let job = || -> Result<Vec<(usize, R)>> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::Threads(error.to_string()))?;
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return Ok(done) };
            let result = pool.install(|| work(number, item));
            done.push((number, result.inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?));
        }
    };
    let parts: Vec<Result<Vec<(usize, R)>>> = thread::scope(|scope| {
        let running: Vec<_> = (0..jobs).map(|_| scope.spawn(job)).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut done: Vec<(usize, R)> = parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    fn jobs(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn results_keep_the_order_of_the_items_whatever_the_number_of_jobs() {
        let items: Vec<usize> = (10..27).collect();
        for count in [1, 2, 3, 40] {
            let found = side_by_side(&items, jobs(count), |number, item| Ok(number * 100 + item)).unwrap();
            assert_eq!(found, (0..17).map(|number| number * 101 + 10).collect::<Vec<_>>(), "{count} jobs");
        }
        assert!(side_by_side(&[] as &[u8], jobs(2), |_, _| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn two_jobs_run_at_the_same_time_on_half_of_the_threads() {
        let pool = ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        // Nobody would pass it alone.
        let both = Barrier::new(2);
        let threads = pool.install(|| {
            side_by_side(&[(), ()], jobs(2), |_, ()| {
                both.wait();
                Ok(rayon::current_num_threads())
            })
        });
        assert_eq!(threads.unwrap(), [2, 2]);
    }

    #[test]
    fn nothing_is_begun_after_an_error() {
        for count in [1, 2] {
            let begun = AtomicUsize::new(0);
            let found = side_by_side(&[(); 100], jobs(count), |number, ()| {
                begun.fetch_add(1, Ordering::Relaxed);
                if number == 0 {
                    return Err(Error::Report("the first".to_owned()));
                }
                // A second for all of them: the first has failed long before.
                thread::sleep(Duration::from_millis(10));
                Ok(())
            });
            assert!(found.unwrap_err().to_string().contains("the first"));
            assert!(begun.into_inner() < 100, "{count} jobs");
        }
    }
}
