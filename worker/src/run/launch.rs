//! Starts handlers on the application's runtime: what they do there does not hold up our loops.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::{
    FutureExt,
    future::{AbortHandle, abortable},
};
use tokio::{runtime::Handle, sync::oneshot, task::yield_now};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Handlers that are to start. Those of about the same time start together, for it costs more to wake
/// a runtime than to run a short handler.
#[derive(Clone)]
pub(super) struct Launcher {
    app: Handle,
    ready: Arc<Mutex<Vec<Task>>>,
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launcher").finish_non_exhaustive()
    }
}

impl Launcher {
    pub(super) fn new(app: Handle) -> Self {
        Self {
            app,
            ready: Arc::default(),
        }
    }

    /// Starts it soon. Call it on our own runtime.
    pub(super) fn start<T: Send + 'static>(
        &self,
        handler: impl Future<Output = T> + Send + 'static,
    ) -> Started<T> {
        let (tell, outcome) = oneshot::channel();
        let (handler, abort) = abortable(AssertUnwindSafe(handler).catch_unwind());
        let task = async move {
            if let Ok(outcome) = handler.await {
                let _ = tell.send(outcome);
            }
        };
        let mut ready = self.ready();
        ready.push(Box::pin(task));
        if ready.len() == 1 {
            tokio::spawn(self.clone().launch());
        }
        Started { abort, outcome }
    }

    /// Takes along what is started by whoever runs before us.
    async fn launch(self) {
        yield_now().await;
        let mut tasks = std::mem::take(&mut *self.ready());
        match (tasks.pop(), tasks.is_empty()) {
            (Some(only), true) => drop(self.app.spawn(only)),
            (last, _) => drop(self.app.spawn(async {
                for task in tasks.into_iter().chain(last) {
                    tokio::spawn(task);
                }
            })),
        }
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Task>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler that was started: its outcome, or its panic; nothing if it was aborted, or its runtime
/// shut down. Aborted when dropped.
#[derive(Debug)]
pub(super) struct Started<T> {
    abort: AbortHandle,
    outcome: oneshot::Receiver<Result<T, Box<dyn Any + Send>>>,
}

impl<T> Started<T> {
    /// Ends it where it next yields.
    pub(super) fn abort(&self) {
        self.abort.abort();
    }
}

impl<T> Future for Started<T> {
    type Output = Option<Result<T, Box<dyn Any + Send>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.poll_unpin(cx).map(Result::ok)
    }
}

impl<T> Drop for Started<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn those_that_start_together_end_each_in_its_own_way() {
        let launcher = Launcher::new(Handle::current());
        let (held, dropped) = oneshot::channel::<()>();
        let forgotten = launcher.start(async {
            let _held = held;
            pending::<()>().await;
        });
        let fine = launcher.start(ready(1));
        let panics = launcher.start(async { panic!("as it does in this test") });
        let mut aborted = launcher.start(pending::<()>());
        let late = launcher.start(async {
            yield_now().await;
            2
        });
        assert!((&mut aborted).now_or_never().is_none());
        aborted.abort();
        drop(forgotten);
        assert!(aborted.await.is_none());
        assert!(dropped.await.is_err(), "what is dropped holds nothing");
        assert_eq!(fine.await.unwrap().unwrap(), 1);
        assert_eq!(late.await.unwrap().unwrap(), 2);
        let panic = panics.await.unwrap().unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"as it does in this test"));
    }

    #[test]
    fn a_runtime_that_shut_down_runs_nothing() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let app = runtime();
        let launcher = Launcher::new(app.handle().clone());
        drop(app);
        let outcome = runtime().block_on(async { launcher.start(ready(())).await });
        assert!(outcome.is_none());
    }
}
