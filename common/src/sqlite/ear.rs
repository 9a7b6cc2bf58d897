//! What ends a rest of the scout: a call from this process, or a write to the file's log, which is
//! where other processes commit. The kernel tells of writes on Linux (inotify); elsewhere, and where
//! it has no watch left to give, the scout has to look by itself.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Calls the scout, from any thread.
#[derive(Debug)]
pub(super) struct Caller(UnixStream);

impl Caller {
    pub(super) fn call(&self) {
        // When the pipe is full, the scout has calls enough to wake for.
        let _ = (&self.0).write(&[0]);
    }
}

pub(super) struct Ear {
    calls: UnixStream,
    log: Option<Log>,
}

/// What is worth waking for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Calls,
    CallsAndWrites,
}

impl Ear {
    pub(super) fn new() -> io::Result<(Self, Caller)> {
        let (calls, caller) = UnixStream::pair()?;
        calls.set_nonblocking(true)?;
        caller.set_nonblocking(true)?;
        Ok((Self { calls, log: None }, Caller(caller)))
    }

    /// Listens to the log of this file, too, if the kernel allows; it must be there already.
    pub(super) fn listen_to(&mut self, file: &Path) {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        self.log = Log::open(Path::new(&log))
            .inspect_err(|error| tracing::debug!(?log, %error, "cannot watch the log for writes"))
            .ok();
    }

    pub(super) fn hears_writes(&self) -> bool {
        self.log.is_some()
    }

    /// Waits until there is something, or for `at_most`; for ever without it.
    pub(super) fn rest(&mut self, what: For, at_most: Option<Duration>) {
        let log = self.log.as_ref().filter(|_| what == For::CallsAndWrites);
        let mut fds: Vec<PollFd<'_>> = [Some(self.calls.as_fd()), log.map(Log::as_fd)]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = at_most.map_or(PollTimeout::NONE, |it| {
            PollTimeout::try_from(it).unwrap_or(PollTimeout::MAX)
        });
        // Interrupted is as good as over: the scout looks, and rests again.
        let _ = poll(&mut fds, timeout);
        let mut calls = [0; 64];
        let _ = self.calls.read(&mut calls);
    }

    /// Whether the log was written to since the last time that one asked.
    pub(super) fn heard_write(&self) -> bool {
        self.log.as_ref().is_some_and(Log::was_written)
    }
}

#[cfg(target_os = "linux")]
struct Log(nix::sys::inotify::Inotify);

#[cfg(target_os = "linux")]
impl Log {
    fn open(path: &Path) -> nix::Result<Self> {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Ok(Self(inotify))
    }

    fn was_written(&self) -> bool {
        self.0.read_events().is_ok()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(not(target_os = "linux"))]
struct Log(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Log {
    fn open(_: &Path) -> nix::Result<Self> {
        Err(nix::Error::ENOTSUP)
    }

    fn was_written(&self) -> bool {
        match self.0 {}
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
