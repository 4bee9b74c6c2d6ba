#![no_main]

// The head of a refused packet.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let head = sebring_network::untrusted::Head::read(bytes);
    assert!(head.is_none() || bytes.len() >= 20);
});
