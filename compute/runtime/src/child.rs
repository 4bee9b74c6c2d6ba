//! What runs between `clone3` and `execve`, in the server's memory.
//!
//! Rules: system calls only; no allocation, no locks, no unwinding, no library function that keeps state. `errno` is the
//! waiting thread's and free to use. The descriptor table is the server's until [`agent`] takes its own.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;

use libc::{c_long, c_ulong};

use crate::agent_files::FileId;
use crate::clone;
use crate::namespaces::SECBIT_NO_SETUID_FIXUP;
use crate::profile::Rules;
use crate::ward::ATTACH_POINT;

/// Descriptors that a child may have open at once, the last one for what is needed for a moment only.
pub(crate) const SCRATCH: usize = 7;

/// Input and output of both children; lives on the stack of the waiting thread.
pub(crate) struct Plan<'a> {
    /// Descriptors of `cgroup.procs` files.
    pub cgroup_procs: &'a [c_int],
    pub anteroom: c_int,
    pub ward: c_int,
    pub user_namespace: c_int,
    pub net_namespace: c_int,
    /// The host id of root inside.
    pub root_id: u32,
    pub rules: Rules,
    /// Detached mounts.
    pub root: c_int,
    pub devices: c_int,
    /// With the agent's program on it.
    pub agent_files: c_int,
    pub control: c_int,
    /// Detached mounts that are shown at and below `/sys/fs/cgroup`; none for the sandbox's own part of the v2 tree.
    pub cgroup_view: &'a [(c_int, &'a CStr)],
    /// What is executed as the agent, and nothing else.
    pub program: FileId,
    pub handshake: c_int,
    pub hostname: &'a CStr,
    pub shared_memory: &'a CStr,
    pub filter: libc::sock_fprog,
    /// Set by the usher.
    pub agent_pid: c_int,
    pub agent_pidfd: c_int,
    /// Descriptors that a failed child leaves in the server's table; -1 where there is none.
    pub scratch: [c_int; SCRATCH],
    /// Set by whoever fails, with the error number.
    pub failure: Option<(Step, c_int)>,
}

/// Where a child can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    JoinCgroup,
    EnterWard,
    EnterNetNamespace,
    BecomeRoot,
    BuildRoot,
    MountSys,
    EnterUserNamespace,
    CloneAgent,
    AttachRoot,
    MountProc,
    MountCgroups,
    MountTerminals,
    MountSharedMemory,
    PivotRoot,
    AttachMounts,
    MaskPaths,
    SetHostname,
    TakeDescriptors,
    LoadFilter,
    DropCapabilities,
    ExecuteAgent,
}

impl Step {
    pub fn describe(self) -> &'static str {
        match self {
            Self::JoinCgroup => "entry into the cgroup",
            Self::EnterWard => "entry into the ward",
            Self::EnterNetNamespace => "entry into the network namespace",
            Self::BecomeRoot => "change to root of the sandbox",
            Self::BuildRoot => "mounts that stay",
            Self::MountSys => "mount of /sys",
            Self::EnterUserNamespace => "entry into the user namespace",
            Self::CloneAgent => "creation of the namespaces",
            Self::AttachRoot => "attachment of the root file system",
            Self::MountProc => "mount of /proc",
            Self::MountCgroups => "mount of /sys/fs/cgroup",
            Self::MountTerminals => "mount of /dev/pts",
            Self::MountSharedMemory => "mount of /dev/shm",
            Self::PivotRoot => "change of the root directory",
            Self::AttachMounts => "attachment of the mounts inside",
            Self::MaskPaths => "masking of kernel paths",
            Self::SetHostname => "host name",
            Self::TakeDescriptors => "descriptors of the agent",
            Self::LoadFilter => "system call filter",
            Self::DropCapabilities => "drop of capabilities",
            Self::ExecuteAgent => "execution of the agent",
        }
    }
}

