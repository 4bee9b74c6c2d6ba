#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sebring_proxy::fuzz::url(bytes));
