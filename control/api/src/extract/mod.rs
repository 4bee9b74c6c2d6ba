//! What handlers take from a request.

mod body;
mod caller;
mod client;
mod parameters;

pub(crate) use body::Body;
pub(crate) use caller::Caller;
pub(crate) use client::Client;
pub(crate) use parameters::Parameters;
use sebring_types::nearest::Meant;

/// Names that users know from the SDKs, where the API has another.
const OTHERWISE: &[Meant] = &[
    ("envVars", "env"),
    ("env_vars", "env"),
    ("envs", "env"),
    ("image", "snapshot, or buildInfo"),
    ("resources", "cpu, memory and disk"),
    ("mem", "memory"),
    ("language", "labels: {\"code-toolbox-language\": …}"),
    ("osUser", "user"),
    ("ephemeral", "autoDeleteInterval: 0"),
];