/// Files hidden behind `/dev/null`, directories behind an empty one: what is the host's, and what tells of the disks of other
/// sandboxes. Absent ones are fine.
const MASKED_FILES: [&CStr; 10] = [
    c"/proc/cmdline",
    c"/proc/diskstats",
    c"/proc/partitions",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/key-users",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/sched_debug",
    c"/proc/kmsg",
];
const MASKED_DIRECTORIES: [&CStr; 13] = [
    c"/proc/acpi",
    c"/proc/scsi",
    c"/sys/firmware",
    c"/sys/devices/virtual/powercap",
    c"/sys/block",
    c"/sys/class/block",
    c"/sys/dev/block",
    c"/sys/devices/virtual/block",
    c"/sys/class/bdi",
    c"/sys/devices/virtual/bdi",
    c"/sys/fs/btrfs",
    c"/sys/fs/ext4",
    c"/sys/fs/xfs",
];
/// The kernel has 3,072 pseudo terminals for all but the host itself.
const TERMINALS: &CStr = c"256";
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
const SECURE: u32 = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC) as u32;
const READ_ONLY: u32 = SECURE | libc::MOUNT_ATTR_RDONLY as u32;

macro_rules! check {
    ($plan:expr, $step:ident, $call:expr) => {{
        let result = $call as i64;
        if result < 0 {
            fail($plan, Step::$step)
        }
        result as c_int
    }};
}

unsafe fn fail(plan: &mut Plan<'_>, step: Step) -> ! {
    // SAFETY: errno is the waiting thread's; _exit ends the child without running anything of ours.
    unsafe {
        plan.failure = Some((step, *libc::__errno_location()));
        libc::_exit(125)
    }
}

/// Joins the cgroups, builds what is to be locked in the ward, enters the sandbox's user and network namespaces and starts
/// the agent in all the others.
pub(crate) unsafe extern "C" fn usher(context: *mut c_void) -> ! {
    // SAFETY: context is the Plan of the waiting thread, which nobody else touches meanwhile. All calls are system
    // calls on values prepared before; raw ones where the C library would act on the server's other threads.
    unsafe {
        let plan = &mut *context.cast::<Plan<'_>>();
        for &procs in plan.cgroup_procs {
            check!(plan, JoinCgroup, libc::write(procs, c"0".as_ptr().cast(), 1));
        }
        start_nothing_for_crashes();
        check!(plan, EnterWard, libc::setns(plan.anteroom, libc::CLONE_NEWNS));
        check!(plan, EnterWard, libc::setns(plan.ward, libc::CLONE_NEWUSER));
        check!(plan, EnterNetNamespace, libc::setns(plan.net_namespace, libc::CLONE_NEWNET));
        // The ids now, for the root is built as its owner; the capabilities stay until the sandbox's namespace gives others.
        let root = plan.root_id;
        check!(plan, BecomeRoot, libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
        check!(plan, BecomeRoot, libc::syscall(libc::SYS_setgroups, 0, null::<c_void>()));
        check!(plan, BecomeRoot, libc::syscall(libc::SYS_setresgid, root, root, root));
        check!(plan, BecomeRoot, libc::syscall(libc::SYS_setresuid, root, root, root));
        check!(plan, BuildRoot, libc::unshare(libc::CLONE_NEWNS));
        build_root(plan);
        check!(plan, EnterUserNamespace, libc::setns(plan.user_namespace, libc::CLONE_NEWUSER));

        let flags = libc::CLONE_VM
            | libc::CLONE_VFORK
            | libc::CLONE_FILES
            | libc::CLONE_PARENT
            | libc::CLONE_PIDFD
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC;
        let mut args = clone::args(flags as u32 as u64 | CLONE_NEWCGROUP, 0);
        args.pidfd = (&raw mut plan.agent_pidfd) as u64;
        let pid = clone::clone_vfork(&args, agent, context);
        if pid < 0 {
            *libc::__errno_location() = -pid as c_int;
            fail(plan, Step::CloneAgent);
        }
        plan.agent_pid = pid as c_int;
        libc::_exit(0)
    }
}

/// The kernel starts no program of the host's root for a crash where the limit of core dumps is 1 (`coredump_pipe` in
/// fs/coredump.c); with any other, 0 too, it does if the host has dumps piped. The filter keeps the limit as it is.
unsafe fn start_nothing_for_crashes() {
    let limit = libc::rlimit64 { rlim_cur: 1, rlim_max: 1 };
    // Fails where the server may have no dumps at all and lacks CAP_SYS_RESOURCE, which is no reason not to start.
    // SAFETY: as for `usher`.
    unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const limit, null::<c_void>()) };
}

