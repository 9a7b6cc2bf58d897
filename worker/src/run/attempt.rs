//! One delivery, from its arrival to its settlement.

use std::sync::Arc;

use haul_common::{
    job::{FailureKind, JobId, Reason},
    life::Ended,
    metrics::QueueMeters,
    ports::{Delivery, Settlement},
    protocol::{Finished, ProtocolError, Receipt},
    trace,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::{Instrument, Span};

use super::{Hub, errand::Turn, meter::Meter, supervise, table::Busy};
use crate::{
    context::{Core, StopCause},
    stop::Level,
};

pub(super) async fn run(
    hub: Arc<Hub>,
    meters: Arc<QueueMeters>,
    delivery: Delivery,
    slot: OwnedSemaphorePermit,
    turn: Turn,
) {
    if delivery.returned > 0 {
        meters.redelivered.inc();
    }
    // A message that is about no job (yet) is in nobody's way under a name of its own.
    let id = delivery.message.head.message_id.as_deref();
    let id: JobId = id.and_then(|id| id.parse().ok()).unwrap_or_default();
    let busy = hub.table.busy(id);
    let (receipt, claimed) = receive(&hub, &delivery, &busy).await;
    match receipt {
        Some(Receipt::Run(assignment)) => {
            hub.errand.use_up(turn);
            let (spec, number) = (&assignment.spec, assignment.life.attempt);
            let span = trace::attempt(spec, number, hub.protocol.backend());
            let meter = Meter::begin(&meters, &assignment);
            let core = Core::new(*assignment, hub.protocol.clone(), hub.io.clone());
            let core = Arc::new(core);
            hub.table.run(&core);
            // Whoever aborts stops what is in the table; this one may have come after that.
            if hub.stop.has_reached(Level::Abort) {
                core.stop(StopCause::Stopping);
            }
            // In one expression: a future that has a name takes its room twice.
            work(&hub, &core, claimed, meter, delivery.settlement, slot)
                .instrument(span)
                .await;
            busy.ended(core.assignment.life.fence);
        }
        Some(Receipt::Settle(verdict)) => delivery.settlement.settle(verdict),
        None => delivery.settlement.release(),
    }
}

/// Keeps the delivery while a backend is away for a moment: given back, it would come again at
/// once. When it stays away, others may reach it: then the feeds stop, and this goes back. Says since
/// when the job may be ours.
async fn receive(hub: &Hub, delivery: &Delivery, busy: &Busy<'_>) -> (Option<Receipt>, Instant) {
    loop {
        let claimed = Instant::now();
        match hub
            .protocol
            .receive(delivery, hub.id(), |_| busy.elsewhere())
            .await
        {
            Ok(receipt) => return (Some(receipt), claimed),
            Err(ProtocolError::Store(error)) if !error.is_retryable() => {
                tracing::error!(%error, "a message is put off: its job cannot be looked at");
                if let Ok(receipt) = Box::pin(hub.protocol.put_aside(delivery)).await {
                    return (Some(receipt), claimed);
                }
                hub.health.report(false);
            }
            Err(error) => {
                if hub.health.is_well() {
                    tracing::warn!(%error, "taking no new jobs until the backends answer");
                }
                hub.health.report(false);
            }
        }
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return (None, claimed),
            () = hub.health.away() => return (None, claimed),
            () = hub.health.well() => {}
        }
    }
}

/// Runs the attempt, and writes its end.
async fn work(
    hub: &Hub,
    core: &Arc<Core>,
    claimed: Instant,
    mut meter: Meter<'_>,
    settlement: Settlement,
    slot: OwnedSemaphorePermit,
) {
    hub.show(core.spec().id.clone(), core.assignment.life.clone());
    let mut settlement = Some(settlement);
    let ended = supervise::run(hub, core, claimed, &mut settlement).await;
    meter.over(ended.as_ref());
    if let Some(ended) = &ended {
        slow_down(hub, core, ended);
    }
    // The handler is done: the next one may start while this end is written.
    drop(slot);
    let Some(ended) = ended else {
        tracing::warn!(job = %core.spec().id, "this attempt lost its job; its end does not count");
        meter.lost();
        // Not acknowledged: whoever took the job away may have crashed before it published.
        if let Some(settlement) = settlement {
            settlement.release();
        }
        return;
    };
    tell(&ended);
    supervise::write_last_notes(core).await;
    let log = core.notes.take_log();
    let finished = hub
        .protocol
        .finish(&core.assignment, ended, log, settlement)
        .await;
    meter.finished(
        &core.assignment,
        &finished,
        hub.protocol.backend().store.now(),
    );
    match finished {
        Ok(Finished::Recorded(life)) => hub.show(core.spec().id.clone(), *life),
        other => tell_unfinished(core, &other),
    }
}

fn tell_unfinished(core: &Core, finished: &Result<Finished, ProtocolError>) {
    let job = &core.spec().id;
    match finished {
        Ok(_) => tracing::warn!(%job, "its end was refused: the job has moved on"),
        Err(error) => tracing::error!(%job, %error, "its end is not written"),
    }
}

/// The other side asked for less: nothing else of this queue starts until then.
fn slow_down(hub: &Hub, core: &Core, ended: &Ended) {
    if let Ended::Failed(failure) = ended
        && let FailureKind::Throttled(wait) = failure.kind()
    {
        hub.gates.close_for(&core.spec().queue, wait);
    }
}

/// Whose end it is, the span tells. What is wrong with arguments, only the record: it may quote them.
fn tell(ended: &Ended) {
    let span = Span::current();
    match ended {
        Ended::Succeeded(_) => tracing::debug!("succeeded"),
        Ended::Failed(failure) if matches!(failure.kind(), FailureKind::Postponed(_)) => {
            tracing::debug!(why = failure.message(), "postponed");
        }
        Ended::Failed(failure) => {
            trace::failed(&span, "failed");
            tracing::info!(error = failure.message(), "failed");
        }
        Ended::TimedOut(limit) => {
            trace::failed(&span, "timed_out");
            tracing::info!(?limit, "timed out");
        }
        Ended::DeadlinePassed => {
            trace::failed(&span, "deadline");
            tracing::info!("its deadline passed");
        }
        Ended::Panicked(error) => {
            trace::failed(&span, "panicked");
            tracing::warn!(error, "panicked");
        }
        Ended::Cancelled { forced } => {
            trace::failed(&span, "cancelled");
            tracing::info!(forced, "cancelled");
        }
        Ended::Refused(reason, error) => {
            trace::failed(&span, reason.as_str());
            let error = (*reason != Reason::Malformed).then_some(error);
            tracing::warn!(%reason, error, "refused");
        }
        Ended::Released => tracing::info!("given back"),
    }
}
