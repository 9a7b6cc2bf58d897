//! Which call goes wrong, and how.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`crate::ports::Broker::declare`].
    Declare,
    /// [`crate::ports::Broker::publish`].
    Publish,
    /// [`crate::ports::Broker::consume`].
    Consume,
    /// [`crate::ports::Broker::facts`].
    Facts,
    /// [`crate::ports::Store::create`].
    Create,
    /// [`crate::ports::Store::claim`].
    Claim,
    /// [`crate::ports::Store::apply`].
    Apply,
    /// [`crate::ports::Store::note`] and [`crate::ports::Store::save`].
    Keep,
    /// [`crate::ports::Store::beat`], [`crate::ports::Store::retire`].
    Beat,
    /// Every other call that only reads the store.
    Read,
    /// Any call of the store, counted together.
    AnyStore,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and was not carried out. A publication is refused.
    Before,
    /// It is carried out, and its answer is lost. The fate of a publication is unknown.
    Lost,
    /// It is carried out after this delay.
    Late(Duration),
}

impl Fault {
    /// Carries a call out, unless it fails before; its answer may be lost.
    pub(super) async fn befall<T, E>(
        fault: Option<Self>,
        carry_out: impl Future<Output = Result<T, E>>,
        injected: fn() -> E,
    ) -> Result<T, E> {
        if fault == Some(Self::Before) {
            return Err(injected());
        }
        let answer = carry_out.await;
        if fault == Some(Self::Lost) {
            return Err(injected());
        }
        answer
    }
}

/// Which calls go wrong. Clones share their counts, so that a test can look on.
#[derive(Debug, Clone, Default)]
pub struct Plan(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    made: HashMap<Call, usize>,
    /// Calls `from..to`, counted from 1.
    rules: Vec<(Call, usize, usize, Fault)>,
    struck: usize,
}

impl Plan {
    /// Nothing goes wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `nth` call of this kind from the very first, counted from 1, goes wrong.
    #[must_use]
    pub fn at(self, call: Call, nth: usize, fault: Fault) -> Self {
        self.from(call, nth, nth + 1, fault)
    }

    /// The calls of this kind from number `first` up to, but not including, `end` go wrong.
    #[must_use]
    pub fn from(self, call: Call, first: usize, end: usize, fault: Fault) -> Self {
        self.state().rules.push((call, first, end, fault));
        self
    }

    /// How many calls went wrong so far. A test whose fault never struck has shown nothing.
    pub fn struck(&self) -> usize {
        self.state().struck
    }

    /// How many calls of this kind were made.
    pub fn made(&self, call: Call) -> usize {
        self.state().made.get(&call).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; says what is to happen to it.
    fn count(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        let made = state.made.entry(call).or_default();
        *made += 1;
        let nth = *made;
        let meant =
            |rule: &&(Call, usize, usize, Fault)| rule.0 == call && (rule.1..rule.2).contains(&nth);
        let fault = state.rules.iter().find(meant).map(|rule| rule.3);
        state.struck += usize::from(fault.is_some());
        fault
    }

    /// What is to happen to this call of a broker.
    pub(super) async fn broker(&self, call: Call) -> Option<Fault> {
        late(self.count(call)).await
    }

    /// What is to happen to this call of a store.
    pub(super) async fn store(&self, call: Call) -> Option<Fault> {
        let any = self.count(Call::AnyStore);
        late(self.count(call).or(any)).await
    }
}

async fn late(fault: Option<Fault>) -> Option<Fault> {
    if let Some(Fault::Late(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    fault
}
