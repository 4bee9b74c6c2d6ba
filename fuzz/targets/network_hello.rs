#![no_main]

use sebring_network::untrusted::{Said, length, server_name};

// The beginning of a TLS connection, of which a part may come first: it never names anything else than the whole, and what
// is passed on as the hello names the same.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((at, bytes)) = bytes.split_first() else { return };
    let part = server_name(&bytes[..usize::from(*at).min(bytes.len())]);
    let whole = server_name(bytes);
    if let (Said::Name(part), Said::Name(whole)) = (&part, &whole) {
        assert_eq!(part, whole);
    }
    if let (Said::Name(_), Some(length)) = (&whole, length(bytes)) {
        assert_eq!(server_name(&bytes[..length]), whole);
    }
});
