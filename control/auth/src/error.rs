//! Why a caller is turned away.

use sebring_store::Permission;

/// The texts are for users.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401.
    #[error("no API key was given: send the header \"Authorization: Bearer <API key>\"")]
    Missing,
    /// 401.
    #[error("the API key is not valid: check DAYTONA_API_KEY")]
    Unknown,
    /// 403.
    #[error("the API key does not belong to the organization of the header X-Daytona-Organization-ID")]
    OtherOrganization,
    /// 403.
    #[error("the API key lacks the permission {}", .0.name())]
    Forbidden(Permission),
    /// 500: for the log.
    #[error(transparent)]
    Store(#[from] sebring_store::Error),
}
