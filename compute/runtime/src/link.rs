//! The network of one sandbox: a routed pair of interfaces, without a bridge.
//!
//! ```text
//! sandbox   eth0  10.x.y.z/32 ── default via the gateway
//!             │ veth
//! host      sb…   no address;  route 10.x.y.z/32 dev sb…
//! gateway   an address of the host on lo
//! ```
//! Both ends have the same hardware address, and neither speaks ARP: there is nobody else to ask for.
//!
//! There is no link between two sandboxes, no limit on their number, and most often nothing to remove: the pair dies with
//! the sandbox's network namespace ([`crate::departure`]).

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, RuntimeError};
use crate::netlink::{Batch, Peer, Socket};

/// The index that `eth0` gets in each sandbox.
const ETH0: i32 = 2;
/// The index of `lo` in each network namespace.
const LO: i32 = 1;

/// Where one sandbox stands in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Of the host's end, 1 to 15 bytes.
    pub interface: String,
    pub sandbox: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// The largest packet, bytes.
    pub mtu: u32,
}

/// Connects network namespaces to the host's. Bound to the thread that made it: while it works the thread is in
/// another namespace.
pub struct Linker {
    host_socket: Socket,
    host_namespace: File,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Linker {
    /// For the network namespace that this thread is in.
    pub fn new() -> Result<Self, RuntimeError> {
        Ok(Self {
            host_socket: Socket::open().step("netlink socket")?,
            host_namespace: File::open("/proc/thread-self/ns/net").step("descriptor of the host's network")?,
            _not_send: std::marker::PhantomData,
        })
    }

    /// Gives an empty network namespace its interface, address and routes.
    pub fn connect(&self, namespace: BorrowedFd<'_>, address: &Address) -> Result<(), RuntimeError> {
        let inside = Inside::enter(namespace, self.host_namespace.as_fd())?;
        // Of interfaces to come, before one arrives: so none ever gets a link-local address. Writing to those that are there
        // spins while anybody else in the kernel changes a network (`addrconf_disable_ipv6` in net/ipv6/addrconf.c).
        sysctl("ipv6/conf/default/disable_ipv6", "1");
        // Servers that listen on `localhost` try `::1` first.
        if std::fs::read("/proc/sys/net/ipv6/conf/lo/disable_ipv6").is_ok_and(|disabled| disabled.starts_with(b"1")) {
            sysctl("ipv6/conf/lo/disable_ipv6", "0");
        }
        // Any user of the sandbox may serve on port 80 and send a ping.
        sysctl("ipv4/ip_unprivileged_port_start", "0");
        // In ids of the host, as all that this thread writes.
        sysctl("ipv4/ping_group_range", "0 2147483647");
        let socket = Socket::open().step("netlink socket in the sandbox")?;
        let mut batch = Batch::default();
        batch.add_veth(&address.interface, address.mtu, &Peer { name: "eth0", index: ETH0, namespace });
        drop(inside);

        self.host_socket.send(&batch).step(format!("creation of interface {}", address.interface))?;
        let host_index = interface_index(&address.interface).step("index of the host's interface")?;
        sysctl(&format!("ipv6/conf/{}/disable_ipv6", address.interface), "1");
        let mut batch = Batch::default();
        batch.set_up_end(host_index);
        batch.add_host_route(address.sandbox, host_index);
        self.host_socket.send(&batch).step("route to the sandbox")?;

        let mut batch = Batch::default();
        batch.set_up(LO);
        batch.set_up_end(ETH0);
        batch.add_address(ETH0, address.sandbox);
        batch.add_host_route(address.gateway, ETH0);
        batch.add_default_route(address.gateway, ETH0);
        socket.send(&batch).step("address of the sandbox")
    }
}

/// This thread is in a sandbox's network; brings it back when dropped.
pub(crate) struct Inside<'a> {
    host: BorrowedFd<'a>,
}

impl<'a> Inside<'a> {
    pub fn enter(namespace: BorrowedFd<'_>, host: BorrowedFd<'a>) -> Result<Self, RuntimeError> {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .step("entry into the sandbox's network")?;
        Ok(Self { host })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Err(error) = move_into_link_name_space(self.host, Some(LinkNameSpaceType::Network)) {
            // Going on would configure the host's network inside a sandbox.
            tracing::error!(%error, "this thread cannot return to the host's network");
            std::process::abort();
        }
    }
}

/// Makes the host answer at `address`, on every pair of interfaces since it belongs to `lo`. May be repeated.
pub fn add_gateway(address: Ipv4Addr) -> Result<(), RuntimeError> {
    let mut batch = Batch::default();
    batch.add_address(LO, address);
    Socket::open().and_then(|socket| socket.send(&batch)).step("address of the gateway")
}

/// Undoes [`add_gateway`]; the address may be gone already.
pub fn remove_gateway(address: Ipv4Addr) -> Result<(), RuntimeError> {
    let mut batch = Batch::default();
    batch.delete_address(LO, address);
    match Socket::open().and_then(|socket| socket.send(&batch)) {
        Err(error) if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) => {
            Err(RuntimeError::new("removal of the gateway's address", error))
        }
        _ => Ok(()),
    }
}

/// The names of all interfaces of this network namespace.
pub fn names() -> io::Result<Vec<String>> {
    std::fs::read_dir("/sys/class/net")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Whether an interface of this network namespace has that name. Takes no lock of the kernel's.
pub fn exists(name: &str) -> bool {
    !matches!(interface_index(name), Err(error) if error.raw_os_error() == Some(libc::ENODEV))
}

/// Removes a pair of interfaces by the host's end; it may be gone already. Waits for other CPUs, tens of milliseconds.
pub fn remove(name: &str) -> Result<(), RuntimeError> {
    let step = || format!("removal of interface {name}");
    let index = match interface_index(name) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        other => other.step(step())?,
    };
    let mut batch = Batch::default();
    batch.delete_link(index);
    match Socket::open().and_then(|socket| socket.send(&batch)) {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(RuntimeError::new(step(), error)),
        _ => Ok(()),
    }
}

fn interface_index(name: &str) -> io::Result<i32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index as i32),
    }
}

/// A setting that a kernel without the feature need not have.
fn sysctl(name: &str, value: &str) {
    if let Err(error) = std::fs::write(format!("/proc/sys/net/{name}"), value) {
        tracing::debug!(name, value, %error, "network setting not applied");
    }
}
