//! Lost sheep: messages that no queue wanted, and those that the broker gave up on. They become
//! dead jobs, which people see, instead of messages that nobody reads.

use std::{sync::Arc, time::Duration};

use haul_common::ports::{Delivery, Inbox, Source};

use super::Hub;
use crate::stop::Level;

const PREFETCH: u16 = 16;
const PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = gather(&hub) => {}
        }
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn gather(hub: &Hub) {
    let Ok(Inbox(mut inbox)) = hub
        .protocol
        .backend()
        .broker
        .consume(Source::Unrouted, PREFETCH)
        .await
    else {
        return;
    };
    while let Some(delivery) = inbox.recv().await {
        bury(hub, delivery).await;
    }
}

async fn bury(hub: &Hub, delivery: Delivery) {
    loop {
        match hub.protocol.bury_lost(&delivery).await {
            Ok(verdict) => return delivery.settlement.settle(verdict),
            Err(error) => {
                tracing::debug!(%error, "a lost message waits");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
