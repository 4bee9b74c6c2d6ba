//! Id ranges, and a user and a network namespace prepared ahead of the sandbox that will use them.

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::clone::{self, SignalsBlocked};
use crate::counted::{self, Counted};
use crate::error::RuntimeError;
use crate::holder::{self, Holder, Stack};
use crate::ward::Ward;

/// Ids in one sandbox: 0 to 65,535, as in any single system.
pub const RANGE_LENGTH: u32 = 65_536;

/// The host's uids, and gids, that stand for one sandbox's. Never shared by two live sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The host id of root inside.
    pub base: u32,
}

impl IdRange {
    /// Makes this thread act on files as root of the range, until the guard is dropped. Capabilities are kept.
    pub(crate) fn act_as_root_of(self) -> Result<FilesystemIds, RuntimeError> {
        // SAFETY: prctl, setfsuid and setfsgid take integers and change this thread only.
        unsafe {
            if libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0 {
                return Err(RuntimeError::new("securebits of the mounting thread", io::Error::last_os_error()));
            }
            libc::syscall(libc::SYS_setfsuid, self.base);
            libc::syscall(libc::SYS_setfsgid, self.base);
        }
        Ok(FilesystemIds)
    }
}

/// `SECBIT_NO_SETUID_FIXUP` of `linux/securebits.h`: changing ids leaves the capabilities.
pub(crate) const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;

/// Sets this thread's file-system ids back.
pub(crate) struct FilesystemIds;

impl Drop for FilesystemIds {
    fn drop(&mut self) {
        // SAFETY: as in `act_as_root_of`.
        unsafe {
            libc::syscall(libc::SYS_setfsuid, 0);
            libc::syscall(libc::SYS_setfsgid, 0);
            libc::prctl(libc::PR_SET_SECUREBITS, 0, 0, 0, 0);
        }
    }
}

/// A user namespace in the ward with its ids mapped, and an empty network namespace that it owns.
#[derive(Debug)]
pub struct Namespaces {
    pub ids: IdRange,
    pub user: OwnedFd,
    pub net: OwnedFd,
}

impl Namespaces {
    /// Makes both. They live as long as a descriptor or a process is in them.
    pub fn prepare(ids: IdRange, ward: &Ward) -> Result<Self, RuntimeError> {
        let map = CString::new(format!("0 {} {RANGE_LENGTH}", ids.base)).unwrap_or_default();
        let wanted = UserNamespace {
            parent: Some(ward.user.as_fd()),
            creator: ids.base,
            map: &map,
            limits: ward.share,
            beside: libc::CLONE_NEWNET,
        };
        let (holder, _) = wanted.make()?;
        Ok(Self { ids, user: holder.namespace("user")?, net: holder.namespace("net")? })
    }
}

/// A user namespace to be made.
pub(crate) struct UserNamespace<'a> {
    /// The host's, if none.
    pub parent: Option<BorrowedFd<'a>>,
    /// The id in the parent for which the kernel counts what happens inside.
    pub creator: u32,
    /// Of uids and of gids, as the kernel takes it.
    pub map: &'a CStr,
    /// What the kernel lets the creator have, together with all other namespaces of its own.
    pub limits: Counted,
    /// Other namespaces that it is to own (`CLONE_NEW*`).
    pub beside: c_int,
}

/// Where the making can fail.
#[derive(Debug, Clone, Copy)]
enum Step {
    EnterParent,
    Create,
    MapIds,
}

impl Step {
    fn describe(self) -> &'static str {
        match self {
            Self::EnterParent => "entry into the ward",
            Self::Create => "creation of the namespaces",
            Self::MapIds => "map of the user ids",
        }
    }
}

/// Input and output of [`make`]; lives on the stack of the waiting thread.
struct Order<'a> {
    wanted: &'a UserNamespace<'a>,
    stack_top: *mut c_void,
    server: *mut c_void,
    holder: c_int,
    limits: Counted,
    failure: Option<(Step, c_int)>,
}

