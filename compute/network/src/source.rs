//! The running sandboxes of one server, as the network sees them: by address, with what each may reach.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use sebring_types::denial::{Protocol, Reason};
use sebring_types::runner::Egress;
use sebring_types::{Denial, SandboxId};
use tokio::sync::oneshot;

use crate::denials::{Budget, Denials};
use crate::egress::{Confined, OPENED};
use crate::nftables::{Element, Transaction};

/// An address stays open so long at least: a connection must be made meanwhile.
const LEAST: Duration = Duration::from_secs(10);
/// And so long at most, whatever an answer says.
const MOST: Duration = Duration::from_hours(24);
/// Addresses that names hold open at once.
const OPEN: usize = 512;

/// Every running sandbox.
#[derive(Debug, Default)]
pub(crate) struct Sources(RwLock<HashMap<Ipv4Addr, Arc<Source>>>);

impl Sources {
    pub fn get(&self, address: Ipv4Addr) -> Option<Arc<Source>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    /// Its rule must be in force.
    pub fn insert(&self, confined: &Confined, denials: &Denials) {
        let source = Arc::new(Source::new(confined, denials.clone()));
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(confined.source, source);
    }

    pub fn remove(&self, address: Ipv4Addr) -> Option<Arc<Source>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&address)
    }
}

/// One running sandbox.
#[derive(Debug)]
pub(crate) struct Source {
    pub address: Ipv4Addr,
    pub sandbox: SandboxId,
    denials: Denials,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    egress: Egress,
    /// False as soon as the sandbox has ended, however long its last packets are worked on.
    alive: bool,
    /// What names hold open.
    opened: HashMap<Ipv4Addr, Opened>,
    connections: HashMap<u64, Open>,
    next: u64,
    budget: Budget,
    /// Whether anything was noted.
    noted: bool,
}

#[derive(Debug)]
struct Opened {
    until: Instant,
    names: Vec<String>,
}

#[derive(Debug)]
struct Open {
    address: Ipv4Addr,
    name: Option<String>,
    cut: oneshot::Sender<()>,
}

/// What a sandbox may ask our resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    Anything,
    SomeNames,
    /// Linked sandboxes only: each name that others are asked for is told to whoever answers for it.
    NoNames,
    Nothing,
}

impl Source {
    fn new(confined: &Confined, denials: Denials) -> Self {
        let state = State {
            egress: confined.egress.clone(),
            alive: true,
            opened: HashMap::new(),
            connections: HashMap::new(),
            next: 0,
            budget: Budget::new(),
            noted: false,
        };
        Self { address: confined.source, sandbox: confined.sandbox, denials, state: Mutex::new(state) }
    }

    pub fn asking(&self) -> Asking {
        match self.lock().egress {
            Egress::Open => Asking::Anything,
            Egress::Only(_) => Asking::NoNames,
            Egress::Named { .. } => Asking::SomeNames,
            Egress::Closed => Asking::Nothing,
        }
    }

    /// Whether it may ask for a name and connect to it.
    pub fn may_name(&self, name: &str) -> bool {
        self.lock().may_name(name)
    }

