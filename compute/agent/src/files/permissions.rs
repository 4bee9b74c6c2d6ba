//! `POST /files/permissions`: mode, owner and group, each optional.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use crate::agent::Agent;
use crate::guest::accounts::Accounts;
use crate::http::error::Failure;
use crate::http::request::{Request, blocking};
use crate::http::response::Response;
use crate::http::routes::done;

pub async fn set(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let given = |name| request.query.get(name).filter(|value| !value.is_empty());
    let mode = given("mode").map(parse_mode).transpose()?;
    let (owner, group) = (given("owner").map(str::to_owned), given("group").map(str::to_owned));
    blocking(move || {
        let accounts = Accounts::read();
        let unknown = |kind: &str, name: &str| {
            Failure::bad_request(format!("the sandbox has no {kind} {name:?}: name one it has, or give its number"))
        };
        let uid = owner.map(|name| accounts.user_id(&name).ok_or_else(|| unknown("user", &name))).transpose()?;
        let gid = group.map(|name| accounts.group_id(&name).ok_or_else(|| unknown("group", &name))).transpose()?;
        let change = || {
            // The owner first: a change of it takes the set-user-id bits away.
            if uid.is_some() || gid.is_some() {
                chown(&path, uid, gid)?;
            }
            mode.map_or(Ok(()), |mode| fs::set_permissions(&path, Permissions::from_mode(mode)))
        };
        change().map_err(|error| Failure::file(&path, &error))
    })
    .await?;
    Ok(done())
}

/// Octal, with or without a leading zero.
pub fn parse_mode(text: &str) -> Result<u32, Failure> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| Failure::bad_request(format!("mode {text:?} is malformed: give octal digits such as 644")))
}