/// Attaches all that root inside may not detach or change: the root file system, which stays without devices; the
/// device nodes, the agent's files and `/sys`, which stay read-only; the control directory and the view of the
/// cgroups. The working directory becomes the root that was built.
unsafe fn build_root(plan: &mut Plan<'_>) {
    // SAFETY: as for `usher`.
    unsafe {
        check!(plan, BuildRoot, attach(plan.root, ATTACH_POINT));
        check!(plan, BuildRoot, libc::chdir(ATTACH_POINT.as_ptr()));
        for (mount, name) in [(plan.devices, c"dev"), (plan.agent_files, c".sbx")] {
            check!(plan, BuildRoot, attach_in_root(&mut plan.scratch[SCRATCH - 1], mount, name));
        }
        check!(plan, BuildRoot, attach(plan.control, c".sbx/ctl"));

        let sys = check!(plan, MountSys, new_filesystem(&mut plan.scratch, 1, c"sysfs", &[], READ_ONLY));
        check!(plan, MountSys, attach_in_root(&mut plan.scratch[SCRATCH - 1], sys, c"sys"));
        for &(mount, target) in plan.cgroup_view {
            check!(plan, MountCgroups, attach(mount, target));
        }
        if plan.rules.nesting {
            // Where the one in sight is read-only a new one must be as well. More of these stands at `mask_paths`.
            let sys = check!(plan, MountSys, new_filesystem(&mut plan.scratch, 2, c"sysfs", &[], SECURE));
            check!(plan, MountSys, attach(sys, c"dev/.nest/sys"));
        }
        close_scratch(plan);
    }
}

/// Builds the sandbox's view of the system and becomes the agent.
unsafe extern "C" fn agent(context: *mut c_void) -> ! {
    // SAFETY: as for `usher`.
    unsafe {
        let plan = &mut *context.cast::<Plan<'_>>();
        enter_root(plan);
        mask_paths(plan);
        check!(plan, SetHostname, libc::sethostname(plan.hostname.as_ptr(), plan.hostname.count_bytes()));
        take_descriptors(plan);
        restrict(plan);
        execute(plan)
    }
}

unsafe fn enter_root(plan: &mut Plan<'_>) {
    // SAFETY: as for `usher`.
    unsafe {
        // What was built in the ward is locked here, its topmost mount with it, which could not become the root. A copy of
        // the whole is as locked, but for that one.
        let flags = libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE as u32 | libc::OPEN_TREE_CLOEXEC;
        let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c".".as_ptr(), flags);
        let tree = check!(plan, AttachRoot, tree);
        plan.scratch[5] = tree;
        check!(plan, AttachRoot, attach(tree, ATTACH_POINT));
        check!(plan, AttachRoot, libc::chdir(ATTACH_POINT.as_ptr()));
        // The kernel allows it only while another of its kind is in sight: the anteroom's.
        let proc = check!(plan, MountProc, new_filesystem(&mut plan.scratch, 0, c"proc", &[], SECURE));
        check!(plan, PivotRoot, libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()));
        check!(plan, PivotRoot, libc::umount2(c".".as_ptr(), libc::MNT_DETACH));
        check!(plan, PivotRoot, libc::chdir(c"/".as_ptr()));
        // From here on no path can lead to the host.
        check!(plan, AttachMounts, attach_in_root(&mut plan.scratch[SCRATCH - 1], proc, c"proc"));

        if plan.cgroup_view.is_empty() {
            // With nesting root inside owns its own group (`Cgroup::give_to`).
            let attributes = if plan.rules.nesting { SECURE } else { READ_ONLY };
            let tree = check!(plan, MountCgroups, new_filesystem(&mut plan.scratch, 4, c"cgroup2", &[], attributes));
            check!(plan, MountCgroups, attach(tree, c"/sys/fs/cgroup"));
        }

        let terminals =
            [(c"newinstance", c""), (c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5"), (c"max", TERMINALS)];
        let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC) as u32;
        let terminals =
            check!(plan, MountTerminals, new_filesystem(&mut plan.scratch, 2, c"devpts", &terminals, attributes));
        check!(plan, MountTerminals, attach(terminals, c"/dev/pts"));
        let memory = [(c"mode", c"1777"), (c"size", plan.shared_memory)];
        let attributes = (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV) as u32;
        let memory =
            check!(plan, MountSharedMemory, new_filesystem(&mut plan.scratch, 3, c"tmpfs", &memory, attributes));
        check!(plan, MountSharedMemory, attach(memory, c"/dev/shm"));
        close_scratch(plan);
    }
}

