//! Appends that are stored some polls later.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Outcome;

/// Finishes after some polls; until then another append may overtake it. An append to a
/// segment that is still being created waits for that, unless it has failed.
pub(super) struct Late<H, W: FnOnce() -> Outcome<()>> {
    pub(super) polls: u64,
    /// So many more polls while `held`.
    pub(super) patience: u64,
    pub(super) held: H,
    pub(super) work: Option<W>,
}

impl<H, W> Future for Late<H, W>
where
    H: Fn() -> bool + Unpin,
    W: FnOnce() -> Outcome<()> + Unpin,
{
    type Output = Outcome<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
        } else if self.patience > 0 && (self.held)() {
            self.patience -= 1;
        } else {
            return Poll::Ready(self.work.take().map_or(Ok(()), |work| work()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Work that was begun is done, whether or not anybody waits for it.
impl<H, W: FnOnce() -> Outcome<()>> Drop for Late<H, W> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = work();
        }
    }
}
