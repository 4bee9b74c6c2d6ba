//! Answers for sandboxes that may only ask for some names: made anew from what a resolver said.

use std::net::Ipv4Addr;
use std::time::Duration;

use sebring_types::denial::Reason;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

use crate::asked::{Asked, extension, host_name};

/// Names that one stands for at most.
const ALIASES: usize = 16;
/// Addresses of one name that are passed on; any of them is as good.
const ADDRESSES: usize = 32;

/// What a resolver said of a name's addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// For the sandbox.
    pub message: Vec<u8>,
    /// What it names, and for how long.
    pub addresses: Vec<(Ipv4Addr, Duration)>,
    /// What it named, too, and no sandbox may reach.
    pub withheld: Vec<(Ipv4Addr, Reason)>,
}

impl Answer {
    /// Reads the answer to `asked`, which was for addresses; none when it can't be that.
    ///
    /// Only the chain of aliases that begins with the name counts, not what else the message holds.
    pub fn read(asked: &Asked, message: &[u8], unreachable: impl Fn(Ipv4Addr) -> Option<Reason>) -> Option<Self> {
        let packet = Packet::parse(message).ok()?;
        let [question] = packet.questions.as_slice() else { return None };
        let fits = packet.has_flags(PacketFlag::RESPONSE)
            && !packet.has_flags(PacketFlag::TRUNCATION)
            && host_name(&question.qname)?.eq_ignore_ascii_case(&asked.name)
            && question.qtype == asked.kind;
        if !fits {
            return None;
        }
        let records: Vec<&ResourceRecord<'_>> =
            packet.answers.iter().filter(|record| record.class == CLASS::IN).collect();
        let mut chain = Vec::new();
        let mut name = asked.section()?.qname;
        let mut lifetime = u32::MAX;
        while let Some((alias, target)) = records.iter().find_map(|record| match &record.rdata {
            RData::CNAME(target) if same(&record.name, &name) => Some((*record, &target.0)),
            _ => None,
        }) {
            if chain.len() == ALIASES {
                return None;
            }
            lifetime = lifetime.min(alias.ttl);
            chain.push(alias.clone());
            name = target.clone();
        }
        let (mut addresses, mut withheld) = (Vec::new(), Vec::new());
        for record in records.iter().filter(|record| same(&record.name, &name)) {
            let RData::A(a) = &record.rdata else { continue };
            let address = Ipv4Addr::from(a.address);
            match unreachable(address) {
                Some(reason) => withheld.push((address, reason)),
                None if addresses.len() < ADDRESSES => {
                    chain.push((*record).clone());
                    addresses.push((address, Duration::from_secs(lifetime.min(record.ttl).into())));
                }
                None => {}
            }
        }
        let mut reply = Packet::new_reply(asked.id);
        reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
        // A name of which nothing is left is as good as none, and known to be at once.
        let code = if addresses.is_empty() && !withheld.is_empty() { RCODE::NameError } else { packet.rcode() };
        *reply.rcode_mut() = code;
        reply.questions.push(asked.section()?);
        reply.answers = chain;
        if asked.extended {
            *reply.opt_mut() = Some(extension());
        }
        Some(Self { message: reply.build_bytes_vec_compressed().ok()?, addresses, withheld })
    }
}

fn same(one: &simple_dns::Name<'_>, other: &simple_dns::Name<'_>) -> bool {
    let (one, other) = (one.get_labels(), other.get_labels());
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.as_ref().eq_ignore_ascii_case(b.as_ref()))
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{A, CNAME};
    use simple_dns::{Name, TYPE};

    use super::*;
    use crate::asked::tests::query;

    const GOOD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

    fn asked() -> Asked {
        Asked::read(&query("www.test", TYPE::A)).expect("a query")
    }

    fn address(name: &'static str, ttl: u32, address: Ipv4Addr) -> ResourceRecord<'static> {
        let data = RData::A(A { address: address.into() });
        ResourceRecord::new(Name::new(name).expect("a name"), CLASS::IN, ttl, data)
    }

    fn alias(name: &'static str, ttl: u32, target: &'static str) -> ResourceRecord<'static> {
        let data = RData::CNAME(CNAME(Name::new(target).expect("a name")));
        ResourceRecord::new(Name::new(name).expect("a name"), CLASS::IN, ttl, data)
    }

    fn message(name: &'static str, records: Vec<ResourceRecord<'static>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(99);
        let asked = Asked::read(&query(name, TYPE::A)).expect("a query");
        packet.questions.push(asked.section().expect("a question"));
        packet.answers = records;
        packet.build_bytes_vec_compressed().expect("a message")
    }

    fn read(records: Vec<ResourceRecord<'static>>) -> Option<Answer> {
        Answer::read(&asked(), &message("www.test", records), |address| {
            address.is_link_local().then_some(Reason::Forbidden)
        })
    }

    fn seconds(answer: &Answer) -> Vec<(Ipv4Addr, u64)> {
        answer.addresses.iter().map(|(address, time)| (*address, time.as_secs())).collect()
    }

    #[test]
    fn follows_aliases_and_nothing_else() {
        let other = Ipv4Addr::new(192, 0, 2, 9);
        let answer = read(vec![
            address("other.test", 60, other),
            alias("WWW.test", 300, "cdn.test"),
            alias("cdn.test", 20, "edge.test"),
            address("edge.TEST", 60, GOOD),
            address("www.test", 60, other),
        ]);
        let answer = answer.expect("an answer");
        assert_eq!(seconds(&answer), [(GOOD, 20)]);
        let reply = Packet::parse(&answer.message).expect("a message");
        assert_eq!((reply.id(), reply.rcode(), reply.answers.len()), (0x1234, RCODE::NoError, 3));
    }

    #[test]
    fn withholds_what_must_not_be_reached() {
        let answer = read(vec![address("www.test", 60, METADATA), address("www.test", 30, GOOD)]).expect("an answer");
        assert_eq!(
            (seconds(&answer), answer.withheld.as_slice()),
            (vec![(GOOD, 30)], &[(METADATA, Reason::Forbidden)][..])
        );
        assert_eq!(Packet::parse(&answer.message).expect("a message").answers.len(), 1);
        let answer = read(vec![address("www.test", 60, METADATA)]).expect("an answer");
        let reply = Packet::parse(&answer.message).expect("a message");
        assert_eq!((reply.rcode(), reply.answers.len(), answer.addresses.len()), (RCODE::NameError, 0, 0));
    }

    #[test]
    fn aliases_in_a_circle_are_no_answer() {
        assert_eq!(read(vec![alias("www.test", 1, "a.test"), alias("a.test", 1, "www.test")]), None);
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let records = vec![address("evil.test", 60, GOOD)];
        assert_eq!(Answer::read(&asked(), &message("evil.test", records), |_| None), None);
        let good = message("www.test", vec![address("www.test", 60, GOOD)]);
        for length in 0..good.len() {
            assert_eq!(Answer::read(&asked(), &good[..length], |_| None), None, "{length}");
        }
        let mut query = good.clone();
        query[2] &= 0x7f;
        let mut truncated = good.clone();
        truncated[2] |= 0x02;
        for message in [query, truncated] {
            assert_eq!(Answer::read(&asked(), &message, |_| None), None);
        }
        assert!(Answer::read(&asked(), &good, |_| None).is_some());
    }
}
