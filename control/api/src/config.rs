//! What the API must be told.

use sebring_types::Resources;

/// Settings of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients reach the server, such as `https://sandboxes.example.com`. When absent, answers name the host
    /// that the request came to.
    pub public_url: Option<String>,
    /// Named when the request doesn't tell, such as `http://127.0.0.1:3986`.
    pub local_url: String,
    /// Of the program.
    pub version: String,
    /// The most that one sandbox may ask for.
    pub limits: Resources,
}
