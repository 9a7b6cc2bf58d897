//! What only RabbitMQ's management plugin tells: alarms, policies that override what queues were
//! declared with, queues without a leader, its clock.
//!
//! Only `haul doctor` asks, once: jobs never depend on it.

mod http;
mod judge;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;

use self::{
    http::Server,
    judge::{Node, Overview, Policy, Queue},
};
use crate::{
    ports::{Finding, Level},
    rabbitmq::address::Address,
    time::Timestamp,
    wire::topology::Namespace,
};

/// Asks the management API at `url` (`http://USER:PASSWORD@HOST:15672`) about the virtual host
/// that the broker's URL names.
pub async fn check(url: &str, broker: &str, names: &Namespace) -> Vec<Finding> {
    let broken = |why: String| vec![finding(Level::Broken, "management", why)];
    let server = match Server::parse(url) {
        Ok(server) => server,
        Err(why) => return broken(why),
    };
    let address = match Address::parse(broker) {
        Ok(address) => address,
        Err(error) => return broken(error.to_string()),
    };
    match look(&server, address.vhost(), names).await {
        Ok(found) => found,
        Err(why) => broken(format!("{server}: {why}")),
    }
}

async fn look(server: &Server, vhost: &str, names: &Namespace) -> Result<Vec<Finding>, String> {
    let (overview, date) = ask::<Overview>(server, "/api/overview").await?;
    let (nodes, _) = ask::<Vec<Node>>(server, "/api/nodes").await?;
    let queues = queues(server, vhost).await?;
    let prefix = format!("{}.", names.as_str());
    let ours = |queue: &Queue| queue.name.starts_with(&prefix) || queue.name == names.unrouted();
    let queues: Vec<Queue> = queues.into_iter().filter(ours).collect();

    let mut found = vec![overview.versions(), judge::clock(date, Timestamp::now())];
    found.extend(judge::nodes(&nodes));
    found.push(judge::leaders(&queues));
    found.extend(judge::policies(&queues));
    found.push(judge::consumer_timeout(&queues));
    Ok(found)
}

async fn queues(server: &Server, vhost: &str) -> Result<Vec<Queue>, String> {
    let vhost = http::escape(vhost);
    // The cheap list: no statistics are put together for it.
    let path = format!("/api/queues/{vhost}?disable_stats=true&enable_queue_totals=true");
    let (mut queues, _) = ask::<Vec<Queue>>(server, &path).await?;
    // 3.10 tells the policy's name only.
    for kind in ["policies", "operator-policies"] {
        let (policies, _) = ask::<Vec<Policy>>(server, &format!("/api/{kind}/{vhost}")).await?;
        for queue in &mut queues {
            queue.learn(&policies);
        }
    }
    Ok(queues)
}

async fn ask<T: DeserializeOwned>(
    server: &Server,
    path: &str,
) -> Result<(T, Option<String>), String> {
    let answer = server.get(path).await?;
    let read = serde_json::from_str(&answer.body)
        .map_err(|error| format!("{path} is not what RabbitMQ answers: {error}"))?;
    Ok((read, answer.date))
}

/// What is told of an answer, whatever was asked. For tests.
#[cfg(feature = "faults")]
pub(super) fn read(answer: &str) -> Result<Vec<Finding>, String> {
    let (_, answer) = http::understand(answer).ok_or("no HTTP")?;
    let mut found = vec![judge::clock(answer.date, Timestamp::now())];
    if let Ok(overview) = serde_json::from_str::<Overview>(&answer.body) {
        found.push(overview.versions());
        return Ok(found);
    }
    if let Ok(queues) = serde_json::from_str::<Vec<Queue>>(&answer.body) {
        found.extend([judge::leaders(&queues), judge::consumer_timeout(&queues)]);
        found.extend(judge::policies(&queues));
    }
    let nodes: Vec<Node> = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    found.extend(judge::nodes(&nodes));
    Ok(found)
}

fn finding(level: Level, subject: &str, detail: impl Into<String>) -> Finding {
    Finding {
        level,
        subject: subject.to_owned(),
        detail: detail.into(),
    }
}
