//! Linked sandboxes: groups whose running members reach each other, by name and by address.
//!
//! A group is a parent and its children. Of each two running members the kernel's set [`LINKED`] holds both orders of their
//! addresses, so a group costs the square of its size there; [`CHILDREN`] keeps that small. Every running sandbox is known
//! here, since anyone may become a parent; one that is alone costs no rule.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sebring_types::SandboxId;

use crate::nftables::{Element, Transaction};
use crate::{Claim, NetworkError, policy};

/// Pairs of source and destination.
pub(crate) const LINKED: &str = "linked";
/// Running children of one parent at most.
pub const CHILDREN: usize = 100;

/// A running sandbox, as others of its group see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: SandboxId,
    /// The parent's id: of the parent itself, too.
    pub group: SandboxId,
    /// As its user knows it.
    pub name: String,
    pub hostname: String,
    pub address: Ipv4Addr,
}

/// All running sandboxes of one server, by group.
#[derive(Debug)]
pub struct Links {
    table: String,
    groups: Mutex<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    members: HashMap<SandboxId, Vec<Member>>,
    group_of: HashMap<Ipv4Addr, SandboxId>,
}

impl Links {
    /// Those that run already; [`policy::install`] tells the kernel of them.
    pub fn new(claim: Claim, running: impl IntoIterator<Item = Member>) -> Self {
        let mut groups = Groups::default();
        running.into_iter().for_each(|member| groups.insert(member));
        Self { table: policy::table(claim), groups: Mutex::new(groups) }
    }

    /// Lets a sandbox and the others of its group reach each other.
    pub fn join(&self, member: Member) -> Result<(), NetworkError> {
        let mut groups = self.lock();
        let others = groups.members.get(&member.group).map(Vec::as_slice).unwrap_or_default();
        let children = others.iter().filter(|other| other.id != other.group).count();
        if member.id != member.group && children >= CHILDREN {
            return Err(NetworkError::GroupFull);
        }
        let mut transaction = Transaction::new(&self.table);
        transaction.add(LINKED, &pairs(&member, others));
        transaction.commit().map_err(NetworkError::io("links of a sandbox"))?;
        groups.insert(member);
        Ok(())
    }

    /// Ends what [`Self::join`] began; the sandbox must have ended, so that its address can be used again.
    pub fn leave(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let mut groups = self.lock();
        let Some((member, others)) = groups.remove(address) else { return Ok(()) };
        let mut transaction = Transaction::new(&self.table);
        transaction.delete(LINKED, &pairs(&member, others));
        transaction.commit().map_err(NetworkError::io("links of a sandbox"))
    }

    /// The address of the running sandbox that `client`'s group knows by this name or id, whatever its case. None when
    /// the client is alone, so that nobody's own name hides a name of the internet.
    pub fn address(&self, client: Ipv4Addr, name: &str) -> Option<Ipv4Addr> {
        let groups = self.lock();
        let members = groups.around(client)?;
        let is = |text: &str| !text.is_empty() && text.eq_ignore_ascii_case(name);
        let exact = members.iter().find(|member| is(&member.name) || is(&member.id.to_string()));
        let found = exact.or_else(|| members.iter().find(|member| is(&member.hostname)))?;
        Some(found.address)
    }

    /// The host name of the sandbox at an address, if it is of `client`'s group.
    pub fn hostname(&self, client: Ipv4Addr, address: Ipv4Addr) -> Option<String> {
        let groups = self.lock();
        let found = groups.around(client)?.iter().find(|member| member.address == address)?;
        Some(found.hostname.clone())
    }

