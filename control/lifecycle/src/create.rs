//! Create: all in one go, and if it fails nothing is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use sebring_events::EventKind;
use sebring_fault::{Point, point};
use sebring_store::{Sandbox, Secret, now};
use sebring_types::runner::SandboxSpec;
use sebring_types::{DesiredState, NetworkSettings, OrganizationId, Resources, SandboxId, SandboxState};

use crate::{Action, Error, Lifecycle};

/// What a user asked for. Numbers and names were checked; whether they can be had was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSandbox {
    pub organization: OrganizationId,
    /// Its id when absent.
    pub name: Option<String>,
    /// Id or name; the default snapshot when absent.
    pub snapshot: Option<String>,
    /// The default region when absent.
    pub target: Option<String>,
    /// The snapshot's when absent.
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub public: bool,
    pub network: NetworkSettings,
    /// Each the snapshot's when absent.
    pub cpu: Option<u32>,
    pub memory: Option<u32>,
    pub disk: Option<u32>,
    /// Minutes; 0 is off.
    pub auto_stop_interval: u32,
    /// Minutes; 0 is the longest.
    pub auto_archive_interval: u32,
    /// Minutes; negative is off, 0 is at once.
    pub auto_delete_interval: i32,
    /// Minutes from now until it ends; 0 is off.
    pub ttl_minutes: u32,
    /// Id or name of the sandbox it is linked to.
    pub linked_to: Option<String>,
}

impl Lifecycle {
    /// Makes a sandbox and waits until it can be used.
    pub async fn create(&self, new: NewSandbox) -> Result<Sandbox, Error> {
        let lifecycle = self.clone();
        self.detached(async move { lifecycle.create_to_the_end(new).await }).await
    }

    async fn create_to_the_end(&self, new: NewSandbox) -> Result<Sandbox, Error> {
        let (sandbox, spec) = self.plan(new).await?;
        let live = self.parts.table.of(&sandbox);
        let _turn = Arc::clone(&live.turn).lock_owned().await;
        let make = self.ask(Action::Create, |runner| async move { runner.create(spec).await });
        let made = if sandbox.linked_to.is_none() && sandbox.name == sandbox.id.to_string() {
            // Nothing that a user chose can refuse it: the runner need not wait until it is written.
            let (written, made) = tokio::join!(self.write(&sandbox), make);
            written.map(|()| made)
        } else {
            match self.write(&sandbox).await {
                Ok(()) => Ok(make.await),
                Err(error) => Err(error),
            }
        };
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                // Of it, or of what was prepared for it.
                self.destroy_unwritten(sandbox.id);
                return Err(error);
            }
        };
        match made {
            Ok(()) => {
                point(Point::CreateMade);
                let started = self.enter(&sandbox, Action::Create, SandboxState::Started, None).await?;
                point(Point::CreateStarted);
                Ok(started)
            }
            Err(error) => {
                tracing::warn!(sandbox_id = %sandbox.id, %error, "sandbox could not be created");
                self.undo(&sandbox, &error).await?;
                Err(error)
            }
        }
    }

    /// Makes it known.
    async fn write(&self, sandbox: &Sandbox) -> Result<(), Error> {
        if let Err(error) = self.parts.store.sandboxes().insert(sandbox).await {
            self.parts.table.remove(sandbox.id);
            return Err(match error {
                sebring_store::Error::NameTaken => Error::NameTaken(sandbox.name.clone()),
                sebring_store::Error::ParentGone(parent) => Error::NotFound(parent.to_string()),
                other => other.into(),
            });
        }
        point(Point::CreateInserted);
        self.publish(sandbox, EventKind::Created);
        self.note_use(&sandbox.snapshot, sandbox.created_at).await;
        Ok(())
    }

    /// Leaves nothing. A runner that answered has cleaned up; one that did not must be told.
    async fn undo(&self, sandbox: &Sandbox, error: &Error) -> Result<(), Error> {
        // Whoever deletes it meanwhile does the rest.
        let Some(marked) = self.mark_from(sandbox.id, sandbox.state).await? else { return Ok(()) };
        let destroying = marked.sandbox;
        point(Point::CreateUndone);
        if matches!(error, Error::TooSlow { .. }) {
            self.destroy_in_background(destroying);
            return Ok(());
        }
        self.forget(&destroying).await
    }

    async fn plan(&self, new: NewSandbox) -> Result<(Sandbox, SandboxSpec), Error> {
        let snapshot = self.resolve_snapshot(new.organization, new.snapshot.as_deref()).await?;
        let linked_to = self.resolve_parent(&new).await?;
        let resources = Resources {
            cpu: new.cpu.unwrap_or(snapshot.resources.cpu),
            memory: new.memory.unwrap_or(snapshot.resources.memory),
            disk: new.disk.unwrap_or(snapshot.resources.disk),
        };
        let prepared = self.parts.runner.prepared(&snapshot.name, resources).await;
        let id = prepared.unwrap_or_else(SandboxId::generate);
        let name = new.name.unwrap_or_else(|| id.to_string());
        let at = now();
        let spec = SandboxSpec {
            id,
            name: name.clone(),
            hostname: hostname(&name, id),
            snapshot: snapshot.name.clone(),
            user: new.user.clone(),
            env: new.env.clone(),
            resources,
            egress: new.network.egress(),
            linked_to,
        };
        let ttl = (new.ttl_minutes > 0).then(|| at + SignedDuration::from_mins(new.ttl_minutes.into()));
        let sandbox = Sandbox {
            id,
            organization: new.organization,
            version: 0,
            name,
            snapshot: snapshot.name,
            target: new.target.unwrap_or_else(|| self.parts.config.default_target.clone()),
            user: new.user.unwrap_or(snapshot.user),
            env: new.env,
            labels: new.labels,
            public: new.public,
            network: new.network,
            linked_to,
            resources,
            state: SandboxState::Creating,
            desired_state: DesiredState::Started,
            error_reason: None,
            recoverable: false,
            auto_stop_interval: new.auto_stop_interval,
            auto_archive_interval: new.auto_archive_interval,
            auto_delete_interval: new.auto_delete_interval,
            auto_destroy_at: ttl,
            signing_key: Secret::generate("sk_").reveal().to_owned(),
            created_at: at,
            updated_at: at,
            state_changed_at: at,
            last_activity_at: at,
        };
        Ok((sandbox, spec))
    }
}

