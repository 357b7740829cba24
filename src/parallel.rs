//! Work on all processors, with results in order.

use std::{
    hint,
    num::NonZeroUsize,
    panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, Scope},
};

/// Bytes of a thread's stack: documents nest, and the standard 2 MiB are few in a build without optimisation.
const STACK: usize = 32 * 1024 * 1024;
/// Results that a thread may have ready before they are taken.
const READY: usize = 2;
/// Bytes that a thread has at hand for what it makes.
const AT_HAND: usize = 8 * 1024 * 1024;

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Lets the thread's allocator ask the system for memory once.
///
/// glibc's gives a thread memory page by page, with a system call for each that holds up the other threads. What was
/// asked for and given back it keeps: the first time it learns that so much at once is nothing special, the second time
/// it takes it from the thread's own. No page of it is touched before it is used.
fn with_memory_at_hand() {
    for _ in 0..2 {
        drop(hint::black_box(Vec::<u8>::with_capacity(AT_HAND)));
    }
}

/// Does the same with each item; the results are in the order of the items.
pub fn each<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
        {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors().min(items.len()) {
            // Where not even one more thread can be had, this one does the work below.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
                with_memory_at_hand();
                worker();
            });
        }
    });
    worker();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Does two things at a time.
pub fn both<A: Send, B>(first: impl Fn() -> A + Sync, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            with_memory_at_hand();
            first()
        });
        let b = second();
        match other {
            Ok(thread) => (thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)), b),
            Err(_) => (first(), b),
        }
    })
}

/// Frees a large value while other work goes on: nobody waits for it.
pub fn dropped(value: impl Send + 'static) {
    // Where no more threads are to be had it is freed here.
    drop(thread::Builder::new().stack_size(STACK).spawn(move || drop(value)));
}

/// Gives the results for 0 to `count` to `take`, in order and as they come: few of them are in memory at once. Each
/// thread has a worker of its own, which may keep what it learns.
///
/// # Errors
/// The first one that `take` has; what is still worked on is thrown away.
pub fn in_order<T: Send, W: FnMut(usize) -> T, E>(
    count: usize,
    worker: impl Fn() -> W + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = processors().min(count);
    thread::scope(|scope| {
        let start = |first| started(scope, first..count, threads, &worker);
        let receivers: Vec<_> = (0..threads).map_while(|first| if threads > 1 { start(first) } else { None }).collect();
        if receivers.len() < threads {
            // There are no more threads to be had.
            drop(receivers);
            let mut work = worker();
            return (0..count).try_for_each(|index| take(work(index)));
        }
        for index in 0..count {
            // A worker that is gone has panicked: the scope ends with its panic.
            let Some(Ok(result)) = receivers.get(index % threads).map(Receiver::recv) else { break };
            take(result)?;
        }
        Ok(())
    })
}

/// A thread that works on each `step`-th index of a range.
fn started<'s, 'e, T: Send + 's, W: FnMut(usize) -> T>(
    scope: &'s Scope<'s, 'e>,
    range: std::ops::Range<usize>,
    step: usize,
    worker: &'s (impl Fn() -> W + Sync),
) -> Option<Receiver<T>> {
    let (sender, receiver) = mpsc::sync_channel(READY);
    let run = move || {
        with_memory_at_hand();
        let mut work = worker();
        for index in range.step_by(step) {
            if sender.send(work(index)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).ok()?;
    Some(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_is_faster() {
        let slow = |index: &usize| {
            thread::sleep(std::time::Duration::from_micros(((index * 7) % 5) as u64 * 100));
            index * 2
        };
        let expected: Vec<usize> = (0..50).map(|index| index * 2).collect();
        assert_eq!(each(&(0..50).collect::<Vec<_>>(), slow), expected);
        for count in [0, 1, 50] {
            let mut got = Vec::new();
            let taken = |result| {
                got.push(result);
                Ok::<(), ()>(())
            };
            in_order(count, || |index| slow(&index), taken).unwrap();
            assert_eq!(got, expected[..count], "{count}");
        }
    }

    #[test]
    fn an_error_of_the_taker_ends_the_work() {
        let asked = AtomicUsize::new(0);
        let work = || {
            |index| {
                asked.fetch_add(1, Ordering::Relaxed);
                index
            }
        };
        let result = in_order(100_000, work, |index| if index < 3 { Ok(()) } else { Err(index) });
        assert_eq!(result, Err(3));
        assert!(asked.load(Ordering::Relaxed) < 1000, "the rest is not asked");
    }
}
