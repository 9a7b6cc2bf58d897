//! Put a worker together.

use std::{
    collections::BTreeMap, fmt, future::Future, net::SocketAddr, num::NonZeroU32, sync::Arc,
    time::Duration,
};

use haul_common::{
    connect::{Backend, ConnectError, Urls},
    job::{Failure, JobId, Json, QueueName, Task},
    life::Life,
};
use tokio::sync::mpsc;

use crate::{
    Context,
    handler::Registry,
    io::Io,
    run::{self, Parts, RunError, Running},
    tasks::{
        self,
        http::{Http, HttpRequest},
        shell::ShellRules,
    },
};

/// What a worker is made of. Its loops and connections have a runtime of their own; handlers run
/// on the runtime that starts the worker.
#[derive(Debug)]
pub struct Worker<S> {
    state: Arc<S>,
    pub(crate) parts: Parts,
}

impl Worker<()> {
    /// Connects: `"sqlite:haul.db"`, or `("amqp://localhost", "redis://localhost")`.
    ///
    /// # Errors
    /// When a URL is none, or what it names cannot be reached or used.
    pub async fn connect(urls: impl Into<Urls> + Send) -> Result<Self, RunError> {
        let (io, urls) = (Io::new()?, urls.into());
        // Connected over there, so that the connections' own tasks live there.
        let connect = async move { Backend::connect(urls).await };
        let connected: Option<Result<Backend, ConnectError>> =
            crate::io::on(&io.handle(), connect).await;
        let backend = connected.ok_or(RunError::Stopped)??;
        Ok(Self::over(io, backend, true))
    }

    /// Over a backend that is connected already, for example a producer's in the same process.
    ///
    /// # Errors
    /// When no threads can be had.
    pub fn new(backend: Backend) -> Result<Self, RunError> {
        Ok(Self::over(Io::new()?, backend, false))
    }

    fn over(io: Io, backend: Backend, owns_backend: bool) -> Self {
        let parts = Parts {
            io,
            backend,
            owns_backend,
            registry: Registry::default(),
            queues: BTreeMap::new(),
            strict_lanes: false,
            grace: Duration::from_secs(30),
            guard_after: haul_common::protocol::GUARD_AFTER,
            at_most: None,
            until_idle: None,
            observer: None,
            listen: None,
            wrong: None,
        };
        Self {
            state: Arc::new(()),
            parts,
        }
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Gives the handlers that follow this state to share.
    pub fn state<N: Send + Sync + 'static>(self, state: N) -> Worker<N> {
        Worker {
            state: Arc::new(state),
            parts: self.parts,
        }
    }

    /// Consumes from this queue, `slots` jobs at once. May be called for several queues; without
    /// any, the worker consumes from `default` with twice as many slots as there are cores.
    #[must_use]
    pub fn queue<Q: TryInto<QueueName, Error: fmt::Display>>(
        mut self,
        queue: Q,
        slots: u32,
    ) -> Self {
        match queue.try_into() {
            Ok(queue) if slots > 0 => drop(self.parts.queues.insert(queue, slots)),
            Ok(queue) => self.wrong(format!("queue `{queue}` has no slots")),
            Err(error) => self.wrong(error.to_string()),
        }
        self
    }

    fn wrong(&mut self, what: String) {
        self.parts.wrong.get_or_insert(what);
    }

    /// Starts a job of a lower lane only when the higher ones are empty, instead of giving each
    /// lane its turn (8 : 4 : 2 : 1).
    #[must_use]
    pub const fn strict_lanes(mut self) -> Self {
        self.parts.strict_lanes = true;
        self
    }

