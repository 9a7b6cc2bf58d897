//! A runtime of the worker's own, for connections and loops: a handler that blocks the threads of
//! the application's runtime must not stop heartbeats.

use std::{future::Future, io, num::NonZero};

use tokio::runtime::{Builder, Handle, Runtime};

/// More threads gain nothing.
const THREADS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Io(Option<Runtime>);

impl Io {
    pub(crate) fn new() -> io::Result<Self> {
        // Handlers and servers want the cores too: a thread that waits for one costs switches.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (cores / 2).clamp(1, THREADS_MAX);
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(threads)
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
