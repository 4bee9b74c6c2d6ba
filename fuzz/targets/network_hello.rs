#![no_main]

use sebring_network::untrusted::{Said, server_name};

// The beginning of a TLS connection, of which a part may come first: it never names anything else than the whole.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((at, bytes)) = bytes.split_first() else { return };
    let part = server_name(&bytes[..usize::from(*at).min(bytes.len())]);
    if let (Said::Name(part), Said::Name(whole)) = (part, server_name(bytes)) {
        assert_eq!(part, whole);
    }
});
