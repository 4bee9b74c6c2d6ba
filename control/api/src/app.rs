//! What handlers share.

use std::sync::Arc;

use sebring_auth::Authenticator;
use sebring_lifecycle::Lifecycle;

use crate::Config;
use crate::audience::Audience;

/// The parts that handlers work with; clones share them.
#[derive(Clone)]
pub(crate) struct App {
    pub lifecycle: Lifecycle,
    pub authenticator: Authenticator,
    pub audience: Audience,
    pub config: Arc<Config>,
}
