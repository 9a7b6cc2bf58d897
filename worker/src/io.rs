//! A runtime of the worker's own, for connections and loops: a handler that blocks the threads of
//! the application's runtime must not stop heartbeats.

use std::{future::Future, io};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads: enough that one slow poll does not hold up the heartbeat.
const THREADS: usize = 2;

#[derive(Debug)]
pub(crate) struct Io(Option<Runtime>);

impl Io {
    pub(crate) fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(THREADS)
            .thread_name("haul-io")
            .enable_all();
        builder.build().map(|runtime| Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Handle {
        // Taken only by drop.
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // Waiting for it would panic inside another runtime, which is where workers live.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `future` on `io` and waits for it here.
pub(crate) async fn on<T: Send + 'static>(
    io: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    io.spawn(future).await.ok()
}
