//! The network namespaces in which a sandbox has something: those of its threads, those that it keeps open, and those of its
//! sockets, which stay where they were opened when a thread moves on.
//!
//! One that only a mount keeps (`ip netns add`) is not found: to open it, a path of the sandbox's would have to be followed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::LONGEST;

/// Processes, their descriptors, and network namespaces of one sandbox that are looked at.
const MOST_PROCESSES: usize = 4096;
const MOST_DESCRIPTORS: usize = 1 << 16;
const MOST_NAMESPACES: usize = 64;
/// `linux/sockios.h`.
const SIOCGSKNS: libc::c_ulong = 0x894c;

#[derive(Debug)]
struct Networks {
    began: Instant,
    /// By inode.
    known: HashSet<u64>,
    files: Vec<File>,
    /// Sockets that were looked at, which a process and its children may share.
    sockets: HashSet<String>,
    descriptors: usize,
}

/// Those of these processes. Blocks, for no longer than [`LONGEST`] or so.
pub(super) fn of(processes: &[i32]) -> Vec<File> {
    let mut networks = Networks {
        began: Instant::now(),
        known: HashSet::new(),
        files: Vec::new(),
        sockets: HashSet::new(),
        descriptors: 0,
    };
    for add in [Networks::add_threads, Networks::add_descriptors] {
        for &pid in processes.iter().take(MOST_PROCESSES) {
            add(&mut networks, pid);
        }
    }
    networks.files
}

impl Networks {
    fn has_room(&self) -> bool {
        self.files.len() < MOST_NAMESPACES && self.began.elapsed() < LONGEST
    }

    fn add_threads(&mut self, pid: i32) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let path = thread.path().join("ns/net");
            let named = fs::read_link(&path).ok().and_then(|name| inode(name.to_str()?, "net:["));
            if self.has_room()
                && named.is_some_and(|inode| !self.known.contains(&inode))
                && let Ok(file) = File::open(path)
            {
                self.add(file);
            }
        }
    }

    fn add_descriptors(&mut self, pid: i32) {
        let process = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(process) = process else { return };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for entry in descriptors {
            self.descriptors += 1;
            if !self.has_room() || self.descriptors > MOST_DESCRIPTORS {
                return;
            }
            let target = fs::read_link(entry.path()).ok().and_then(|target| target.into_os_string().into_string().ok());
            let Some(target) = target else { continue };
            if target.starts_with("net:[") {
                if let Ok(file) = File::open(entry.path()) {
                    self.add(file);
                }
            } else if target.starts_with("socket:[") && self.sockets.insert(target) {
                let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
                let network = number.and_then(|number| network_of(&process, number));
                network.into_iter().for_each(|network| self.add(network));
            }
        }
    }

    fn add(&mut self, file: File) {
        if let Ok(metadata) = file.metadata()
            && self.known.insert(metadata.ino())
        {
            self.files.push(file);
        }
    }
}

/// The namespace that a socket of another process belongs to.
fn network_of(process: &OwnedFd, descriptor: RawFd) -> Option<File> {
    let socket = pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()).ok()?;
    // SAFETY: the call takes an open descriptor and nothing else, and answers a new one or an error.
    let network = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    // SAFETY: a descriptor of ours that nobody else has.
    (network >= 0).then(|| unsafe { File::from_raw_fd(network) })
}

/// The number in a name such as `net:[4026531840]`.
fn inode(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::super::MAKES_NETWORKS;
    use super::*;

    /// Needs root.
    #[test]
    fn networks_of_threads_and_of_sockets_are_found() {
        let _alone = MAKES_NETWORKS.lock();
        let pid = std::process::id().cast_signed();
        let before = of(&[pid]).len();
        let (told, tell) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let thread = std::thread::spawn(move || {
            // SAFETY: the network of this thread alone.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network");
            let left_behind = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            // SAFETY: as above.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("another network");
            told.0.send(()).expect("somebody waits");
            let _ = tell.1.recv();
            drop(left_behind);
        });
        told.1.recv().expect("both are there");
        assert_eq!(of(&[pid]).len(), before + 2);
        drop(tell.0);
        thread.join().expect("it ends");
    }

    #[test]
    fn names_of_namespaces() {
        assert_eq!(inode("net:[4026531840]", "net:["), Some(4_026_531_840));
        assert_eq!(inode("net:[]", "net:["), None);
    }
}