/// Hides what programs have no use for. Not a border: these files belong to the host's root, who is nobody inside, and
/// with *nesting* root inside can take the covers off.
unsafe fn mask_paths(plan: &mut Plan<'_>) {
    // SAFETY: as for `usher`.
    unsafe {
        if plan.rules.nesting {
            // A user namespace inside gets the masks as locked mounts, and the kernel allows no new /proc or /sys where
            // only such that are covered in part are in sight. This one is whole, and so is the /sys beside it; nobody can
            // reach them.
            check!(plan, MaskPaths, bind(c"/proc", c"/dev/.nest/proc", 0));
            check!(plan, MaskPaths, bind(c"/dev/.empty", c"/dev/.nest", 0));
        }
        for (cover, paths) in [(c"/dev/null", &MASKED_FILES[..]), (c"/dev/.empty", &MASKED_DIRECTORIES[..])] {
            check!(plan, MaskPaths, mask(cover, paths));
        }
        for path in plan.rules.read_only {
            check!(plan, MaskPaths, absent_is_fine(bind(path, path, libc::MS_RDONLY)));
        }
    }
}

/// Leaves the server's descriptor table: 0 to 2 are the sandbox's own `/dev/null`, 3 is the handshake.
unsafe fn take_descriptors(plan: &mut Plan<'_>) {
    const HANDSHAKE: c_int = 3;
    const CLOSE_RANGE_UNSHARE: u32 = 2;
    // SAFETY: as for `usher`.
    unsafe {
        let above = plan.handshake as u32 + 1;
        check!(plan, TakeDescriptors, libc::syscall(libc::SYS_close_range, above, u32::MAX, CLOSE_RANGE_UNSHARE));
        if plan.handshake == HANDSHAKE {
            check!(plan, TakeDescriptors, libc::fcntl(HANDSHAKE, libc::F_SETFD, 0));
        } else {
            check!(plan, TakeDescriptors, libc::dup2(plan.handshake, HANDSHAKE));
        }
        check!(plan, TakeDescriptors, libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0));
        check!(plan, TakeDescriptors, libc::syscall(libc::SYS_close_range, 0, 2, 0));
        check!(plan, TakeDescriptors, libc::open(c"/dev/null".as_ptr(), libc::O_RDWR));
        check!(plan, TakeDescriptors, libc::dup2(0, 1));
        check!(plan, TakeDescriptors, libc::dup2(0, 2));
    }
}

/// Loads the filter and gives up capabilities, if the profile says so: in this order, since loading it needs one of them.
/// `no_new_privs` stays off, for sudo must work.
unsafe fn restrict(plan: &mut Plan<'_>) {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // SAFETY: as for `usher`; the structures are those of capset(2).
    unsafe {
        const MODE_FILTER: c_ulong = 1;
        check!(plan, LoadFilter, libc::syscall(libc::SYS_seccomp, MODE_FILTER, 0, &raw const plan.filter));
        let Some(kept) = plan.rules.capabilities else { return };
        for capability in 0..64 {
            // Past the newest capability of this kernel prctl fails.
            if kept & (1 << capability) == 0 && libc::prctl(libc::PR_CAPBSET_DROP, capability as c_ulong, 0, 0, 0) < 0 {
                break;
            }
        }
        let header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
        let half = |bits: u32| Data { effective: bits, permitted: bits, inheritable: 0 };
        let data = [half(kept as u32), half((kept >> 32) as u32)];
        check!(plan, DropCapabilities, libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()));
    }
}