/// Bytes of a host name (RFC 1123 §2.1).
const HOSTNAME_LENGTH: usize = 63;

/// The name as a host name: lower case, `-` for every other letter; the id when nothing is left. One that programs take for
/// something else gets a word in front.
fn hostname(name: &str, id: SandboxId) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(letter).take(HOSTNAME_LENGTH).collect();
    match text.trim_matches('-') {
        "" => id.to_string(),
        text if is_address(text) => {
            let text: String = format!("sandbox-{text}").chars().take(HOSTNAME_LENGTH).collect();
            text.trim_end_matches('-').to_owned()
        }
        text => text.to_owned(),
    }
}

/// Whether it is an address to `inet_aton(3)`, which takes one number for all four, or a name that images give to one.
fn is_address(hostname: &str) -> bool {
    let (digits, radix) = hostname.strip_prefix("0x").map_or((hostname, 10), |digits| (digits, 16));
    digits.chars().all(|digit| digit.is_digit(radix))
        || ["localhost", "ip6-", "broadcasthost"].iter().any(|reserved| hostname.starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_valid() {
        let id = SandboxId::generate();
        assert_eq!(hostname("My_Box.1", id), "my-box-1");
        assert_eq!(hostname("___", id), id.to_string());
        assert_eq!(hostname(&"x".repeat(100), id).len(), 63);
        assert_eq!(hostname("10.0.0.1", id), "10-0-0-1");
        for name in ["4711", "127", "0x7f", "0X", "017", "-1-", "localhost", "LocalHost.localdomain", "ip6-loopback"] {
            let given = hostname(name, id);
            assert!(given.starts_with("sandbox-") && !given.ends_with('-'), "{name}: {given}");
        }
        assert_eq!(hostname(&"7".repeat(63), id).len(), 63);
        assert_eq!(hostname("7up", id), "7up");
    }
}
