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
