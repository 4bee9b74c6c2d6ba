//! The handlers, a file per noun.

pub(crate) mod api_keys;
pub(crate) mod configuration;
pub(crate) mod intervals;
pub(crate) mod paginated_sandboxes;
pub(crate) mod runners;
#[expect(unused_qualifications, reason = "in what utoipa::path generates")]
pub(crate) mod sandboxes;
pub(crate) mod signing_key;
pub(crate) mod snapshots;
pub(crate) mod toolbox;
