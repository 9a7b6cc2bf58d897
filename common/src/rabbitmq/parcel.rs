//! A publication, ready to be sent.

use lapin::{BasicProperties, Channel, options::BasicPublishOptions, types::ShortString};
use tokio::sync::oneshot;

use super::{convert, window::Identity};
use crate::{
    job::QueueName,
    ports::{Confirm, Publication, Route},
    wire::topology::{Namespace, delay_route},
};

/// One publication and who waits for it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) publication: Publication,
    pub(super) answer: oneshot::Sender<Confirm>,
}

impl Order {
    pub(super) fn refuse(self, why: &str) {
        let _ = self.answer.send(Confirm::Refused(why.to_owned()));
    }
}

/// What goes out.
pub(super) struct Parcel {
    exchange: ShortString,
    key: ShortString,
    mandatory: bool,
    properties: BasicProperties,
    body: bytes::Bytes,
}

/// An order as it goes out, what it is known by, and who waits for it.
pub(super) struct Packed {
    pub(super) parcel: Parcel,
    pub(super) identity: Identity,
    pub(super) answer: oneshot::Sender<Confirm>,
}

impl Parcel {
    pub(super) async fn publish(self, channel: &Channel) -> lapin::Result<lapin::Confirmation> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            immediate: false,
        };
        channel
            .basic_publish(
                self.exchange,
                self.key,
                options,
                &self.body,
                self.properties,
            )
            .await?
            .await
    }
}

/// Where a route leads: exchange and key.
///
/// A lane is reached by its queue's own name, on the default exchange: the topic exchange where others
/// publish leads to the same place, and is a third of what a message costs the broker.
fn place(names: &Namespace, route: &Route) -> (String, String) {
    let straight = |queue: &QueueName, lane| (String::new(), names.work_queue(queue, lane));
    match route {
        Route::Lane(queue, lane) => straight(queue, *lane),
        Route::Later {
            queue,
            lane,
            delay,
            coarse,
        } => match delay_route(queue, *lane, *delay, *coarse) {
            Some(way) => (names.delay(way.level), way.key),
            None => straight(queue, *lane),
        },
        Route::Dead(queue) => (names.dead(), names.dead_queue(queue)),
        Route::Reply(queue) => (String::new(), queue.clone()),
    }
}

/// Makes an order ready to be sent; one that AMQP cannot carry is refused.
pub(super) fn pack(names: &Namespace, order: Order) -> Option<Packed> {
    let Order {
        publication,
        answer,
    } = order;
    let (exchange, key) = place(names, &publication.route);
    let made = convert::short("routing key", &key)
        .and_then(|key| Ok((key, convert::outgoing(&publication.message.head)?)));
    match made {
        Ok((short_key, properties)) => Some(Packed {
            answer,
            parcel: Parcel {
                exchange: exchange.as_str().into(),
                // To the broker, its own pseudo-queue for answers is none: with `mandatory` it
                // returns what it nevertheless delivers.
                mandatory: !key.starts_with("amq.rabbitmq.reply-to"),
                key: short_key,
                properties,
                body: publication.message.body,
            },
            identity: Identity {
                id: publication.message.head.message_id,
                exchange,
                key,
            },
        }),
        Err(why) => {
            let _ = answer.send(Confirm::Refused(why));
            None
        }
    }
}
