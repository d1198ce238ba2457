//! Opening and closing do not block for longer than asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use wal_core::sim::SimStorage;
use wal_core::{Durability, Error, Options, Wal};

mod slow;
use slow::Slow;

#[test]
fn and_goes_on_closing_when_the_time_is_up() {
    let disk = SimStorage::new(1);
    let hangs = Arc::new(AtomicBool::new(true));
    let slow = Slow::new(&disk, &hangs);
    let (wal, _) = Wal::open(slow, Options::default()).unwrap();
    let commit = wal.append_with("kept", Durability::Durable).unwrap();
    let begun = Instant::now();
    let other = wal.clone();
    let outcome = wal.close_timeout(Duration::from_millis(50));
    assert!(matches!(outcome, Err(Error::Timeout(_))), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(matches!(other.append("late"), Err(Error::Closed)));
    hangs.store(false, Ordering::SeqCst);
    commit.wait().unwrap();
    other.close_timeout(Duration::from_secs(60)).unwrap();
    assert!(Wal::open(disk, Options::default()).unwrap().1.clean);
}

struct Nudge(std::thread::Thread);

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_log_is_opened_without_a_runtime_of_its_own() {
    let disk = SimStorage::new(1);
    let mut opening = Wal::open_async(disk.clone(), Options::default());
    let waker = Waker::from(Arc::new(Nudge(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let (wal, _) = loop {
        match Pin::new(&mut opening).poll(&mut context) {
            std::task::Poll::Ready(outcome) => break outcome.unwrap(),
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    wal.commit("a").unwrap();
    // While it is open, another open is refused; the refusal arrives the same way.
    let refused = Wal::open_async(disk, Options::default());
    let mut refused = std::pin::pin!(refused);
    let refused = loop {
        match refused.as_mut().poll(&mut context) {
            std::task::Poll::Ready(outcome) => break outcome,
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert!(refused.is_err());
}
