#![no_main]

use sebring_network::untrusted::{Answered, answered, speaks};

// What an SSH client or a TLS server says first, of which a part may come first: more bytes don't change what was told.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((at, bytes)) = bytes.split_first() else { return };
    let part = &bytes[..usize::from(*at).min(bytes.len())];
    if let Some(told) = speaks(part, &[b"SSH-2.0-", b"SSH-1.99-"]) {
        assert_eq!(speaks(bytes, &[b"SSH-2.0-", b"SSH-1.99-"]), Some(told));
    }
    if answered(part) != Answered::More {
        assert_eq!(answered(bytes), answered(part));
    }
});
