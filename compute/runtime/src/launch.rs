//! Puts the agent into its isolated place.
//!
//! ```text
//! server thread ──clone3(VM, VFORK)──▶ usher: joins the cgroups, builds the root in a mount namespace of the ward,
//!      │                                 enters the user and network namespaces
//!      │ waits                            └──clone3(VM, VFORK, PARENT, new mount/pid/uts/ipc/cgroup namespaces)──▶ agent:
//!      │                                       waits                 mounts, pivot_root, capabilities, seccomp, execve
//!      ◀───────────────── both waits end when the agent's program runs ─────────────────┘
//! ```
//! Two steps, because the user namespace must be entered before the others are made: they then belong to it, which is
//! what lets CRIU dump and restore a sandbox, and the mounts of the [`ward`](crate::ward) are locked in them.
//! `CLONE_PARENT` makes the agent our child, not the usher's.

use std::ffi::{CStr, CString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::agent_files::AgentFiles;
use crate::cgroup::Cgroup;
use crate::child::{self, Plan};
use crate::clone::{self, CLONE_INTO_CGROUP, SignalsBlocked};
use crate::device_nodes::DeviceNodes;
use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};
use crate::namespaces::Namespaces;
use crate::process::Process;
use crate::profile::Profile;
use crate::ward::Ward;

/// Everything an agent is started with.
#[derive(Debug)]
pub struct Launch<'a> {
    pub hostname: &'a str,
    pub profile: &'a Profile,
    pub ward: &'a Ward,
    pub namespaces: &'a Namespaces,
    pub cgroup: &'a Cgroup,
    /// A detached mount of the root file system; it is attached inside.
    pub root: BorrowedFd<'a>,
    /// For this start alone.
    pub devices: &'a DeviceNodes,
    pub agent_files: &'a AgentFiles,
    /// A detached mount of the control directory ([`control`](crate::control)), where the agent binds its socket.
    pub control: BorrowedFd<'a>,
    /// Where cgroup v1 manages some limits: what all sandboxes see at `/sys/fs/cgroup`, and this one's own part of it.
    /// Otherwise it sees its own part of the v2 tree.
    pub cgroup_view: Option<[&'a Path; 2]>,
    /// Upper limit of `/dev/shm`, bytes.
    pub shared_memory: u64,
}

/// A started agent.
#[derive(Debug)]
pub struct Launched {
    pub process: Process,
    /// Our end of the handshake (`sebring_types::agent`).
    pub handshake: UnixStream,
    /// Best dropped once the agent has answered: until then there is better to do than to wait for it.
    pub usher: Usher,
}

/// The ended usher; taking its namespaces apart keeps it a little longer. Reaped when dropped.
#[derive(Debug)]
pub struct Usher(c_int);

impl Drop for Usher {
    fn drop(&mut self) {
        // SAFETY: it is our unreaped child; the status may be null.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL) };
    }
}

impl Launch<'_> {
    /// Starts the agent. Returns as soon as its program runs; it has not been set up yet.
    pub fn start(self) -> Result<Launched, RuntimeError> {
        let (handshake, agent_end) = UnixStream::pair().step("handshake with the agent")?;
        let (process, usher) = self.spawn(agent_end.as_fd())?;
        Ok(Launched { process, handshake, usher })
    }

    fn spawn(&self, handshake: BorrowedFd<'_>) -> Result<(Process, Usher), RuntimeError> {
        let devices = self.devices.complete(self.profile.rules.devices)?;
        let agent_files = mounts::clone_trees(self.agent_files.path())?;
        let view = self.cgroup_view.map(|view| self.cgroup_mounts(view)).transpose()?.unwrap_or_default();
        let cgroup_view: Vec<(RawFd, &CStr)> =
            view.iter().map(|(target, mount)| (mount.as_raw_fd(), target.as_c_str())).collect();
        let entrance = self.cgroup.entrance()?;
        let procs: Vec<i32> = entrance.procs.iter().map(AsRawFd::as_raw_fd).collect();
        let hostname = CString::new(self.hostname).map_err(io::Error::from).step("host name")?;
        let shared_memory = CString::new(self.shared_memory.to_string()).map_err(io::Error::from).step("size")?;
        let program = self.profile.filter.program();

        let mut plan = Plan {
            cgroup_procs: &procs,
            anteroom: self.ward.anteroom.as_raw_fd(),
            ward: self.ward.user.as_raw_fd(),
            user_namespace: self.namespaces.user.as_raw_fd(),
            net_namespace: self.namespaces.net.as_raw_fd(),
            root_id: self.namespaces.ids.base,
            rules: self.profile.rules,
            root: self.root.as_raw_fd(),
            devices,
            agent_files: agent_files.as_raw_fd(),
            control: self.control.as_raw_fd(),
            cgroup_view: &cgroup_view,
            program: self.agent_files.program(),
            handshake: handshake.as_raw_fd(),
            hostname: &hostname,
            shared_memory: &shared_memory,
            filter: libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() },
            agent_pid: 0,
            agent_pidfd: -1,
            scratch: [-1; child::SCRATCH],
            failure: None,
        };
        let mut args = clone::args((libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES) as u64, libc::SIGCHLD);
        if let Some(directory) = &entrance.directory {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = directory.as_raw_fd() as u64;
        }
        let usher = {
            let _signals = SignalsBlocked::new();
            // SAFETY: the usher keeps to the rules of `clone_vfork`; plan outlives it, since this waits for it.
            unsafe { clone::clone_vfork(&args, child::usher, (&raw mut plan).cast()) }
        };
        if usher < 0 {
            return Err(RuntimeError::new("start of a process", io::Error::from_raw_os_error(-usher as i32)));
        }
        let usher = Usher(usher as c_int);
        if let Some((step, errno)) = plan.failure {
            drop(usher);
            reap_failed(&mut plan);
            return Err(RuntimeError::new(step.describe(), io::Error::from_raw_os_error(errno)));
        }
        Ok((Process::from_child(plan.agent_pid, plan.agent_pidfd).step("descriptor of the agent")?, usher))
    }
}

impl Launch<'_> {
    /// Detached mounts with the paths below the root that they are attached to, in this order.
    fn cgroup_mounts(&self, [shared, own]: [&Path; 2]) -> Result<Vec<(CString, OwnedFd)>, RuntimeError> {
        let shared = (c"sys/fs/cgroup".to_owned(), shared.to_owned());
        [shared]
            .into_iter()
            .chain(self.cgroup.view(own))
            .map(|(target, path)| {
                let mount = mounts::clone_tree(&path)?;
                mounts::restrict(mount.as_fd(), Attributes::READ_ONLY_DATA).step("mount of the cgroup view")?;
                Ok((target, mount))
            })
            .collect()
    }
}

/// The agent's process exists if the usher got as far as to start it.
fn reap_failed(plan: &mut Plan<'_>) {
    // SAFETY: both children have ended.
    unsafe { child::close_scratch(plan) };
    if plan.agent_pid > 0 {
        // SAFETY: the pid is our unreaped child's, the descriptor the kernel's gift to us alone.
        unsafe {
            libc::kill(plan.agent_pid, libc::SIGKILL);
            libc::waitpid(plan.agent_pid, std::ptr::null_mut(), libc::__WALL);
            libc::close(plan.agent_pidfd);
        }
    }
}
