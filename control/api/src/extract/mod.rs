//! What handlers take from a request.

mod body;
mod caller;
mod nearest;
mod parameters;

pub(crate) use body::Body;
pub(crate) use caller::Caller;
pub(crate) use parameters::Parameters;
