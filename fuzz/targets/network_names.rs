#![no_main]

use std::net::Ipv4Addr;

use sebring_network::untrusted::{Answer, Asked};
use sebring_types::denial::Reason;

// A query of the sandbox, behind the byte of its length, and what a resolver answers.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (query, message) = bytes.split_at(usize::from(*length).min(bytes.len()));
    let Some(asked) = Asked::read(query) else { return };
    let withhold = |address: Ipv4Addr| address.is_private().then_some(Reason::Forbidden);
    if let Some(answer) = Answer::read(&asked, message, withhold) {
        assert!(answer.addresses.iter().all(|(address, _)| !address.is_private()));
        assert!(answer.withheld.iter().all(|(address, _)| address.is_private()));
        assert!(Asked::read(&answer.message).is_none(), "an answer is no query");
    }
});
