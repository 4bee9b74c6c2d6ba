//! Who calls.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use sebring_auth::{Permission, Principal};
use sebring_types::OrganizationId;

use crate::app::App;
use crate::error::ApiError;
use crate::public_url::PublicUrl;

/// An authenticated caller, and the address it knows the server by.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub principal: Principal,
    pub url: PublicUrl,
}

impl Caller {
    /// The owner of all that the caller can see.
    pub fn organization(&self) -> OrganizationId {
        self.principal.organization
    }

    /// The same, for a caller that may do this.
    pub fn may(&self, permission: Permission) -> Result<OrganizationId, ApiError> {
        self.principal.require(permission)?;
        Ok(self.principal.organization)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let principal = app.authenticator.request(parts).await?;
        Ok(Self { principal, url: PublicUrl::of(&app.config, &parts.headers) })
    }
}
