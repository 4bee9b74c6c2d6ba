//! Runs programs on a disk image that a tenant shaped.
//!
//! What such a program finds there may be arranged to make it misbehave, so it gets nothing to misbehave with: a user id of
//! its own without capabilities, a root with the host's programs and libraries, all of it read-only, no network, no
//! process but its own threads, little memory, and an end. The image is all it can write to.

use std::ffi::{CStr, c_int, c_long, c_ulong};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::null;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use sebring_fault::{Point, point};

use crate::seccomp::Filter;

/// What the program must call the image.
pub(super) const IMAGE: &str = "/proc/self/fd/0";

/// The last range of user ids, which no slot has: it would contain the id that is none. By pid, so that no two programs that
/// run at the same time have the same one (up to as many pids).
const FIRST_ID: u32 = 0xffff_0000;
const IDS: u32 = 0xfff0;
/// Of the host, as far as they are there: where programs and libraries are.
const SHOWN: [(&CStr, &CStr); 9] = [
    (c"/usr", c"/sys/usr"),
    (c"/bin", c"/sys/bin"),
    (c"/sbin", c"/sys/sbin"),
    (c"/lib", c"/sys/lib"),
    (c"/lib32", c"/sys/lib32"),
    (c"/lib64", c"/sys/lib64"),
    (c"/nix/store", c"/sys/nix/store"),
    (c"/gnu/store", c"/sys/gnu/store"),
    (c"/etc/alternatives", c"/sys/etc/alternatives"),
];
/// A directory of every host that none of those lies in.
const ROOT: &CStr = c"/sys";
const PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// Bytes of memory that is written to, and of all that is mapped.
const DATA: u64 = 1 << 30;
const MAPPED: u64 = 16 << 30;
/// Of each thread, bytes.
const STACK: u64 = 2 << 20;
const FILES: u64 = 32;
const THREADS: u64 = 512;
/// The last bytes of what it says.
const OUTPUT: usize = 4096;
/// Beyond the deadline the program ends by itself, should the server have ended before it.
const MARGIN: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub status: ExitStatus,
    /// The end of all that it said.
    pub said: String,
}

/// Runs a program on the image that `lock` is an open file of. It holds the lock to its end, should this server end before
/// it. The image is the program's while it runs, and the host's root's afterwards.
pub(super) fn run(program: &str, arguments: &[&str], lock: &File, deadline: Duration) -> io::Result<Outcome> {
    let (reader, writer) = io::pipe()?;
    let limits = Limits::new(lock.metadata()?.len(), deadline);
    let filter = Filter::tool();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATHS).env("LC_ALL", "C");
    command.stdin(Stdio::from(lock.try_clone()?)).stdout(writer.try_clone()?).stderr(writer);
    // SAFETY: the closure makes system calls on what was prepared before, and allocates nothing.
    unsafe { command.pre_exec(move || confine(&limits, &filter)) };
    let _owner = Owner(lock);
    let child = command.spawn()?;
    // With it go the writing ends.
    drop(command);
    let outcome = wait(child, reader, deadline);
    point(Point::DiskHanded);
    outcome
}

/// Gives the image back when dropped.
struct Owner<'a>(&'a File);

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        if let Err(error) = take_back(self.0) {
            tracing::warn!(%error, "a disk image stays with the id that checked it");
        }
    }
}

/// Makes the host's root the owner of an image again, as it is unless a server ended while a program ran on it.
pub(super) fn take_back(image: &File) -> io::Result<()> {
    fchown(image, Some(0), Some(0))
}

fn wait(mut child: Child, mut reader: PipeReader, deadline: Duration) -> io::Result<Outcome> {
    let end = Instant::now() + deadline;
    let mut said = Vec::new();
    let result = listen(&mut reader, end, &mut said).and_then(|()| ended(&child, end));
    if result.is_err() {
        // It may have ended.
        let _ = child.kill();
    }
    let status = child.wait()?;
    result?;
    Ok(Outcome { status, said: String::from_utf8_lossy(&said).trim().to_owned() })
}

