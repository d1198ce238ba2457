//! Waiting for a future on this thread, without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::sync::{Thread, current, park, park_timeout};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks the calling thread.
pub(crate) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(current())))
}

/// Polls `future` on this thread until it is ready. A future that is ready at
/// once, as those of storage that blocks are, costs one poll.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match block_until(future, None) {
        Some(output) => output,
        // Without a deadline the loop below only ends with an output.
        None => unreachable!("no deadline was given"),
    }
}

/// As [`block_on`], but gives up at `deadline`.
pub(crate) fn block_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Poll::Ready(output) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        return Some(output);
    }
    let waker = thread_waker();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline {
            None => park(),
            Some(deadline) => {
                let left = deadline.checked_duration_since(Instant::now())?;
                park_timeout(left);
            }
        }
    }
}
