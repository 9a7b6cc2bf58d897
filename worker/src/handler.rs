//! From typed handlers to what the loops run.

use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc};

use haul_common::job::{BODY_BYTES_MAX, Failure, Json, Task, json};

use crate::{Context, context::Core};

/// Why a handler did not return a result.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It said so.
    Failed(Failure),
    /// The arguments are not what its task takes.
    BadArgs(String),
    /// This worker does not run its task, for this reason.
    Rejected(String),
}

/// A handler at work.
pub(crate) type Attempt = Pin<Box<dyn Future<Output = Result<Json, Stopped>> + Send>>;
type Handler = Arc<dyn Fn(Arc<Core>) -> Attempt + Send + Sync>;

/// Handlers by the names of their tasks, and one for all others.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    named: HashMap<&'static str, Handler>,
    others: Option<Handler>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}

impl Registry {
    pub(crate) fn get(&self, task: &str) -> Option<&Handler> {
        self.named.get(task).or(self.others.as_ref())
    }

    pub(crate) fn contains(&self, task: &str) -> bool {
        self.named.contains_key(task)
    }

    /// Tasks that have a handler.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &'static str> {
        self.named.keys().copied()
    }

    pub(crate) fn add<S, T, H, F>(&mut self, state: Arc<S>, handler: H)
    where
        S: Send + Sync + 'static,
        T: Task,
        H: Fn(Context<S>, T) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T::Output, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |core: Arc<Core>| -> Attempt {
            let (handler, state) = (handler.clone(), state.clone());
            Box::pin(async move {
                let args = serde_json::from_str(core.spec().args.get()).map_err(|error| {
                    Stopped::BadArgs(format!("the arguments of {}: {error}", T::NAME))
                })?;
                let output = handler(Context::new(core, state), args).await;
                written(&output.map_err(Stopped::Failed)?)
            })
        };
        self.named.insert(T::NAME, Arc::new(run));
    }

    pub(crate) fn add_others<S, H, F>(&mut self, state: Arc<S>, handler: H)
    where
        S: Send + Sync + 'static,
        H: Fn(Context<S>, Json) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Json, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |core: Arc<Core>| -> Attempt {
            let (handler, state) = (handler.clone(), state.clone());
            Box::pin(async move {
                let args = core.spec().args.clone();
                let output = handler(Context::new(core, state), args).await;
                written(&output.map_err(Stopped::Failed)?)
            })
        };
        self.others = Some(Arc::new(run));
    }

    pub(crate) fn reject(&mut self, task: &'static str, why: &'static str) {
        let run =
            move |_| -> Attempt { Box::pin(async move { Err(Stopped::Rejected(why.into())) }) };
        self.named.insert(task, Arc::new(run));
    }
}

fn written<T: serde::Serialize>(output: &T) -> Result<Json, Stopped> {
    let fatal = |why: String| Stopped::Failed(Failure::fatal(why));
    let result =
        json(output).map_err(|error| fatal(format!("the result cannot be JSON: {error}")))?;
    let size = result.get().len();
    if size > BODY_BYTES_MAX {
        return Err(fatal(format!(
            "the result is {size} bytes, the limit is {BODY_BYTES_MAX}; return a reference to it"
        )));
    }
    Ok(result)
}