/// Reads to the end, and keeps the last part.
fn listen(reader: &mut PipeReader, end: Instant, said: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; OUTPUT];
    loop {
        until(reader.as_fd(), end)?;
        let length = reader.read(&mut part)?;
        if length == 0 {
            return Ok(());
        }
        said.extend_from_slice(&part[..length]);
        said.drain(..said.len().saturating_sub(OUTPUT));
    }
}

fn ended(child: &Child, end: Instant) -> io::Result<()> {
    let process: OwnedFd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    until(process.as_fd(), end)
}

/// Waits until there is something to read.
fn until(fd: BorrowedFd<'_>, end: Instant) -> io::Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was ended")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Numbers by their resource.
struct Limits {
    limits: [(c_int, u64); 8],
    alarm: u32,
}

impl Limits {
    fn new(length: u64, deadline: Duration) -> Self {
        let seconds = (deadline + MARGIN).as_secs();
        let limits = [
            (libc::RLIMIT_DATA as c_int, DATA),
            (libc::RLIMIT_AS as c_int, MAPPED),
            (libc::RLIMIT_STACK as c_int, STACK),
            (libc::RLIMIT_CPU as c_int, seconds),
            (libc::RLIMIT_FSIZE as c_int, length),
            (libc::RLIMIT_NOFILE as c_int, FILES),
            (libc::RLIMIT_NPROC as c_int, THREADS),
            (libc::RLIMIT_CORE as c_int, 0),
        ];
        Self { limits, alarm: seconds.try_into().unwrap_or(u32::MAX) }
    }
}

/// An argument that must be zero, as wide as the kernel reads it.
const NONE: c_ulong = 0;

/// Takes everything from the process that is about to become the program. System calls only.
fn confine(limits: &Limits, filter: &Filter) -> io::Result<()> {
    // SAFETY: all calls are on constants and on what outlives them; raw ones where the C library would do more.
    unsafe {
        let id = FIRST_ID + libc::getpid().unsigned_abs() % IDS;
        check(libc::fchown(0, id, id))?;
        // What the server has open is closed by the kernel anyway; older ones don't know the flag.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        prefer_for_memory();
        show_programs()?;
        for (resource, limit) in limits.limits {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            check(libc::setrlimit(resource as _, &raw const limit))?;
        }
        libc::alarm(limits.alarm);
        let mut capability: c_ulong = 0;
        while libc::prctl(libc::PR_CAPBSET_DROP, capability, NONE, NONE, NONE) == 0 {
            capability += 1;
        }
        check_long(libc::syscall(libc::SYS_setgroups, 0, null::<libc::gid_t>()))?;
        check_long(libc::syscall(libc::SYS_setresgid, id, id, id))?;
        check_long(libc::syscall(libc::SYS_setresuid, id, id, id))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, NONE, NONE, NONE))?;
        let program = filter.program();
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        check_long(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program))
    }
}

/// When the host's memory runs out the kernel ends this first.
unsafe fn prefer_for_memory() {
    // SAFETY: as for `confine`.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, c"1000".as_ptr().cast(), 4);
            libc::close(file);
        }
    }
}