impl UserNamespace<'_> {
    /// Makes it, from a process in the parent: only one there may write the map. Answers the holder, and the limits as the
    /// kernel granted them.
    pub fn make(&self) -> Result<(Holder, Counted), RuntimeError> {
        let failed = |step, errno| RuntimeError::new(step, io::Error::from_raw_os_error(errno));
        let mut stack = Stack::new();
        let mut order = Order {
            wanted: self,
            stack_top: stack.top(),
            server: holder::server(),
            holder: 0,
            limits: self.limits,
            failure: None,
        };
        let args = clone::args((libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES) as u64, libc::SIGCHLD);
        let maker = {
            let _signals = SignalsBlocked::new();
            // SAFETY: `make` keeps to the rules of `clone_vfork`; the order outlives it, since this waits for it.
            unsafe { clone::clone_vfork(&args, make, (&raw mut order).cast()) }
        };
        if maker < 0 {
            return Err(failed("start of a process", -maker as i32));
        }
        // SAFETY: the maker is our unreaped child; the status may be null.
        unsafe { libc::waitpid(maker as c_int, std::ptr::null_mut(), libc::__WALL) };
        let holder = (order.holder > 0).then(|| Holder::adopt(order.holder, stack));
        match (holder, order.failure) {
            (Some(holder), None) => Ok((holder, order.limits)),
            (_, Some((step, errno))) => Err(failed(step.describe(), errno)),
            (None, None) => Err(failed(Step::Create.describe(), libc::ECHILD)),
        }
    }
}

/// Makes a holder in new namespaces, as their creator and with the limits that they are to keep.
unsafe extern "C" fn make(context: *mut c_void) -> ! {
    // SAFETY: context is the Order of the waiting thread, which nobody else touches meanwhile; system calls only. The
    // ids are set by raw calls, for the C library would set those of the server's other threads.
    unsafe {
        let order = &mut *context.cast::<Order<'_>>();
        let wanted = order.wanted;
        let unchanged = u32::MAX;
        let parent = wanted.parent.map_or(-1, |parent| parent.as_raw_fd());
        if (parent >= 0 && libc::setns(parent, libc::CLONE_NEWUSER) < 0)
            || libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0
            || libc::syscall(libc::SYS_setresgid, unchanged, wanted.creator, unchanged) < 0
            || libc::syscall(libc::SYS_setresuid, unchanged, wanted.creator, unchanged) < 0
        {
            give_up(order, Step::EnterParent);
        }
        order.limits = counted::apply(wanted.limits);
        let flags = libc::CLONE_NEWUSER | wanted.beside | libc::CLONE_PARENT;
        order.holder = holder::start(order.stack_top, flags, order.server);
        if order.holder < 0 {
            give_up(order, Step::Create);
        }
        for file in [b"/uid_map\0", b"/gid_map\0"] {
            let mut path = [0; PATH_LENGTH];
            write_path(&mut path, order.holder, file);
            let file = libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file < 0 {
                give_up(order, Step::MapIds);
            }
            let written = libc::write(file, wanted.map.as_ptr().cast(), wanted.map.count_bytes());
            let errno = *libc::__errno_location();
            libc::close(file);
            if written < 0 {
                *libc::__errno_location() = errno;
                give_up(order, Step::MapIds);
            }
        }
        libc::_exit(0)
    }
}

unsafe fn give_up(order: &mut Order<'_>, step: Step) -> ! {
    // SAFETY: errno is the waiting thread's; _exit ends the child without running anything of ours.
    unsafe {
        order.failure = Some((step, *libc::__errno_location()));
        libc::_exit(125)
    }
}

/// `/proc/`, ten digits, a name of eight, the end.
const PATH_LENGTH: usize = 6 + 10 + 9;

/// The path of a process's file, without allocation.
fn write_path(path: &mut [u8; PATH_LENGTH], pid: c_int, file: &[u8; 9]) {
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = pid.unsigned_abs();
    while first > 0 && (rest > 0 || first == digits.len()) {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let parts = b"/proc/".iter().chain(&digits[first..]).chain(file);
    for (to, from) in path.iter_mut().zip(parts) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_paths_as_format_does() {
        for pid in [1, 10, 32_768, i32::MAX] {
            let mut path = [0; PATH_LENGTH];
            write_path(&mut path, pid, b"/uid_map\0");
            let text = CStr::from_bytes_until_nul(&path).expect("an end").to_str().expect("text");
            assert_eq!(text, format!("/proc/{pid}/uid_map"));
        }
    }
}
