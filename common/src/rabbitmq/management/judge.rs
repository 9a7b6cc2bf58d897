//! What the management API's answers mean for jobs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::finding;
use crate::{
    ports::{Finding, Level},
    protocol::GUARD_AFTER,
    rabbitmq::facts::judge_version,
    time::Timestamp,
};

/// Clocks that are further apart make times of jobs wrong. Dates of HTTP have whole seconds.
const SKEW_MS_MAX: u64 = 3000;
/// How much sooner than the consumer time-out a job must have been handed over to its guard.
const GUARD_MARGIN_MS: u128 = 60_000;

/// `/api/overview`, as far as we look.
#[derive(Debug, Deserialize)]
pub(super) struct Overview {
    rabbitmq_version: String,
    erlang_version: String,
}

/// One of `/api/nodes`. What a node that is down, or another version, leaves out is absent.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    name: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    mem_alarm: bool,
    #[serde(default)]
    disk_free_alarm: bool,
    #[serde(default)]
    partitions: Vec<String>,
}

/// One of `/api/queues`.
#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) name: String,
    #[serde(default)]
    leader: Option<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    operator_policy: Option<String>,
    #[serde(default)]
    effective_policy_definition: Option<Value>,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
}

/// One of `/api/policies`, or of `/api/operator-policies`.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    name: String,
    definition: Value,
}

impl Queue {
    /// Takes what its policy says from these, unless the server told already.
    pub(super) fn learn(&mut self, policies: &[Policy]) {
        let names = [&self.policy, &self.operator_policy];
        let is_ours = |policy: &&Policy| names.contains(&&Some(policy.name.clone()));
        if self.effective_policy_definition.is_none() {
            let ours = policies.iter().find(is_ours);
            self.effective_policy_definition = ours.map(|policy| policy.definition.clone());
        }
    }
}

impl Overview {
    pub(super) fn versions(&self) -> Finding {
        let mut versions = judge_version("RabbitMQ", &self.rabbitmq_version);
        versions.detail = format!("{}, Erlang {}", versions.detail, self.erlang_version);
        versions
    }
}

/// The broker's clock, by the date of an answer. It stamps messages; delays do not depend on it.
pub(super) fn clock(date: Option<String>, here: Timestamp) -> Finding {
    let subject = "broker clock";
    let read = date.as_deref().and_then(Timestamp::from_http_date);
    let Some(there) = read else {
        return finding(Level::Fine, subject, "it does not tell");
    };
    let ahead_ms = there.as_millis().saturating_sub(here.as_millis());
    let word = if ahead_ms < 0 { "behind" } else { "ahead of" };
    if ahead_ms.unsigned_abs() <= SKEW_MS_MAX {
        return finding(Level::Fine, subject, "within 3 s of this host's");
    }
    let apart = ahead_ms.unsigned_abs() / 1000;
    let detail = format!("{apart} s {word} this host's: let both keep time by NTP");
    finding(Level::Warning, subject, detail)
}

/// Nodes that are down, cut off from others, or hold producers up.
pub(super) fn nodes(nodes: &[Node]) -> Vec<Finding> {
    let mut found = Vec::new();
    for node in nodes {
        let name = &node.name;
        if !node.running {
            let detail = format!("{name} is down; quorum queues go on while most nodes are up");
            found.push(finding(Level::Warning, "broker nodes", detail));
        }
        if !node.partitions.is_empty() {
            let others = node.partitions.join(", ");
            let detail = format!("{name} is cut off from {others}: restart the smaller side");
            found.push(finding(Level::Broken, "broker nodes", detail));
        }
        for (alarmed, what, advice) in [
            (
                node.mem_alarm,
                "memory",
                "give it more, or let workers catch up",
            ),
            (
                node.disk_free_alarm,
                "disk",
                "free some, or lower disk_free_limit",
            ),
        ] {
            if alarmed {
                let detail =
                    format!("{name}: {what}; nothing can be published until it is over: {advice}");
                found.push(finding(Level::Broken, "broker alarms", detail));
            }
        }
    }
    if found.is_empty() {
        let detail = format!("none; {} of {} nodes run", nodes.len(), nodes.len());
        found.push(finding(Level::Fine, "broker alarms", detail));
    }
    found
}

