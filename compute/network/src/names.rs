//! The names of linked sandboxes: answered here, to their own group alone.

use std::net::{IpAddr, Ipv4Addr};

use simple_dns::rdata::{PTR, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, Question, ResourceRecord};

use crate::Links;

/// Seconds: none, for a sandbox has another address after each start.
const TTL: u32 = 0;
/// Where addresses are looked up (RFC 1035 §3.5).
const REVERSE: &str = ".in-addr.arpa";

/// The answer to a query of `client` that is about a sandbox linked with it.
pub(crate) fn answer(links: &Links, client: IpAddr, query: &[u8]) -> Option<Vec<u8>> {
    let IpAddr::V4(client) = client else { return None };
    let query = Packet::parse(query).ok()?;
    let [question] = query.questions.as_slice() else { return None };
    if query.opcode() != OPCODE::StandardQuery || query.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let record = find(links, client, question)?;
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.push(question.clone());
    // The name is there, whatever else is asked about it: that has no answer (RFC 2308 §2.2).
    if record.match_qtype(question.qtype) && record.match_qclass(question.qclass) {
        reply.answers.push(record);
    }
    reply.build_bytes_vec().ok()
}

fn find<'q>(links: &Links, client: Ipv4Addr, question: &Question<'q>) -> Option<ResourceRecord<'q>> {
    let name = question.qname.to_string();
    let data = match reversed(&name) {
        Some(address) => RData::PTR(PTR(Name::new(&links.hostname(client, address)?).ok()?.into_owned())),
        None => RData::A(links.address(client, &name)?.into()),
    };
    Some(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data))
}

/// The address that a name of the reverse zone stands for.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let (octets, zone) = name.split_at_checked(name.len().checked_sub(REVERSE.len())?)?;
    if !zone.eq_ignore_ascii_case(REVERSE) {
        return None;
    }
    octets.parse::<Ipv4Addr>().ok().map(|address| u32::from(address).swap_bytes().into())
}

#[cfg(test)]
mod tests {
    use sebring_types::SandboxId;
    use simple_dns::{QCLASS, QTYPE, RCODE, TYPE};

    use super::*;
    use crate::{Claim, Member, Subnet};

    const SUBNET: Subnet = Subnet::new(10, 209);

    fn pair() -> (Links, SandboxId) {
        let group = SandboxId::generate();
        let members =
            [("Data.Base", "data-base"), ("web", "web")].into_iter().zip(16..).map(|((name, hostname), number)| {
                let (name, hostname) = (name.to_owned(), hostname.to_owned());
                let id = if number == 16 { group } else { SandboxId::generate() };
                Member { id, group, name, hostname, address: SUBNET.address(number) }
            });
        (Links::new(Claim { place: 99, subnet: SUBNET }, members), group)
    }

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut query = Packet::new_query(7);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).expect("a name");
        query.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        query.build_bytes_vec().expect("a message")
    }

    fn ask(links: &Links, number: u16, name: &str, kind: TYPE) -> Option<Vec<String>> {
        let reply = answer(links, SUBNET.address(number).into(), &query(name, kind))?;
        let reply = Packet::parse(&reply).expect("a message");
        assert_eq!((reply.id(), reply.rcode(), reply.questions.len()), (7, RCODE::NoError, 1));
        assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
        assert_eq!(reply.questions[0].qname.to_string(), name);
        let text = |record: &ResourceRecord<'_>| {
            assert_eq!((record.name.to_string().as_str(), record.ttl), (name, 0));
            match &record.rdata {
                RData::A(a) => Ipv4Addr::from(a.address).to_string(),
                RData::PTR(PTR(name)) => name.to_string(),
                other => panic!("{other:?}"),
            }
        };
        Some(reply.answers.iter().map(text).collect())
    }

    #[test]
    fn members_are_found_by_name_id_and_address() {
        let (links, parent) = pair();
        let address = || Some(vec!["10.209.0.16".to_owned()]);
        for name in ["Data.Base", "dATA.bASE", "data-base", &parent.to_string()] {
            assert_eq!(ask(&links, 17, name, TYPE::A), address(), "{name}");
        }
        assert_eq!(ask(&links, 17, "16.0.209.10.in-addr.arpa", TYPE::PTR), Some(vec!["data-base".to_owned()]));
    }

    #[test]
    fn what_a_member_does_not_have_is_not_asked_elsewhere() {
        let (links, _) = pair();
        for kind in [TYPE::AAAA, TYPE::MX, TYPE::HTTPS] {
            assert_eq!(ask(&links, 17, "data-base", kind), Some(Vec::new()), "{kind:?}");
        }
    }

    #[test]
    fn the_rest_is_left_to_others() {
        let (links, _) = pair();
        for name in ["example.com", "17.0.209.10", "99.0.209.10.in-addr.arpa", "in-addr.arpa", "x.data-base", "."] {
            assert_eq!(ask(&links, 17, name, TYPE::A), None, "{name}");
        }
        assert_eq!(ask(&links, 18, "web", TYPE::A), None, "a stranger");
        let (mut reply, mut cut) = (query("web", TYPE::A), query("web", TYPE::A));
        reply[2] |= 0x80;
        cut.truncate(cut.len() - 3);
        for message in [reply, cut, Vec::new(), vec![0; 12]] {
            assert_eq!(answer(&links, SUBNET.address(17).into(), &message), None, "{message:?}");
        }
    }
}
