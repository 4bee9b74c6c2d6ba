//! User name and password of one request.
//!
//! Git asks credential helpers for them (gitcredentials(7)). Ours is a line of shell in a setting of the one call; it
//! shows a file in memory that git and its helpers inherit as a descriptor. So the password is in no argument, no
//! environment and no file with a name, and it is gone with the call. The setting names the server, so that a
//! redirect to another one does not get it, and resets the list of helpers before ours: those of the sandbox's
//! configuration neither come first nor are told to keep it.

use crate::http::error::Failure;

/// The descriptor that [`super::command::Git::secret`] gives to git, as a file of any process below.
pub const SECRET: &str = "/proc/self/fd/3";

/// At least one of both.
pub struct Login {
    username: Option<String>,
    password: Option<String>,
}

/// The login of a request's fields; none when both are absent or empty.
pub fn given(username: Option<String>, password: Option<String>) -> Result<Option<Login>, Failure> {
    let [username, password] = [username, password].map(|value| value.filter(|value| !value.is_empty()));
    check("username", username.as_deref().unwrap_or_default())?;
    check("password", password.as_deref().unwrap_or_default())?;
    Ok((username.is_some() || password.is_some()).then_some(Login { username, password }))
}

/// Fields of the protocol of credential helpers end with their line.
pub fn check(name: &str, value: &str) -> Result<(), Failure> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(Failure::bad_request(format!("{name} has a line break or a zero byte, which git cannot send")));
    }
    Ok(())
}

impl Login {
    pub fn new(username: String, password: String) -> Self {
        Self { username: Some(username), password: Some(password) }
    }

    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// What a helper writes.
    pub fn answer(&self) -> String {
        let fields = [("username", &self.username), ("password", &self.password)];
        fields.iter().filter_map(|(name, value)| Some(format!("{name}={}\n", value.as_deref()?))).collect()
    }
}

/// The settings that have git ask our helper about a server, and only ours.
pub fn settings(origin: &str) -> [String; 2] {
    // Other words than `get` are to keep or to forget.
    let helper = format!(
        "!f() {{ test \"$1\" = get || return 0; while IFS= read -r line; do printf '%s\\n' \"$line\"; done < {SECRET}; \
         }}; f"
    );
    [format!("credential.{origin}.helper="), format!("credential.{origin}.helper={helper}")]
}
