//! Slots: a range of user ids, an address, the namespaces that carry them and a `/dev`, prepared ahead of need.
//!
//! A slot's number is one of 4,096 of this server's place on the host. One that was given back is used again when the kernel
//! has taken its old network apart ([`crate::departures`]), and after all others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use sebring_fault::{Point, point};
use sebring_network::Claim;
use sebring_runtime::RuntimeError;
use sebring_runtime::device_nodes::DeviceNodes;
use sebring_runtime::link::{self, Address, Linker};
use sebring_runtime::namespaces::{IdRange, Namespaces, RANGE_LENGTH};
use sebring_runtime::ward::Ward;
use sebring_types::RunnerError;
use tokio::sync::mpsc;

/// Slots of one place. The lowest numbers are left out: place 0 would otherwise use ids that hosts give to people.
const FIRST: u16 = 16;
const PER_PLACE: u16 = 4096;
/// The last number of the last place would contain the id -1, which is none.
const LAST: u16 = PER_PLACE - 2;
/// A refill that takes longer than this is not going to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A prepared slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub number: u16,
    pub namespaces: Namespaces,
    pub address: Address,
    pub devices: DeviceNodes,
}

/// The numbers that nobody uses.
#[derive(Debug)]
struct Numbers {
    free: Mutex<VecDeque<u16>>,
    given_back: Condvar,
}

/// Hands out slots, and prepares the next ones on a thread of its own.
#[derive(Debug)]
pub(crate) struct Slots {
    numbers: Arc<Numbers>,
    /// How many there are in all, and how many sandboxes have.
    total: usize,
    taken: AtomicUsize,
    claim: Claim,
    prepared: tokio::sync::Mutex<mpsc::Receiver<Slot>>,
}

impl Slots {
    /// `in_use` are those of adopted sandboxes; no more than `limit` are used at once, those included.
    pub fn start(claim: Claim, ward: Arc<Ward>, ahead: usize, in_use: &[u16], limit: usize) -> Self {
        let last = LAST.min(claim.subnet.last());
        let total = limit.min(usize::from(last - FIRST) + 1);
        // More than can be taken at once: some wait to be forgotten by the kernel.
        let free = (FIRST..=last).filter(|number| !in_use.contains(number)).collect();
        let numbers = Arc::new(Numbers { free: Mutex::new(free), given_back: Condvar::new() });
        let (sender, receiver) = mpsc::channel(ahead.max(1));
        let refill = Refill { claim, ward, mtu: claim.packet_size(), numbers: numbers.clone(), sender };
        let spawned = std::thread::Builder::new().name("slots".into()).spawn(move || refill.run());
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to prepare namespaces on: nothing can be started");
        }
        Self {
            numbers,
            total,
            taken: AtomicUsize::new(in_use.len()),
            claim,
            prepared: tokio::sync::Mutex::new(receiver),
        }
    }

    /// The next slot; waits a little when many are asked for at once.
    pub async fn take(&self) -> Result<Slot, RunnerError> {
        if self.taken.fetch_add(1, Ordering::AcqRel) >= self.total {
            self.taken.fetch_sub(1, Ordering::AcqRel);
            return Err(RunnerError::Exhausted(format!(
                "all {} places for running sandboxes of this runner are taken: stop or delete some",
                self.total
            )));
        }
        let next = async { self.prepared.lock().await.recv().await };
        let error = match tokio::time::timeout(PATIENCE, next).await {
            Ok(Some(slot)) => return Ok(slot),
            Ok(None) => RunnerError::Internal("the preparation of namespaces has ended".into()),
            Err(_) => RunnerError::Exhausted("no network could be prepared in time: try again".into()),
        };
        self.taken.fetch_sub(1, Ordering::AcqRel);
        Err(error)
    }

    /// How many can still be taken.
    pub fn left(&self) -> usize {
        self.total.saturating_sub(self.taken.load(Ordering::Acquire))
    }

    /// The host's end of a slot's network.
    pub fn interface(&self, number: u16) -> String {
        interface(self.claim, number)
    }

    /// Gives a number back; its namespaces must have no process any more. It is used again when what is returned is dropped.
    #[must_use = "the kernel may still have to forget what the address did"]
    pub fn give_back(&self, number: u16) -> Vacated {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        Vacated { number, numbers: self.numbers.clone() }
    }
}

/// The host's end of a slot's network.
fn interface(claim: Claim, number: u16) -> String {
    format!("{}{number}", claim.interface_prefix())
}

/// The user ids of a slot.
pub(crate) fn ids(claim: Claim, number: u16) -> IdRange {
    IdRange { base: (u32::from(claim.place) * u32::from(PER_PLACE) + u32::from(number)) * RANGE_LENGTH }
}

/// The user of the host that makes the ward: of the one slot that is never used.
pub(crate) fn creator_of_the_ward(claim: Claim) -> u32 {
    ids(claim, LAST + 1).base
}

impl Numbers {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u16>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_one(&self) -> u16 {
        let mut free = self.lock();
        loop {
            if let Some(number) = free.pop_front() {
                return number;
            }
            free = self.given_back.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A number that nobody has and nobody gets yet.
#[derive(Debug)]
pub(crate) struct Vacated {
    number: u16,
    numbers: Arc<Numbers>,
}

impl Drop for Vacated {
    fn drop(&mut self) {
        self.numbers.lock().push_back(self.number);
        self.numbers.given_back.notify_one();
    }
}

struct Refill {
    claim: Claim,
    ward: Arc<Ward>,
    mtu: u32,
    numbers: Arc<Numbers>,
    sender: mpsc::Sender<Slot>,
}

impl Refill {
    /// Until the runner is dropped.
    fn run(self) {
        let linker = match Linker::new() {
            Ok(linker) => linker,
            Err(error) => return tracing::error!(%error, "no network can be prepared"),
        };
        let mut failures = 0;
        loop {
            let number = self.numbers.wait_for_one();
            match self.prepare(&linker, number) {
                Ok(slot) => {
                    failures = 0;
                    if self.sender.blocking_send(slot).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Take another, come back to this one.
                    failures += 1;
                    tracing::warn!(%error, number, "slot not prepared");
                    if error.errno() == Some(rustix::io::Errno::EXIST.raw_os_error()) {
                        self.remove_interface(number);
                    }
                    self.numbers.lock().push_back(number);
                    if failures > 16 {
                        self.wait_for_change(failures);
                    }
                }
            }
        }
    }

    fn prepare(&self, linker: &Linker, number: u16) -> Result<Slot, RuntimeError> {
        let namespaces = Namespaces::prepare(ids(self.claim, number), &self.ward)?;
        point(Point::SlotNamespaces);
        let address = Address {
            interface: interface(self.claim, number),
            sandbox: self.claim.subnet.address(number),
            gateway: self.claim.subnet.gateway(),
            mtu: self.mtu,
        };
        linker.connect(std::os::fd::AsFd::as_fd(&namespaces.net), &address)?;
        point(Point::SlotConnected);
        Ok(Slot { number, namespaces, address, devices: DeviceNodes::prepare()? })
    }

    /// One that was left when an earlier server ended, of a sandbox that had ended.
    fn remove_interface(&self, number: u16) {
        if let Err(error) = link::remove(&interface(self.claim, number)) {
            tracing::warn!(%error, number, "an interface of an earlier server stays");
        }
    }

    /// The host is out of something: try again when a slot comes back, or after a while.
    fn wait_for_change(&self, failures: u32) {
        let pause = Duration::from_millis(u64::from(failures.min(100)) * 10);
        let free = self.numbers.lock();
        drop(self.numbers.given_back.wait_timeout(free, pause));
    }
}
