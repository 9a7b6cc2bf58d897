//! A window that is out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use lapin::{Channel, Confirmation};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    ANSWER, errors,
    parcel::Packed,
    window::{Returned, Window},
};
use crate::ports::Confirm;

/// A window that is out, and who waits for it.
pub(super) struct Sent {
    window: Window,
    waiting: Vec<oneshot::Sender<Confirm>>,
    pending: FuturesUnordered<BoxFuture<'static, (usize, lapin::Result<Confirmation>)>>,
    deadline: Instant,
    misses_exchange: bool,
}

/// Whether somebody was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sent {
    /// Sends all, in this order, pipelined.
    pub(super) fn new(
        channel: &Arc<Channel>,
        packed: Vec<Packed>,
        returned: &mut Returned,
    ) -> Self {
        let mut identities = Vec::with_capacity(packed.len());
        let mut waiting = Vec::with_capacity(packed.len());
        let pending = FuturesUnordered::new();
        for (index, one) in packed.into_iter().enumerate() {
            identities.push(one.identity);
            waiting.push(one.answer);
            let (parcel, channel) = (one.parcel, Arc::clone(channel));
            pending.push(async move { (index, parcel.publish(&channel).await) }.boxed());
        }
        let mut sent = Self {
            window: Window::new(identities),
            waiting,
            pending,
            deadline: Instant::now() + ANSWER,
            misses_exchange: false,
        };
        // All are polled by this task alone and for the first time in this order, which is the order
        // in which they go out.
        sent.catch_up(returned);
        sent
    }

    /// Takes down every answer; false when not all came in time.
    pub(super) async fn answered(&mut self, returned: &mut Returned) -> bool {
        let deadline = self.deadline;
        let all = async {
            while let Some((index, result)) = self.pending.next().await {
                self.note(index, result, returned);
            }
        };
        timeout_at(deadline, all).await.is_ok()
    }

    /// Takes down every answer that is there.
    pub(super) fn catch_up(&mut self, returned: &mut Returned) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.pending.poll_next_unpin(&mut context) {
                Poll::Ready(Some((index, result))) => self.note(index, result, returned),
                // It also says so when it has merely polled for long. Then it wakes its caller.
                Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => {}
                Poll::Pending | Poll::Ready(None) => return,
            }
        }
    }

    fn note(&mut self, index: usize, result: lapin::Result<Confirmation>, returned: &mut Returned) {
        self.misses_exchange |= result.as_ref().is_err_and(errors::is_not_found);
        self.window.note(index, result, returned);
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn is_whole(&self) -> bool {
        self.window.is_whole()
    }

    pub(super) const fn misses_exchange(&self) -> bool {
        self.misses_exchange
    }

    /// Tells everybody who waits.
    pub(super) fn judge(self, sound: bool, returned: &Returned) {
        let confirms = self.window.judge(sound, returned, "no confirm in time");
        for (waiting, confirm) in self.waiting.into_iter().zip(confirms) {
            let _ = waiting.send(confirm);
        }
    }
}
