//! Whether the loops still turn: what a watchdog wants to know.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::{AbortHandle, JoinHandle};

use crate::stop::{Level, Stop};

/// The heartbeat turns every few seconds, and every call that it makes has a deadline well below
/// this: when it did not turn for so long, the threads under it hang.
const STILL_MAX: Duration = Duration::from_secs(30);

/// What the loops leave behind as they turn.
#[derive(Debug)]
pub(super) struct Alive {
    started: Instant,
    /// Milliseconds since then.
    turned_ms: AtomicU64,
    loops: Mutex<Vec<AbortHandle>>,
}

impl Default for Alive {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            turned_ms: AtomicU64::new(0),
            loops: Mutex::default(),
        }
    }
}

impl Alive {
    /// The heartbeat has turned.
    pub(super) fn turn(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned_ms.store(now, Ordering::Relaxed);
    }

    /// A loop that must not end before the worker does.
    pub(super) fn keep<T>(&self, task: &JoinHandle<T>) {
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.push(task.abort_handle());
    }

    fn turns(&self, now: Instant) -> bool {
        let turned = Duration::from_millis(self.turned_ms.load(Ordering::Relaxed));
        now.duration_since(self.started).saturating_sub(turned) < STILL_MAX
    }

    fn is_whole(&self) -> bool {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        !loops.iter().any(AbortHandle::is_finished)
    }
}

/// Tells whether a worker still works, to whoever would start another one instead.
#[derive(Debug, Clone)]
pub struct Liveness {
    pub(super) alive: Arc<Alive>,
    pub(super) stop: Stop,
}

impl Liveness {
    /// Whether its loops turn. A worker whose backends are away is alive; so is one that stops,
    /// which has a deadline of its own.
    pub fn is_alive(&self) -> bool {
        let turns = self.alive.turns(Instant::now());
        let is_whole = self.stop.has_reached(Level::Quiet) || self.alive.is_whole();
        self.stop.has_reached(Level::Drain) || (turns && is_whole)
    }

    /// Waits until the worker was told to stop.
    pub async fn stopping(&self) {
        self.stop.reached(Level::Drain).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails here has failed")]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    fn alive() -> (Arc<Alive>, Liveness) {
        let alive = Arc::new(Alive::default());
        let stop = Stop::new();
        (alive.clone(), Liveness { alive, stop })
    }

    #[test]
    fn a_heartbeat_that_stands_still_is_no_life() {
        let (alive, _) = alive();
        let later = alive.started + STILL_MAX;
        assert!(alive.turns(later - Duration::from_millis(1)));
        assert!(!alive.turns(later));
        alive.turned_ms.store(1000, Ordering::Relaxed);
        assert!(alive.turns(later));
    }

    #[tokio::test]
    async fn a_loop_that_ended_is_no_life_unless_the_worker_stops() {
        let (alive, liveness) = alive();
        let task = tokio::spawn(std::future::pending::<()>());
        alive.keep(&task);
        assert!(liveness.is_alive());
        task.abort();
        let _ = task.await;
        assert!(!liveness.is_alive());
        liveness.stop.raise(Level::Quiet);
        assert!(liveness.is_alive());
    }

    async fn livez(at: SocketAddr) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn monitors_are_told_that_a_loop_ended() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("haul.db").display());
        let worker = crate::Worker::connect(&*url).await.unwrap();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = worker.listen(anywhere).start().await.unwrap();
        let at = running.listening().unwrap();
        assert_eq!(livez(at).await, "HTTP/1.1 200 OK");
        let task = tokio::spawn(std::future::pending::<()>());
        running.hub.alive.keep(&task);
        task.abort();
        let _ = task.await;
        assert_eq!(livez(at).await, "HTTP/1.1 503 Service Unavailable");
        running.drain();
        running.finished().await.unwrap();
    }
}
