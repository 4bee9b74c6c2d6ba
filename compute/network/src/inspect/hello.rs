//! The name that a TLS client asks for.

use rustls::server::Acceptor;

/// The first byte of TLS: a record of the handshake (RFC 8446 §5.1).
pub(super) const HANDSHAKE: u8 = 0x16;
/// A fatal alert, as a server sends it that does not have the name (RFC 6066 §3).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];
/// Bytes of a ClientHello at most; with large keys and tickets they have some thousand.
const LONGEST: usize = 64 * 1024;

/// What a client said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its ClientHello is not complete.
    More,
    Name(String),
    /// No name, or nothing that a server should understand.
    Nothing,
}

/// Reads the beginning of a TLS connection. A TLS library reads it, which is as strict as servers are.
pub fn server_name(bytes: &[u8]) -> Said {
    if bytes.len() > LONGEST {
        return Said::Nothing;
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        let read = match acceptor.read_tls(&mut rest) {
            Ok(read) => read,
            Err(_) => return Said::Nothing,
        };
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return accepted.client_hello().server_name().map_or(Said::Nothing, |name| Said::Name(name.to_owned()));
            }
            Ok(None) if read == 0 => return Said::More,
            Ok(None) => {}
            Err(_) => return Said::Nothing,
        }
    }
}

/// The random of a ServerHello that asks for another ClientHello (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
const ALERT: u8 = 0x15;
const SERVER_HELLO: u8 = 2;
/// Bytes of a record's header, and of a handshake message's.
const RECORD: usize = 5;
const MESSAGE: usize = 4;

/// Bytes that a whole ClientHello takes in its records, which must hold nothing else.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let (mut said, mut at) = (Vec::new(), 0);
    loop {
        let record = record(&bytes[at..]).filter(|record| record[0] == HANDSHAKE)?;
        said.extend_from_slice(&record[RECORD..]);
        at += record.len();
        if let Some([_, length @ ..]) = said.first_chunk::<MESSAGE>() {
            let whole = MESSAGE + u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
            if said.len() >= whole {
                return (said.len() == whole).then_some(at);
            }
        }
    }
}

/// The record that the bytes begin with, if it is complete.
pub fn record(bytes: &[u8]) -> Option<&[u8]> {
    let header = bytes.first_chunk::<RECORD>()?;
    bytes.get(..RECORD + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// What a server said first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Too little to tell.
    More,
    /// The client has said all that names a host.
    Enough,
    /// The client is to say hello once more.
    Again,
    /// It does not speak TLS.
    Otherwise,
}

/// Reads the beginning of what a server answers to a ClientHello.
pub fn answered(bytes: &[u8]) -> Answered {
    match bytes.first() {
        None => return Answered::More,
        Some(&ALERT) => return Answered::Enough,
        Some(&HANDSHAKE) => {}
        Some(_) => return Answered::Otherwise,
    }
    const RANDOM: usize = RECORD + MESSAGE + 2;
    let Some(random) = bytes.get(RANDOM..RANDOM + RETRY.len()) else { return Answered::More };
    let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    // No server cuts its hello that short, so nobody is wronged by the stricter reading.
    if bytes[RECORD] != SERVER_HELLO || RECORD + length < RANDOM + RETRY.len() || random == RETRY {
        return Answered::Again;
    }
    Answered::Enough
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ClientHello of TLS 1.2, in one record, with these extensions.
    pub fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let extensions: Vec<u8> =
            extensions.iter().flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &with_length(data)].concat()).collect();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(with_length(&[0xc0, 0x2f, 0x13, 0x01]));
        body.extend([1, 0]);
        body.extend(with_length(&extensions));
        let mut handshake = vec![1, 0];
        handshake.extend(with_length(&body));
        [&[HANDSHAKE, 3, 1][..], &with_length(&handshake)].concat()
    }

    pub fn name(name: &str) -> (u16, Vec<u8>) {
        let length = name.len() as u16;
        let list = [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name.as_bytes()].concat();
        (0, list)
    }

    /// Without it no server goes on (RFC 8446 §9.2).
    pub fn signatures() -> (u16, Vec<u8>) {
        (13, vec![0, 2, 4, 3])
    }

    #[test]
    fn reads_the_name() {
        let bytes = hello(&[name("WWW.example.com"), signatures()]);
        match server_name(&bytes) {
            Said::Name(name) => assert!(name.eq_ignore_ascii_case("www.example.com"), "{name}"),
            other => panic!("{other:?}"),
        }
        for length in 0..bytes.len() {
            assert_eq!(server_name(&bytes[..length]), Said::More, "{length}");
        }
    }

    #[test]
    fn joins_a_hello_of_several_records() {
        let whole = hello(&[name("example.com"), signatures()]);
        let pieces: Vec<u8> = whole[5..]
            .chunks(20)
            .flat_map(|piece| [&[HANDSHAKE, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat())
            .collect();
        assert_eq!(server_name(&pieces), Said::Name("example.com".to_owned()));
    }

    /// The beginning of a ServerHello with this random.
    pub fn server_hello(random: [u8; 32]) -> Vec<u8> {
        [&[HANDSHAKE, 3, 3, 0, 40, SERVER_HELLO, 0, 0, 36, 3, 3][..], &random, &[0, 0x13, 1, 0]].concat()
    }

    pub const AGAIN: [u8; 32] = RETRY;

    #[test]
    fn knows_where_a_hello_ends() {
        let whole = hello(&[name("a.test"), signatures()]);
        assert_eq!(length(&whole), Some(whole.len()));
        assert_eq!(length(&[&whole[..], &whole].concat()), Some(whole.len()));
        for cut in 0..whole.len() {
            assert_eq!(length(&whole[..cut]), None, "{cut}");
        }
        // Two messages in one record: nobody sends that.
        let mut joined = [&whole[..], &whole[RECORD..]].concat();
        joined[3..5].copy_from_slice(&(2 * (whole.len() - RECORD) as u16).to_be_bytes());
        assert_eq!(length(&joined), None);
    }

    #[test]
    fn hears_a_server_ask_again() {
        for (random, expected) in [([7; 32], Answered::Enough), (RETRY, Answered::Again)] {
            let said = server_hello(random);
            assert_eq!(answered(&said), expected);
            for cut in 0..said.len() - 4 {
                assert_eq!(answered(&said[..cut]), Answered::More, "{cut}");
            }
        }
        assert_eq!(answered(&[ALERT, 3, 3, 0, 2, 2, 40]), Answered::Enough);
        assert_eq!(answered(b"HTTP/1.1 400"), Answered::Otherwise);
    }

    #[test]
    fn finds_no_name_in_anything_else() {
        let twice = hello(&[name("a.test"), name("b.test"), signatures()]);
        let address = hello(&[name("192.0.2.1"), signatures()]);
        let none = hello(&[signatures()]);
        let garbage = [&[HANDSHAKE, 3, 1, 0, 4][..], &[9; 200]].concat();
        for bytes in [twice, address, none, garbage, vec![HANDSHAKE; LONGEST + 1]] {
            assert_eq!(server_name(&bytes), Said::Nothing, "{:?}", &bytes[..20]);
        }
    }
}