    /// Everything in the words of `nft`, for the ruleset that a server starts with.
    pub(crate) fn declare(&self) -> String {
        let groups = self.lock();
        let mut text = String::new();
        for members in groups.members.values() {
            for a in members {
                for b in members.iter().filter(|b| b.address != a.address) {
                    let pair = format!("{} . {}", a.address, b.address);
                    text += &format!("add element inet {} {LINKED} {{ {pair} }}\n", self.table);
                }
            }
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Groups {
    fn insert(&mut self, member: Member) {
        self.group_of.insert(member.address, member.group);
        self.members.entry(member.group).or_default().push(member);
    }

    /// Takes a member out; answers it and those that stay.
    fn remove(&mut self, address: Ipv4Addr) -> Option<(Member, &[Member])> {
        let group = self.group_of.remove(&address)?;
        let members = self.members.get_mut(&group)?;
        let at = members.iter().position(|member| member.address == address)?;
        let member = members.swap_remove(at);
        if members.is_empty() {
            self.members.remove(&group);
        }
        Some((member, self.members.get(&group).map(Vec::as_slice).unwrap_or_default()))
    }

    /// The members of `client`'s group, if it is not alone there.
    fn around(&self, client: Ipv4Addr) -> Option<&[Member]> {
        let members = self.members.get(self.group_of.get(&client)?)?;
        (members.len() > 1).then_some(members)
    }
}

fn pairs(member: &Member, others: &[Member]) -> Vec<Element> {
    let pair = |from: Ipv4Addr, to: Ipv4Addr| Element { key: [from.octets(), to.octets()].concat(), key_end: None };
    others.iter().flat_map(|other| [pair(member.address, other.address), pair(other.address, member.address)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subnet;

    const CLAIM: Subnet = Subnet::new(10, 209);

    fn member(number: u16, group: SandboxId, name: &str) -> Member {
        let id = SandboxId::generate();
        let hostname = name.to_lowercase().replace('.', "-");
        Member { id, group, name: name.to_owned(), hostname, address: CLAIM.address(number) }
    }

    /// A parent, two children, and one who is alone.
    fn links() -> (Links, Vec<Member>) {
        let mut parent = member(16, SandboxId::generate(), "Data.Base");
        parent.id = parent.group;
        let [first, second] = [(17, "web"), (18, "data-base")].map(|(number, name)| member(number, parent.group, name));
        let alone = member(19, SandboxId::generate(), "alone");
        let all = vec![parent, first, second, alone];
        (Links::new(Claim { place: 99, subnet: CLAIM }, all.clone()), all)
    }

    #[test]
    fn members_know_each_other_by_name_and_id() {
        let (links, all) = links();
        let [parent, web, shadow, alone] = &all[..] else { panic!("four") };
        for client in [parent, web, shadow] {
            assert_eq!(links.address(client.address, "WEB"), Some(web.address));
            assert_eq!(links.address(client.address, "data.base"), Some(parent.address));
            // A name comes before a host name that is made of another.
            assert_eq!(links.address(client.address, "data-base"), Some(shadow.address));
            assert_eq!(links.address(client.address, &parent.id.to_string().to_uppercase()), Some(parent.address));
            assert_eq!(links.address(client.address, ""), None);
            assert_eq!(links.address(client.address, "alone"), None);
            assert_eq!(links.hostname(client.address, web.address).as_deref(), Some("web"));
            assert_eq!(links.hostname(client.address, alone.address), None);
        }
        for stranger in [alone.address, CLAIM.address(20)] {
            for name in ["web", "alone", &parent.id.to_string()] {
                assert_eq!(links.address(stranger, name), None, "{name}");
            }
            assert_eq!(links.hostname(stranger, web.address), None);
        }
    }

    #[test]
    fn each_pair_is_declared_both_ways() {
        let (links, _) = links();
        let text = links.declare();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let pairs = [(16, 17), (16, 18), (17, 16), (17, 18), (18, 16), (18, 17)];
        let expected =
            pairs.map(|(a, b)| format!("add element inet sebring_99 linked {{ 10.209.0.{a} . 10.209.0.{b} }}"));
        assert_eq!(lines, expected);
    }

    #[test]
    fn who_left_is_known_no_more() {
        let (links, all) = links();
        let mut groups = links.lock();
        let (gone, left) = groups.remove(all[1].address).expect("there");
        assert_eq!((gone.name.as_str(), left.len()), ("web", 2));
        assert!(groups.remove(all[1].address).is_none());
        groups.remove(all[0].address).expect("there");
        drop(groups);
        assert_eq!(links.address(all[2].address, "data-base"), None, "alone by now");
        let (_, left) = links.lock().remove(all[2].address).map(|(gone, left)| (gone, left.len())).expect("there");
        assert_eq!(left, 0);
    }

    #[test]
    fn a_parent_has_so_many_children_and_comes_back_to_them() {
        let mut parent = member(16, SandboxId::generate(), "parent");
        parent.id = parent.group;
        let children = (0..CHILDREN as u16).map(|number| member(17 + number, parent.group, "child"));
        let links = Links::new(Claim { place: 99, subnet: CLAIM }, children);
        let full = links.join(member(999, parent.group, "late")).expect_err("full");
        assert!(full.to_string().contains("has 100 running ones"), "{full}");
        // The kernel has no such table here, which is where it gets to.
        let refused = links.join(parent).expect_err("no table");
        assert!(matches!(refused, NetworkError::Io { .. }), "{refused}");
    }
}
