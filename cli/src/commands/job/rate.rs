//! So many in a time, and no more.

use std::{str::FromStr, time::Duration};

use tokio::time::Instant;

/// What a pause may be made up for at once: timers are not exact.
const SLACK: Duration = Duration::from_millis(50);

/// So many in a time: `100/s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    between: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit, such as 100/s, 30/m or 5000/h".to_owned();
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let between = Duration::from_secs(seconds).checked_div(number);
        between
            .map(|between| Self { between })
            .ok_or_else(|| "at a rate of 0 nothing would ever happen".to_owned())
    }
}

/// Keeps to a rate.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: Option<Rate>,
    next: Instant,
}

impl Pacer {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    /// Waits until it is time for one more.
    pub(super) async fn turn(&mut self) {
        let Some(rate) = self.rate else { return };
        tokio::time::sleep_until(self.next).await;
        // Whoever is slow does not make up for it later.
        let earliest = Instant::now().checked_sub(SLACK).unwrap_or(self.next);
        self.next = self.next.max(earliest) + rate.between;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        let between = |text: &str| text.parse::<Rate>().map(|rate| rate.between);
        assert_eq!(between("100/s"), Ok(Duration::from_millis(10)));
        assert_eq!(between("30/m"), Ok(Duration::from_secs(2)));
        assert_eq!(between("3600/h"), Ok(Duration::from_secs(1)));
        for wrong in ["100", "100/d", "x/s", "-1/s", "/s", "1.5/s"] {
            assert!(between(wrong).unwrap_err().contains("100/s"), "{wrong}");
        }
        assert!(between("0/s").unwrap_err().contains("nothing"));
    }

    #[tokio::test]
    async fn turns_come_no_faster_than_the_rate() {
        let mut pacer = Pacer::new("100/s".parse().ok());
        let began = Instant::now();
        for _ in 0..21 {
            pacer.turn().await;
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
    }
}
