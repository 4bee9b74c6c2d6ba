//! Queries of sandboxes that may only ask for some names: read, judged, and asked anew in our own words.
//!
//! Nothing of the sandbox's message but name and type goes on to the resolvers, and what comes back is read by
//! [`crate::answer`].

use simple_dns::rdata::OPT;
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// The fixed part of a message (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;
/// Bytes of an answer by UDP, unless the client says that it takes more (RFC 1035 §4.2.1).
const PLAIN: usize = 512;
/// Bytes of an answer by UDP at most, which no path has to take apart (DNS flag day 2020).
const UNBROKEN: u16 = 1232;

/// A query that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub(crate) id: u16,
    /// As it was written, since some clients want it back so.
    pub(crate) name: String,
    pub(crate) kind: QTYPE,
    /// Whether the client speaks EDNS (RFC 6891).
    pub(crate) extended: bool,
    /// Bytes that the client takes by UDP.
    pub(crate) room: usize,
    message: Vec<u8>,
}

impl Asked {
    /// Reads a query; none when it is none, or when its name can't be that of a host.
    pub fn read(message: &[u8]) -> Option<Self> {
        let packet = Packet::parse(message).ok()?;
        let [question] = packet.questions.as_slice() else { return None };
        let fits = packet.opcode() == OPCODE::StandardQuery
            && !packet.has_flags(PacketFlag::RESPONSE)
            && question.qclass == QCLASS::CLASS(CLASS::IN);
        let room = packet.opt().map_or(PLAIN, |opt| usize::from(opt.udp_packet_size.clamp(512, UNBROKEN)));
        let name = host_name(&question.qname).filter(|_| fits)?;
        let extended = packet.opt().is_some();
        Some(Self { id: packet.id(), name, kind: question.qtype, extended, room, message: message.to_owned() })
    }

    /// Whether addresses are asked for that sandboxes can use.
    pub(crate) fn wants_addresses(&self) -> bool {
        self.kind == QTYPE::TYPE(TYPE::A)
    }

    /// Whether the answer would hold addresses, or keys that hide names (ECH), in forms that are not judged.
    pub(crate) fn wants_hidden_addresses(&self) -> bool {
        matches!(self.kind, QTYPE::TYPE(TYPE::AAAA | TYPE::HTTPS | TYPE::SVCB) | QTYPE::ANY)
    }

    /// The same question for our resolvers, under a number that the sandbox can't know.
    pub(crate) fn question(&self, id: u16) -> Option<Vec<u8>> {
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(self.section()?);
        *packet.opt_mut() = Some(extension());
        packet.build_bytes_vec().ok()
    }

    pub(crate) fn section(&self) -> Option<Question<'_>> {
        Some(Question::new(Name::new(&self.name).ok()?, self.kind, CLASS::IN.into(), false))
    }

    /// An answer without records.
    pub(crate) fn nothing(&self, code: RCODE) -> Vec<u8> {
        reply(self.message.clone(), code)
    }

    /// Sends the client to TCP.
    pub(crate) fn truncated(&self) -> Vec<u8> {
        let mut reply = self.nothing(RCODE::NoError);
        reply[2] |= 0x02;
        reply
    }
}

/// What we say of ourselves in a message.
pub(crate) fn extension() -> OPT<'static> {
    OPT { opt_codes: Vec::new(), udp_packet_size: UNBROKEN, version: 0 }
}

/// A query of [`HEADER`] bytes at least, turned into an answer without records.
pub(crate) fn reply(mut query: Vec<u8>, code: RCODE) -> Vec<u8> {
    query[2] |= 0x80;
    query[3] = 0x80 | (code as u8 & 0x0f);
    query
}

/// The name in the usual notation, if it has only letters that host names have.
pub(crate) fn host_name(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.get_labels() {
        let bytes: &[u8] = label.as_ref();
        if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(bytes).ok()?);
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use simple_dns::Label;

    use super::*;

    /// A query as a stub resolver sends it.
    pub fn query(name: &str, kind: TYPE) -> Vec<u8> {
        message(Name::new(name).expect("a name"), kind)
    }

    fn message(name: Name<'_>, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(0x1234);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().expect("a message")
    }

    #[test]
    fn asks_anew() {
        let asked = Asked::read(&query("WWW.Example.com", TYPE::A)).expect("a query");
        assert_eq!((asked.name.as_str(), asked.room, asked.extended), ("WWW.Example.com", 512, false));
        assert!(asked.wants_addresses() && !asked.wants_hidden_addresses());
        let anew = asked.question(7).expect("a message");
        let anew = Packet::parse(&anew).expect("a message");
        assert_eq!((anew.id(), anew.questions[0].qname.to_string().as_str()), (7, "WWW.Example.com"));
        assert!(anew.has_flags(PacketFlag::RECURSION_DESIRED));
        let refused = asked.nothing(RCODE::NameError);
        let refused = Packet::parse(&refused).expect("a message");
        assert_eq!((refused.id(), refused.rcode(), refused.questions.len()), (0x1234, RCODE::NameError, 1));
        assert!(refused.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
        let short = asked.truncated();
        assert!(Packet::parse(&short).expect("a message").has_flags(PacketFlag::TRUNCATION));
    }

    #[test]
    fn knows_what_it_can_not_judge() {
        for kind in [TYPE::AAAA, TYPE::HTTPS, TYPE::SVCB] {
            assert!(Asked::read(&query("example.com", kind)).expect("a query").wants_hidden_addresses(), "{kind:?}");
        }
        assert!(!Asked::read(&query("example.com", TYPE::MX)).expect("a query").wants_hidden_addresses());
    }

    #[test]
    fn refuses_what_is_no_query_for_a_host() {
        let good = query("example.com", TYPE::A);
        for length in 0..good.len() {
            assert_eq!(Asked::read(&good[..length]), None, "{length}");
        }
        let mut answer = good.clone();
        answer[2] |= 0x80;
        let mut update = good.clone();
        update[2] |= 5 << 3;
        let mut chaos = good.clone();
        chaos[good.len() - 1] = 3;
        // A dot inside a label must not make another name of it.
        let dotted = [Label::new(&b"x.example"[..]).expect("a label"), Label::new(&b"com"[..]).expect("a label")];
        let dotted = message(Name::new_with_labels(&dotted), TYPE::A);
        for message in [answer, update, chaos, dotted, query("b\u{fc}cher.de", TYPE::A), query(".", TYPE::A)] {
            assert_eq!(Asked::read(&message), None, "{message:?}");
        }
    }
}