/// A quorum queue without most of its members neither takes nor gives messages.
pub(super) fn leaders(queues: &[Queue]) -> Finding {
    let lost = |queue: &&Queue| {
        let members = queue.members.len();
        members > 0 && (queue.leader.is_none() || queue.online.len() * 2 <= members)
    };
    let names: Vec<&str> = queues.iter().filter(lost).map(|it| &*it.name).collect();
    let subject = "queue leaders";
    if names.is_empty() {
        let detail = format!("all {} queues have one", queues.len());
        return finding(Level::Fine, subject, detail);
    }
    let detail = format!(
        "none for {}: bring most of their nodes back; see `rabbitmq-queues quorum_status NAME`",
        some(&names)
    );
    finding(Level::Broken, subject, detail)
}

/// Keys of policies by which a broker drops or moves jobs on its own.
const HARMFUL: [(&str, &str); 6] = [
    (
        "message-ttl",
        "jobs that wait longer are dropped, or become lost sheep",
    ),
    (
        "expires",
        "queues that nobody uses are deleted with what is in them",
    ),
    ("max-length", "jobs beyond it are dropped or refused"),
    ("max-length-bytes", "jobs beyond it are dropped or refused"),
    ("overflow", "what is too much may be dropped"),
    (
        "delivery-limit",
        "jobs that are given back often become lost sheep",
    ),
];

/// Policies that reach our queues.
pub(super) fn policies(queues: &[Queue]) -> Vec<Finding> {
    let subject = "broker policies";
    // Policy, key, value: the queues that it reaches.
    let mut reached: BTreeMap<(&str, &str, String), Vec<&str>> = BTreeMap::new();
    for queue in queues {
        let names = [&queue.policy, &queue.operator_policy];
        let by = names.into_iter().flatten().find(|name| !name.is_empty());
        let Some(Value::Object(definition)) = &queue.effective_policy_definition else {
            continue;
        };
        for (key, _) in HARMFUL {
            if let Some(value) = definition.get(key) {
                let by = by.map_or("?", String::as_str);
                let place = reached.entry((by, key, value.to_string()));
                place.or_default().push(&queue.name);
            }
        }
    }
    if reached.is_empty() {
        return vec![finding(Level::Fine, subject, "none that touches jobs")];
    }
    let told = |((policy, key, value), queues): ((&str, &str, String), Vec<&str>)| {
        let why = HARMFUL.iter().find(|(name, _)| *name == key);
        let why = why.map_or("", |(_, why)| why);
        let level = if key == "delivery-limit" {
            Level::Warning
        } else {
            Level::Broken
        };
        let detail = format!(
            "`{policy}` sets {key} = {value} on {}: {why}; let its pattern leave them out",
            some(&queues)
        );
        finding(level, subject, detail)
    };
    reached.into_iter().map(told).collect()
}

/// How long a delivery may be held, where a queue or a policy says so. The node's own setting is
/// not told by the API.
pub(super) fn consumer_timeout(queues: &[Queue]) -> Finding {
    let subject = "consumer time-out";
    let limit = |queue: &&Queue| -> Option<u128> {
        let policy = queue.effective_policy_definition.as_ref();
        let by_policy = policy.and_then(|it| it.get("consumer-timeout"));
        let by_queue = queue.arguments.get("x-consumer-timeout");
        let all = [by_policy, by_queue].into_iter().flatten();
        all.filter_map(Value::as_u64).map(u128::from).min()
    };
    let needed = GUARD_AFTER.as_millis() + GUARD_MARGIN_MS;
    let tight = |queue: &&Queue| limit(queue).is_some_and(|limit| limit < needed);
    let names: Vec<&str> = queues.iter().filter(tight).map(|it| &*it.name).collect();
    if names.is_empty() {
        let detail = "no queue or policy shortens it; the nodes' own is 30 min unless set otherwise \
                      (rabbitmqctl environment tells), and must be above 11 min";
        return finding(Level::Fine, subject, detail);
    }
    let detail = format!(
        "below 11 min on {}: long jobs are taken from their worker; raise it",
        some(&names)
    );
    finding(Level::Broken, subject, detail)
}

/// The first few, and how many more.
fn some(names: &[&str]) -> String {
    let shown = names.len().min(3);
    let more = names.len() - shown;
    let list = names[..shown].join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}