unsafe fn execute(plan: &mut Plan<'_>) -> ! {
    // SAFETY: as for `usher`; both arrays end with a null pointer.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        let arguments: [*const c_char; 2] = [c"sebring-agent".as_ptr(), null()];
        let environment: [*const c_char; 1] = [null()];
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_NO_SYMLINKS;
        let program = check!(plan, ExecuteAgent, open_at(c"/.sbx/bin/agent", &how));
        let mut found: libc::stat = std::mem::zeroed();
        check!(plan, ExecuteAgent, libc::fstat(program, &raw mut found));
        if (FileId { device: found.st_dev, inode: found.st_ino }) != plan.program {
            *libc::__errno_location() = libc::ESTALE;
            fail(plan, Step::ExecuteAgent);
        }
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), arguments.as_ptr(), environment.as_ptr(), flags);
        fail(plan, Step::ExecuteAgent)
    }
}

/// Closes what was opened in the server's descriptor table.
pub(crate) unsafe fn close_scratch(plan: &mut Plan<'_>) {
    for fd in &mut plan.scratch {
        if *fd >= 0 {
            // SAFETY: the descriptor was opened by a child for itself and is used no more.
            unsafe { libc::close(*fd) };
            *fd = -1;
        }
    }
}

/// A detached mount, noted in its slot of the scratch descriptors; -1 on failure.
unsafe fn new_filesystem(
    scratch: &mut [c_int; SCRATCH],
    slot: usize,
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: u32,
) -> c_long {
    // The last slot is the context's.
    // SAFETY: as for `usher`.
    unsafe {
        scratch[SCRATCH - 1] = libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) as c_int;
        let mount = configure(scratch[SCRATCH - 1], options, attributes);
        if mount >= 0 {
            scratch[slot] = mount as c_int;
            libc::close(scratch[SCRATCH - 1]);
            scratch[SCRATCH - 1] = -1;
        }
        mount
    }
}

unsafe fn configure(context: c_int, options: &[(&CStr, &CStr)], attributes: u32) -> c_long {
    if context < 0 {
        return -1;
    }
    // SAFETY: as for `usher`.
    unsafe {
        for (key, value) in options {
            let configured = if value.is_empty() {
                libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_SET_FLAG, key.as_ptr(), null::<c_char>(), 0)
            } else {
                libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
            };
            if configured < 0 {
                return -1;
            }
        }
        let nothing = null::<c_char>();
        if libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nothing, nothing, 0) < 0 {
            return -1;
        }
        libc::syscall(libc::SYS_fsmount, context, 1, attributes)
    }
}

unsafe fn attach(mount: c_int, target: &CStr) -> c_long {
    // SAFETY: as for `usher`.
    unsafe { move_mount(mount, libc::AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) }
}

unsafe fn move_mount(mount: c_int, dir: c_int, target: &CStr, flags: u32) -> c_long {
    // SAFETY: as for `usher`.
    unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), dir, target.as_ptr(), flags) }
}

unsafe fn open_at(path: &CStr, how: &libc::open_how) -> c_long {
    // SAFETY: as for `usher`; the structure is that of openat2(2).
    unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const *how, size_of_val(how)) }
}

/// Attaches a mount at a name in the working directory, the root of a file system that a sandbox may have written.
unsafe fn attach_in_root(place: &mut c_int, mount: c_int, name: &CStr) -> c_long {
    // SAFETY: as for `usher`.
    unsafe {
        let dir = mount_point(name);
        if dir < 0 {
            return dir;
        }
        *place = dir as c_int;
        let attached = move_mount(mount, *place, c"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
        if attached == 0 {
            libc::close(*place);
            *place = -1;
        }
        attached
    }
}

/// Opens the directory of that name. What else may be there, a link above all, is not followed but removed; where there is
/// nothing a directory is made.
unsafe fn mount_point(name: &CStr) -> c_long {
    // SAFETY: as for `usher`.
    unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS;
        let found = open_at(name, &how);
        if found >= 0 {
            return found;
        }
        let removed = match *libc::__errno_location() {
            libc::ENOENT => 0,
            libc::ENOTDIR | libc::ELOOP => libc::unlinkat(libc::AT_FDCWD, name.as_ptr(), 0),
            _ => -1,
        };
        if removed < 0 || libc::mkdirat(libc::AT_FDCWD, name.as_ptr(), 0o755) < 0 {
            return -1;
        }
        open_at(name, &how)
    }
}