/// Makes a root of what [`SHOWN`] names and of a `/proc` in which the program sees itself, and nothing that can be written to.
unsafe fn show_programs() -> io::Result<()> {
    const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let secure = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: as for `confine`; the structure is that of mount_setattr(2).
    unsafe {
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        check(libc::unshare(namespaces))?;
        check(libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null()))?;
        let options = c"size=64k,mode=0755".as_ptr().cast();
        check(libc::mount(c"none".as_ptr(), ROOT.as_ptr(), c"tmpfs".as_ptr(), secure, options))?;
        for parent in [c"/sys/nix", c"/sys/gnu", c"/sys/etc", c"/sys/proc"] {
            check(libc::mkdir(parent.as_ptr(), 0o755))?;
        }
        for (source, target) in SHOWN {
            check(libc::mkdir(target.as_ptr(), 0o755))?;
            let bound =
                check(libc::mount(source.as_ptr(), target.as_ptr(), null(), libc::MS_BIND | libc::MS_REC, null()));
            if let Err(error) = bound
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        let options = c"hidepid=2".as_ptr().cast();
        check(libc::mount(c"none".as_ptr(), c"/sys/proc".as_ptr(), c"proc".as_ptr(), secure, options))?;
        let attributes = libc::mount_attr { attr_set: READ_ONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
        let size = size_of_val(&attributes);
        let flags = libc::AT_RECURSIVE;
        check_long(libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            ROOT.as_ptr(),
            flags,
            &raw const attributes,
            size,
        ))?;
        check(libc::chroot(ROOT.as_ptr()))?;
        check(libc::chdir(c"/".as_ptr()))
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Needs root, and an image of a few bytes.
    fn on_file(program: &str, arguments: &[&str], deadline: Duration) -> Option<io::Result<Outcome>> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, "content").expect("written");
        let outcome = run(program, arguments, &File::open(&file).expect("there"), deadline);
        let owner = file.path().metadata().expect("there");
        assert_eq!((owner.uid(), owner.gid()), (0, 0), "it was given back");
        Some(outcome)
    }

    #[test]
    fn a_program_holds_no_privilege() {
        let Some(outcome) = on_file("cat", &["/proc/self/status"], LONG) else { return };
        let status = outcome.expect("run").said;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.trim_start_matches(':').split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        for ids in [field("Uid"), field("Gid")] {
            assert!(ids.iter().all(|id| id.parse::<u32>().is_ok_and(|id| id >= FIRST_ID)), "{ids:?}");
        }
        assert!(field("Groups").is_empty());
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), ["0000000000000000"], "{set}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    }

    #[test]
    fn it_reads_its_image_and_sees_no_more() {
        let Some(outcome) = on_file("cat", &[IMAGE], LONG) else { return };
        assert_eq!(outcome.expect("run").said, "content");
        for other in ["/etc/passwd", "/proc/1/status", "/dev/null", "/sys/kernel", "/tmp", "/var"] {
            let outcome = on_file("cat", &[other], LONG).expect("root").expect("run");
            assert!(outcome.said.contains("No such file"), "{other}: {}", outcome.said);
        }
        let devices = on_file("cat", &["/proc/net/dev"], LONG).expect("root").expect("run").said;
        assert!(devices.contains("lo:") && devices.lines().count() == 3, "a network of its own: {devices}");
    }

    const NO_NEW: &str = "conv=notrunc,nocreat";

    #[test]
    fn it_writes_to_its_image_alone() {
        // Its input is the image, too.
        let outcome = on_file("dd", &["of=/proc/self/fd/0", "count=1", "bs=4", NO_NEW], LONG);
        let Some(outcome) = outcome else { return };
        let outcome = outcome.expect("run");
        assert!(outcome.status.success(), "{}", outcome.said);
        for other in ["/new", "/usr/new", "/usr/bin/cat", "/proc/self/oom_score_adj"] {
            let target = format!("of={other}");
            let outcome = on_file("dd", &["if=/proc/self/status", &target], LONG).expect("root").expect("run");
            assert!(!outcome.status.success(), "{other}: {}", outcome.said);
        }
        // Beyond its end.
        let beyond = ["of=/proc/self/fd/0", "count=1", "bs=4", "seek=2", NO_NEW];
        let outcome = on_file("dd", &beyond, LONG).expect("root").expect("run");
        assert!(!outcome.status.success(), "{}", outcome.said);
    }

    #[test]
    fn it_starts_no_other_program() {
        let Some(outcome) = on_file("sh", &["-c", "cat /proc/self/status; true"], LONG) else { return };
        let outcome = outcome.expect("run");
        assert!(!outcome.said.contains("CapEff"), "{}", outcome.said);
    }

    #[test]
    fn it_comes_to_an_end() {
        let began = Instant::now();
        let Some(outcome) = on_file("yes", &[], Duration::from_millis(300)) else { return };
        assert_eq!(outcome.expect_err("ended").kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(5));
        let outcome = on_file("no-such-program", &[], LONG).expect("root");
        assert_eq!(outcome.expect_err("there is none").kind(), io::ErrorKind::NotFound);
    }
}