    /// Lets it reach what an allowed name stands for, as long as the answers say. Blocks.
    pub fn open(&self, table: &str, name: &str, answers: &[(Ipv4Addr, Duration)]) -> io::Result<Result<(), Reason>> {
        let mut state = self.lock();
        // The rule may have changed since the question.
        if !state.alive || !state.may_name(name) {
            return Ok(Err(Reason::NameNotAllowed));
        }
        let now = Instant::now();
        state.opened.retain(|_, opened| opened.until > now);
        let new = answers.iter().filter(|(address, _)| !state.opened.contains_key(address)).count();
        if state.opened.len() + new > OPEN {
            return Ok(Err(Reason::TooManyAddresses));
        }
        let mut transaction = Transaction::new(table);
        for &(address, lifetime) in answers {
            let lifetime = lifetime.clamp(LEAST, MOST);
            let opened = state.opened.entry(address).or_insert(Opened { until: now, names: Vec::new() });
            if !opened.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                opened.names.push(name.to_owned());
            }
            if opened.until < now + lifetime {
                let pair = self.pair(address);
                // An element that is there keeps its time, and one that is not can't be deleted: so all three.
                transaction.add(OPENED, &pair);
                transaction.delete(OPENED, &pair);
                transaction.add_for(OPENED, &pair, lifetime);
                opened.until = now + lifetime;
            }
        }
        let committed = transaction.commit();
        if committed.is_err() {
            for (address, _) in answers {
                state.opened.remove(address);
            }
        }
        committed.map(Ok)
    }

    /// The names by which an address is open now.
    pub fn names_of(&self, address: Ipv4Addr) -> Vec<String> {
        self.lock().opened_now(address).map(|opened| opened.names.clone()).unwrap_or_default()
    }

    /// Puts another rule in force by `change`, which gets what is to be taken out of the set of opened addresses, and ends
    /// the connections that it forbids. Blocks.
    pub fn change(&self, egress: Egress, change: impl FnOnce(&Egress, &[Element]) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        let kept = |opened: &Opened| {
            matches!(egress, Egress::Named { .. }) && opened.names.iter().any(|name| may_name(&egress, name))
        };
        let closed: Vec<Ipv4Addr> =
            state.opened.iter().filter(|(_, opened)| !kept(opened)).map(|(address, _)| *address).collect();
        let elements: Vec<Element> = closed.iter().flat_map(|address| self.pair(*address)).collect();
        change(&state.egress, &elements)?;
        for address in closed {
            state.opened.remove(&address);
        }
        for opened in state.opened.values_mut() {
            opened.names.retain(|name| may_name(&egress, name));
        }
        state.egress = egress;
        state.cut_forbidden();
        Ok(())
    }

    /// The sandbox has ended: nothing is opened and noted for it any more. Blocks until what was noted is written.
    pub fn end(&self, change: impl FnOnce(&Egress, &[Element]) -> io::Result<()>) -> io::Result<()> {
        let changed = self.change(Egress::Closed, change);
        let noted = {
            let mut state = self.lock();
            state.alive = false;
            state.noted
        };
        if noted {
            self.denials.flush();
        }
        changed
    }

    /// Notes a connection to `address` that is looked at, and how it is told that it must end; none when the sandbox has ended.
    pub fn connect(self: &Arc<Self>, address: Ipv4Addr) -> Option<(Connection, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        if !state.alive {
            return None;
        }
        let (cut, is_cut) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.connections.insert(number, Open { address, name: None, cut });
        drop(state);
        Some((Connection { source: self.clone(), number }, is_cut))
    }

    /// Notes a refusal.
    pub fn deny(&self, protocol: Protocol, name: Option<&str>, to: Option<(Ipv4Addr, Option<u16>)>, reason: Reason) {
        let mut state = self.lock();
        if !state.alive {
            return;
        }
        let Some(unnoted) = state.budget.take(Instant::now()) else { return };
        state.noted = true;
        let (address, port) = (to.map(|(address, _)| address), to.and_then(|(_, port)| port));
        let (at, name) = (Timestamp::now(), name.map(str::to_owned));
        // Under the lock, so that nothing comes after the end of the sandbox.
        self.denials.note(self.sandbox, Denial { at, protocol, name, address, port, reason, unnoted });
    }

    /// Why a packet of it was refused, to an address that some sandbox may reach.
    pub fn reason(&self, address: Ipv4Addr, protocol: Protocol) -> Reason {
        let state = self.lock();
        match &state.egress {
            Egress::Closed => Reason::BlockAll,
            // What is allowed and refused yet is the host's own, or another sandbox.
            Egress::Open => Reason::Forbidden,
            Egress::Only(ranges) | Egress::Named { ranges, .. } if contains(ranges, address) => Reason::Forbidden,
            _ => match state.opened_now(address) {
                // Names open addresses to what says the name, which is TCP.
                Some(_) if protocol == Protocol::Tcp => Reason::Forbidden,
                Some(_) => Reason::UnknownProtocol,
                None => Reason::AddressNotAllowed,
            },
        }
    }

    fn pair(&self, address: Ipv4Addr) -> [Element; 1] {
        [Element { key: [self.address.octets(), address.octets()].concat(), key_end: None }]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_name(&self, name: &str) -> bool {
        may_name(&self.egress, name)
    }

    fn opened_now(&self, address: Ipv4Addr) -> Option<&Opened> {
        self.opened.get(&address).filter(|opened| opened.until > Instant::now())
    }

    /// Ends the connections that the rule does not allow.
    fn cut_forbidden(&mut self) {
        let (egress, opened) = (&self.egress, &self.opened);
        let forbidden = |connection: &Open| match (egress, &connection.name) {
            (Egress::Open, _) => false,
            (Egress::Closed, _) => true,
            (Egress::Only(ranges) | Egress::Named { ranges, .. }, _) if contains(ranges, connection.address) => false,
            (Egress::Only(_), _) => true,
            (Egress::Named { .. }, Some(name)) => !may_name(egress, name),
            (Egress::Named { .. }, None) => !opened.contains_key(&connection.address),
        };
        let numbers: Vec<u64> =
            self.connections.iter().filter(|(_, open)| forbidden(open)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(connection) = self.connections.remove(&number) {
                // It may have ended on its own.
                let _ = connection.cut.send(());
            }
        }
    }
}