/// Hides those of the paths that this kernel has.
unsafe fn mask(cover: &CStr, paths: &[&CStr]) -> c_int {
    // SAFETY: as for `usher`.
    unsafe {
        // A cover that is missing must not pass for a path that is. It stands on a mount that nobody can change.
        if libc::access(cover.as_ptr(), libc::F_OK) < 0 {
            return -1;
        }
        let mut masks = paths.iter().map(|path| absent_is_fine(bind(cover, path, 0)));
        masks.find(|&masked| masked < 0).unwrap_or(0)
    }
}

/// The result of a call that could only miss what it was to change.
fn absent_is_fine(result: c_int) -> c_int {
    // SAFETY: errno is the waiting thread's.
    let is_absent = result < 0 && unsafe { *libc::__errno_location() } == libc::ENOENT;
    if is_absent { 0 } else { result }
}

/// Shows `source` at `target`, with the flags of the mount that it is in unless others are given.
unsafe fn bind(source: &CStr, target: &CStr, flags: c_ulong) -> c_int {
    // SAFETY: as for `usher`.
    unsafe {
        if libc::mount(source.as_ptr(), target.as_ptr(), null(), libc::MS_BIND, null()) < 0 {
            return -1;
        }
        if flags == 0 {
            return 0;
        }
        let flags = flags | libc::MS_BIND | libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        libc::mount(null(), target.as_ptr(), null(), flags, null())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::process::Command;

    use rustix::thread::UnshareFlags;

    use super::*;

    /// Runs it on a thread whose working directory is a new one, as `build_root` does with a root.
    fn in_root(work: impl FnOnce(&Path) + Send) {
        let dir = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the thread's own working directory is all that changes.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.expect("a directory of its own");
                rustix::process::chdir(dir.path()).expect("the directory");
                work(dir.path());
            });
        });
    }

    fn open(name: &CStr) -> bool {
        // SAFETY: the descriptor is closed at once, and used by nobody.
        unsafe {
            let found = mount_point(name);
            libc::close(found as c_int);
            found >= 0
        }
    }

    #[test]
    fn a_mount_point_is_a_directory_of_the_root_itself() {
        in_root(|root| {
            fs::create_dir_all(root.join("evil/bin")).expect("a directory");
            fs::create_dir(root.join("closed")).expect("a directory");
            fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).expect("no permissions");
            fs::write(root.join("file"), "kept by nobody").expect("a file");
            assert!(Command::new("mkfifo").arg(root.join("pipe")).status().is_ok_and(|status| status.success()));
            let links = [("link", "evil"), ("out", "/tmp"), ("up", ".."), ("dangling", "/nowhere"), ("loop", "loop")];
            for (name, target) in links {
                symlink(target, root.join(name)).expect("a link");
            }
            for name in [c"link", c"out", c"up", c"dangling", c"loop", c"file", c"pipe", c"absent", c"closed", c"evil"]
            {
                assert!(open(name), "{name:?}");
                let found = fs::symlink_metadata(root.join(name.to_str().expect("text"))).expect("metadata");
                assert!(found.is_dir(), "{name:?}");
            }
            assert!(root.join("evil/bin").exists(), "what a link leads to stays");
            for name in [c"..", c"/", c"link/../.."] {
                assert!(!open(name), "{name:?} is not in the root");
            }
        });
    }

    #[test]
    fn what_hides_is_there_or_the_start_fails() {
        // SAFETY: covers or paths don't exist, or paths are none, so nothing is mounted.
        unsafe {
            assert_eq!(mask(c"/nowhere/empty", &[c"/proc/self/environ"]), -1);
            assert_eq!(mask(c"/nowhere/empty", &[c"/proc/nothing-of-this-name"]), -1);
            assert_eq!(mask(c"/dev/null", &[c"/proc/nothing-of-this-name"]), 0);
            assert_eq!(mask(c"/dev/null", &[c"/proc/nothing-of-this-name", c"/proc/self/environ/below-a-file"]), -1);
        }
    }
}
