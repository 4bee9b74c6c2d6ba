//! Entries for `dev/fuzz`: what a client can put into the URL of a toolbox request.

use axum::http::{HeaderMap, Method, Uri};
use jiff::Timestamp;

use crate::signature::Signed;
use crate::target::Target;

/// A URL: where it leads, and whether its signature counts. None is valid for a key that nobody knows.
pub fn url(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from(bytes) else { return };
    let Ok(target) = Target::of(&uri) else { return };
    let path = target.path.path();
    assert!(path.starts_with('/'));
    assert!(!path.to_ascii_lowercase().trim_start_matches('/').starts_with(".sbx"), "{path} is the runner's");
    for method in [Method::GET, Method::POST] {
        if let Some(signed) = Signed::of(&method, &HeaderMap::new(), &target.path) {
            assert!(signed.check("sk_of_nobody", Timestamp::UNIX_EPOCH).is_err());
        }
    }
}