    /// How long a drain waits for what runs, instead of 30 s.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.parts.grace = grace;
        self
    }

    /// How long an attempt holds its delivery before a guard stands in for it, instead of 10 min.
    /// Must stay well below the consumer time-out of RabbitMQ (30 min unless set otherwise).
    #[must_use]
    pub const fn guard_after(mut self, wait: Duration) -> Self {
        self.parts.guard_after = wait;
        self
    }

    /// Tells of every job that begins or ends an attempt here, once that is recorded. What happens
    /// to a job elsewhere, such as a cancel while it waits, is not told.
    #[must_use]
    pub fn observe(mut self, observer: mpsc::UnboundedSender<(JobId, Life)>) -> Self {
        self.parts.observer = Some(observer);
        self
    }

    /// Whether it has a handler for this task.
    pub fn knows(&self, task: &str) -> bool {
        self.parts.registry.contains(task)
    }

    /// Answers monitors on this address: `/metrics` for Prometheus, `/livez` and `/readyz`. Anybody
    /// who reaches it may ask, so keep it inside. An application with a server of its own can
    /// serve [`haul_common::metrics::registry`] and [`Running::status`] there instead.
    #[must_use]
    pub const fn listen(mut self, at: SocketAddr) -> Self {
        self.parts.listen = Some(at);
        self
    }

    /// Runs the jobs of `T` with this handler.
    #[must_use]
    pub fn handle<T, H, F>(mut self, handler: H) -> Self
    where
        T: Task,
        H: Fn(Context<S>, T) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T::Output, Failure>> + Send + 'static,
    {
        if self.parts.registry.contains(T::NAME) {
            self.wrong(format!("task `{}` has two handlers", T::NAME));
        }
        self.parts.registry.add(self.state.clone(), handler);
        self
    }

    /// Runs the jobs of `T` with this handler, which blocks: on a thread of its own. A thread
    /// cannot be aborted: after a time-out or a cancel it goes on, unheard, until it returns; let it
    /// look at [`Context::stop_cause`].
    #[must_use]
    pub fn handle_blocking<T, H>(self, handler: H) -> Self
    where
        T: Task,
        H: Fn(Context<S>, T) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        self.handle(move |ctx: Context<S>, args: T| {
            let handler = handler.clone();
            async move {
                match tokio::task::spawn_blocking(move || handler(ctx, args)).await {
                    Ok(result) => result,
                    // The panic goes on, to be caught where every handler's panic is.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => Err(Failure::retry(error)),
                    },
                }
            }
        })
    }

    /// Runs the jobs of every task that has no handler of its own: arguments and result are JSON.
    #[must_use]
    pub fn handle_others<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(Context<S>, Json) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Json, Failure>> + Send + 'static,
    {
        self.parts.registry.add_others(self.state.clone(), handler);
        self
    }

    /// Starts so many jobs at most, and ends by itself once they are done.
    #[must_use]
    pub const fn at_most(mut self, jobs: NonZeroU32) -> Self {
        self.parts.at_most = Some(jobs);
        self
    }

    /// Ends by itself once nothing runs, and nothing has been ready for this long.
    #[must_use]
    pub const fn until_idle(mut self, wait: Duration) -> Self {
        self.parts.until_idle = Some(wait);
        self
    }

    /// How `http.request` calls out. Without this, it does so unsigned, to public addresses, and to
    /// this machine where the backend is a file of it.
    #[must_use]
    pub fn http(mut self, http: Http) -> Self {
        if let Err(why) = tasks::register_http(&mut self.parts.registry, http) {
            self.wrong(format!("{}: {why}", HttpRequest::NAME));
        }
        self
    }

    /// Adds the built-in tasks: `haul.echo`, `http.request`, and as far as these rules allow it,
    /// `shell.run` and `script.run`.
    #[must_use]
    pub fn builtins(mut self, shell: impl Into<ShellRules>) -> Self {
        let embedded = self.parts.backend.embedded;
        tasks::register(&mut self.parts.registry, shell.into(), embedded);
        self
    }

    /// Runs until SIGTERM or SIGINT: the first drains, the second aborts.
    ///
    /// # Errors
    /// When an option is wrong, or the backend cannot be used as it is.
    pub async fn run(self) -> Result<(), RunError> {
        let running = self.start().await?;
        running.stop_on_signals();
        running.finished().await
    }

    /// Starts the worker and returns; stop it by what this returns.
    ///
    /// # Errors
    /// When an option is wrong, or the backend cannot be used as it is.
    pub async fn start(self) -> Result<Running, RunError> {
        run::start(self.parts).await
    }
}
