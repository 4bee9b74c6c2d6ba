//! A process that may outlive us, and may have been started by an earlier server.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::thread::ThreadNameSpaceType;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A running process, held by a descriptor, so that a reused pid is never mistaken for it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    start_time: u64,
    pidfd: OwnedFd,
}

impl Process {
    /// A child of ours.
    pub(crate) fn from_child(pid: i32, pidfd: i32) -> io::Result<Self> {
        // SAFETY: the kernel just made this descriptor for us (CLONE_PIDFD), and nobody else holds its number.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Self { pid, start_time: start_time(pid)?, pidfd })
    }

    /// Finds a process again by what was written down of it; `None` when it has ended.
    pub fn find(pid: i32, start_time: u64) -> io::Result<Option<Self>> {
        let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The descriptor was opened first: if the start time still agrees, it refers to that process.
        match self::start_time(pid) {
            // One that has ended keeps its place until its parent takes notice.
            Ok(found) if found == start_time && !has_ended(&pidfd)? => Ok(Some(Self { pid, start_time, pidfd })),
            _ => Ok(None),
        }
    }

    /// The process that has this pid now; `None` when there is none.
    pub fn open(pid: i32) -> io::Result<Option<Self>> {
        match start_time(pid) {
            Ok(start_time) => Self::find(pid, start_time),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory that it has open at that number, whatever is mounted over its path. Nothing of it is read, for it may
    /// be served by somebody who does not answer.
    pub fn directory(&self, number: i32) -> io::Result<OwnedFd> {
        let path = format!("/proc/{}/fd/{number}", self.pid);
        let found = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Its pid was not another's meanwhile.
        if has_ended(&self.pidfd)? { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
    }

    /// In our pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Clock ticks after boot (field 22 of `proc_pid_stat(5)`).
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Sends a signal; succeeds when the process has already ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The network namespace that it is in.
    pub fn network(&self) -> io::Result<OwnedFd> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid))?;
        // It was this process's if that still lives, for its pid is nobody else's until then.
        if has_ended(&self.pidfd)? { Err(io::ErrorKind::NotFound.into()) } else { Ok(namespace.into()) }
    }

    /// Names the host that the process sees.
    pub fn set_hostname(&self, name: &str) -> io::Result<()> {
        let own = File::open("/proc/thread-self/ns/uts")?;
        let kind = ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
        rustix::thread::move_into_thread_name_spaces(self.pidfd.as_fd(), kind)?;
        let named = rustix::system::sethostname(name.as_bytes());
        if let Err(error) = rustix::thread::move_into_thread_name_spaces(own.as_fd(), kind) {
            // Going on would name other hosts by mistake.
            tracing::error!(%error, "this thread cannot return to the host's name");
            std::process::abort();
        }
        Ok(named?)
    }

    /// Collects the exit status after the descriptor became readable. `None` if it was not our child.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        {
            Ok(Some(status)) => {
                Ok(status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal)))
            }
            Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits, without a thread, until the process has ended, then reaps it.
    pub async fn ended(&self) -> io::Result<Option<Exit>> {
        let pidfd = self.pidfd.try_clone()?;
        // SAFETY: the AsyncFd owns this duplicate, whose number stays the same until it is dropped.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)?;
        pidfd.readable().await?.retain_ready();
        self.reap()
    }

    /// Blocks until the process has ended, then reaps it.
    pub fn wait(&self) -> io::Result<Option<Exit>> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut fds, None) {
                Ok(_) => return self.reap(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the command, may contain anything but ends at the last parenthesis.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself_and_no_other() {
        let pid = std::process::id() as i32;
        let start = start_time(pid).expect("own stat");
        assert_eq!(Process::find(pid, start).expect("find").map(|p| p.pid()), Some(pid));
        assert!(Process::find(pid, start + 1).expect("find").is_none());
    }

    #[test]
    fn an_ended_process_is_not_found_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().expect("child");
        let pid = child.id() as i32;
        let process = Process::open(pid).expect("open");
        if let Some(process) = process {
            let mut fds = [PollFd::new(&process.pidfd, PollFlags::IN)];
            rustix::event::poll(&mut fds, None).expect("its end");
        }
        assert!(Process::open(pid).expect("open").is_none());
        child.wait().expect("reap");
    }
}
