//! `/computeruse`: a desktop, which snapshots do not have.

use crate::http::error::{Failure, Kind};

const NONE: &str = "the sandbox's snapshot has no desktop: run programs by /process, which need no screen";

/// What every route of it answers; `area` is the part of the path after `/computeruse`.
pub fn unavailable(area: Option<&str>) -> Failure {
    let kind = if area == Some("a11y") { Kind::AccessibilityUnavailable } else { Kind::Unavailable };
    Failure::new(kind, NONE)
}
