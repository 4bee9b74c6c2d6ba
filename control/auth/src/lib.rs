//! Who calls, and what they may do: API keys, and the organization they belong to.
//!
//! A key is looked up by its digest once and then remembered in memory, so that the toolbox path asks no database. A
//! key that is removed must be given to [`Authenticator::forget`]; unknown keys are not remembered.
#![forbid(unsafe_code)]

mod authenticator;
mod error;
mod principal;
mod visitor;

pub use authenticator::Authenticator;
pub use error::Error;
pub use principal::Principal;
pub use sebring_store::Permission;
pub use visitor::{Visitor, network};
