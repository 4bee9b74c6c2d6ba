#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sebring_agent::fuzz::ledger(bytes));
