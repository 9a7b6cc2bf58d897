//! Names of exchanges, queues and routing keys: made here and nowhere else.

use std::time::Duration;

use crate::job::{Lane, NameError, QueueName};

/// What a namespace may be: part of every name, so that several fleets share a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(QueueName);

impl Namespace {
    /// The namespace of a fleet that names none: `haul`.
    pub fn standard() -> Self {
        Self(
            "haul"
                .parse()
                .unwrap_or_else(|_| QueueName::default_queue()),
        )
    }

    /// # Errors
    /// Outside the grammar of queue names.
    pub fn new(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Topic exchange where jobs come in.
    pub fn jobs(&self) -> String {
        format!("{}.jobs", self.0)
    }

    /// Topic exchange where delays come out.
    pub fn due(&self) -> String {
        format!("{}.due", self.0)
    }

    /// Direct exchange of dead letters.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.0)
    }

    /// Queue of a queue's dead letters, and its key on [`Namespace::dead`].
    pub fn dead_queue(&self, queue: &QueueName) -> String {
        format!("{}.dead.{queue}", self.0)
    }

    /// Fanout exchange and queue of messages that nothing is bound for.
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.0)
    }

    /// Work queue of a lane.
    pub fn work_queue(&self, queue: &QueueName, lane: Lane) -> String {
        format!("{}.q.{queue}.{lane}", self.0)
    }

    /// Exchange and queue of a delay level.
    pub fn delay(&self, level: usize) -> String {
        format!("{}.delay.{level}", self.0)
    }
}

/// Routing key of a lane on the jobs exchange.
pub fn lane_key(queue: &QueueName, lane: Lane) -> String {
    format!("{queue}.{lane}")
}

/// Queue and lane of a routing key, whatever stands before them.
pub fn origin_of(key: &str) -> Option<(QueueName, Lane)> {
    let mut words = key.rsplit('.');
    let last = words.next()?;
    match (last.parse::<Lane>(), words.next()) {
        (Ok(lane), Some(queue)) => Some((queue.parse().ok()?, lane)),
        _ => Some((last.parse().ok()?, Lane::Normal)),
    }
}

/// How many delay levels there are; level n waits 2^n units.
pub const DELAY_LEVELS: usize = 29;
/// The unit of delays.
pub const DELAY_UNIT: Duration = Duration::from_millis(100);
/// The longest delay: 1.7 years.
pub const DELAY_MAX: Duration = Duration::from_millis(100 * ((1 << DELAY_LEVELS) - 1));
/// How many of its highest bits a coarse delay keeps.
const COARSE_BITS: u32 = 5;

/// The way through the delay levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayRoute {
    /// Level whose exchange it is published to: that of the highest set bit.
    pub level: usize,
    /// Routing key: the binary digits of the delay, then queue and lane.
    pub key: String,
}

/// The way through the delay levels for `delay`, rounded up to whole units (and up to the five
/// highest bits when `coarse`); nothing when it is under one unit. Longer than [`DELAY_MAX`] waits
/// that long; whoever gets the message early puts it off again.
pub fn delay_route(
    queue: &QueueName,
    lane: Lane,
    delay: Duration,
    coarse: bool,
) -> Option<DelayRoute> {
    if delay < DELAY_UNIT {
        return None;
    }
    let largest = (1_u128 << DELAY_LEVELS) - 1;
    let mut units = delay
        .as_millis()
        .div_ceil(DELAY_UNIT.as_millis())
        .min(largest);
    let bits = u128::BITS - units.leading_zeros();
    if coarse && bits > COARSE_BITS {
        let low = bits - COARSE_BITS;
        units = (units.div_ceil(1 << low) << low).min(largest);
    }
    let level = (u128::BITS - units.leading_zeros()) as usize - 1;
    let digits: Vec<&str> = (0..DELAY_LEVELS)
        .rev()
        .map(|n| if units >> n & 1 == 1 { "1" } else { "0" })
        .collect();
    Some(DelayRoute {
        level,
        key: format!("{}.{}", digits.join("."), lane_key(queue, lane)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units_of(route: &DelayRoute) -> u64 {
        route
            .key
            .split('.')
            .take(DELAY_LEVELS)
            .fold(0, |sum, bit| sum * 2 + u64::from(bit == "1"))
    }

    fn mail() -> QueueName {
        "mail".parse().unwrap()
    }

    #[test]
    fn names_are_the_published_ones() {
        let haul = Namespace::standard();
        assert_eq!(haul.work_queue(&mail(), Lane::High), "haul.q.mail.high");
        assert_eq!(haul.dead_queue(&mail()), "haul.dead.mail");
        assert_eq!(haul.delay(28), "haul.delay.28");
        assert_eq!(lane_key(&mail(), Lane::Low), "mail.low");
    }

    #[test]
    fn a_key_tells_where_a_message_belongs() {
        assert_eq!(origin_of("mail"), Some((mail(), Lane::Normal)));
        assert_eq!(origin_of("mail.low"), Some((mail(), Lane::Low)));
        assert_eq!(
            origin_of("0.1.0.mail.critical"),
            Some((mail(), Lane::Critical))
        );
        assert_eq!(origin_of("Not a queue"), None);
    }

    #[test]
    fn a_delay_under_one_unit_goes_straight_to_the_lane() {
        assert_eq!(
            delay_route(&mail(), Lane::Normal, Duration::from_millis(99), false),
            None
        );
        let route = delay_route(&mail(), Lane::Normal, Duration::from_millis(100), false).unwrap();
        assert_eq!((route.level, units_of(&route)), (0, 1));
    }

    proptest! {
        #[test]
        fn a_delay_is_never_short_and_at_most_six_percent_long(
            ms in 100u64..50_000_000_000, coarse: bool
        ) {
            let route =
                delay_route(&mail(), Lane::High, Duration::from_millis(ms), coarse).unwrap();
            let kept = units_of(&route) * 100;
            prop_assert!(kept >= ms);
            prop_assert!(kept < ms + 100 || (coarse && kept as f64 <= ms as f64 * 1.0626 + 100.0));
            prop_assert!(units_of(&route) >> route.level == 1, "the level is the highest bit");
            prop_assert!(!coarse || units_of(&route).count_ones() <= 5);
            prop_assert!(route.key.len() < 255, "AMQP's limit for a routing key");
        }
    }
}