fn contains(ranges: &[Ipv4Net], address: Ipv4Addr) -> bool {
    ranges.iter().any(|range| range.contains(&address))
}

fn may_name(egress: &Egress, name: &str) -> bool {
    match egress {
        Egress::Named { domains, .. } => domains.iter().any(|domain| domain.matches(name)),
        Egress::Open | Egress::Only(_) => true,
        Egress::Closed => false,
    }
}

/// A connection as long as it is looked at.
#[derive(Debug)]
pub(crate) struct Connection {
    pub source: Arc<Source>,
    number: u64,
}

impl Connection {
    /// It is for this name from now on; false when that is not allowed.
    pub fn is_for(&self, name: &str) -> bool {
        let mut state = self.source.lock();
        if !state.may_name(name) {
            return false;
        }
        match state.connections.get_mut(&self.number) {
            Some(connection) => connection.name = Some(name.to_owned()),
            // Cut.
            None => return false,
        }
        true
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.source.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    fn named(domains: &[&str]) -> Egress {
        let domains = domains.iter().map(|domain| domain.parse().expect("a domain")).collect();
        Egress::Named { domains, ranges: vec!["192.0.2.0/24".parse().expect("a range")] }
    }

    fn source(egress: Egress) -> (Arc<Source>, tempfile::TempDir) {
        let scratch = tempfile::tempdir().expect("a directory");
        let denials = Denials::start(scratch.path()).expect("a thread");
        let (source, sandbox) = (Ipv4Addr::new(10, 209, 0, 16), SandboxId::generate());
        std::fs::create_dir(scratch.path().join(sandbox.to_string())).expect("a directory");
        (Arc::new(Source::new(&Confined { source, sandbox, egress }, denials)), scratch)
    }

    /// Which of the connections are cut by a change, which the kernel takes.
    fn cut_by(source: &Source, egress: Egress, cuts: &mut [oneshot::Receiver<()>]) -> Vec<bool> {
        source.change(egress, |_, _| Ok(())).expect("changed");
        cuts.iter_mut().map(|cut| cut.try_recv().is_ok()).collect()
    }

    #[test]
    fn a_change_cuts_what_it_forbids() {
        let (source, _scratch) = source(named(&["a.test", "*.b.test"]));
        let [(a, a_cut), (b, b_cut), (listed, listed_cut), (unsaid, unsaid_cut)] =
            [ELSEWHERE, ELSEWHERE, LISTED, ELSEWHERE].map(|address| source.connect(address).expect("few"));
        assert!(a.is_for("A.test") && b.is_for("x.b.test") && listed.is_for("a.test"));
        assert!(!unsaid.is_for("c.test"));
        let mut cuts = [a_cut, b_cut, listed_cut, unsaid_cut];
        // The last is for nothing, and its address was never opened.
        assert_eq!(cut_by(&source, named(&["b.test", "a.test"]), &mut cuts), [false, true, false, true]);
        assert!(!b.is_for("a.test"), "it is cut");
        assert_eq!(cut_by(&source, Egress::Open, &mut cuts[..1]), [false]);
        let Egress::Named { ranges, .. } = named(&[]) else { panic!("named") };
        assert_eq!(cut_by(&source, Egress::Only(ranges), &mut cuts[..1]), [true]);
        assert_eq!(cut_by(&source, Egress::Closed, &mut cuts[2..3]), [true]);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let (source, _scratch) = source(named(&["a.test"]));
        let (connection, mut cut) = source.connect(ELSEWHERE).expect("few");
        assert!(connection.is_for("a.test"));
        source.change(Egress::Closed, |_, _| Err(io::Error::other("no"))).expect_err("refused");
        assert!(cut.try_recv().is_err() && source.may_name("a.test"));
        assert_eq!(source.asking(), Asking::SomeNames);
    }

    #[test]
    fn nothing_is_opened_against_the_rule_or_without_the_kernel() {
        let (source, _scratch) = source(named(&["a.test"]));
        let answers = [(ELSEWHERE, Duration::from_secs(60))];
        assert_eq!(source.open("sebring_test", "b.test", &answers).expect("no try"), Err(Reason::NameNotAllowed));
        let many: Vec<_> =
            (0..=OPEN as u32).map(|n| (Ipv4Addr::from(0xc000_0200 + n), Duration::from_secs(60))).collect();
        assert_eq!(source.open("sebring_test", "a.test", &many).expect("no try"), Err(Reason::TooManyAddresses));
        source.open("sebring_test", "a.test", &answers).expect_err("there is no such table");
        assert!(source.names_of(ELSEWHERE).is_empty());
    }

    #[test]
    fn reasons_fit_the_rule() {
        let (source, _scratch) = source(named(&["a.test"]));
        assert_eq!(source.reason(ELSEWHERE, Protocol::Tcp), Reason::AddressNotAllowed);
        // Listed, and refused yet: it must be the host's own.
        assert_eq!(source.reason(LISTED, Protocol::Tcp), Reason::Forbidden);
        source.change(Egress::Closed, |_, _| Ok(())).expect("changed");
        assert_eq!(source.reason(LISTED, Protocol::Tcp), Reason::BlockAll);
        source.change(Egress::Open, |_, _| Ok(())).expect("changed");
        assert_eq!(source.reason(ELSEWHERE, Protocol::Udp), Reason::Forbidden);
    }

    #[test]
    fn an_ended_sandbox_notes_nothing() {
        let (source, _scratch) = source(named(&["a.test"]));
        let deny = || source.deny(Protocol::Dns, Some("b.test"), None, Reason::NameNotAllowed);
        deny();
        source.end(|_, _| Ok(())).expect("ended");
        deny();
        let noted = source.denials.read(source.sandbox).expect("a log");
        assert_eq!(noted.iter().map(|denial| denial.name.as_deref()).collect::<Vec<_>>(), [Some("b.test")]);
        assert!(source.connect(ELSEWHERE).is_none());
        let answers = [(ELSEWHERE, Duration::from_secs(60))];
        assert_eq!(source.open("sebring_test", "a.test", &answers).expect("no try"), Err(Reason::NameNotAllowed));
    }
}
