#![no_main]

use http::Request;
use http::header::HOST;
use sebring_network::untrusted::host;

// A request: the URI, then a `Host` in each line.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut request = Request::builder().uri(lines.next().unwrap_or_default());
    for line in lines {
        request = request.header(HOST, line);
    }
    let Ok(request) = request.body(()) else { return };
    if let Ok(host) = host(&request) {
        assert_eq!(request.headers().get_all(HOST).iter().count(), 1);
        assert!(!host.is_empty() && !host.contains([':', '/', '@', ' ']), "{host:?}");
    }
});
