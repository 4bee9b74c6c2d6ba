//! Linked sandboxes: parent and children share a network, and the children end with their parent.
//!
//! - A child must be ephemeral, so that a stop is its end: no child is ever found stopped, without its place in a network.
//! - A child has no children: links make stars, never chains.
//! - Parent and children enter `destroying` in one write of the store, which links nothing to what is not wanted any more.
//!   So nobody ever sees a child without its parent, and a crash leaves all of them to the next start.

use std::collections::HashSet;

use sebring_store::Sandbox;
use sebring_store::sandboxes::Setting;
use sebring_types::{DesiredState, SandboxId, SandboxState};

use crate::{Error, Lifecycle, NewSandbox};

const EPHEMERAL: &str = "a linked sandbox must be ephemeral: set autoDeleteInterval to 0";

impl Lifecycle {
    /// The sandbox that a new one is to be linked to, if that may be.
    pub(crate) async fn resolve_parent(&self, new: &NewSandbox) -> Result<Option<SandboxId>, Error> {
        let Some(wanted) = &new.linked_to else { return Ok(None) };
        if new.auto_delete_interval != 0 {
            return Err(Error::Invalid(EPHEMERAL.to_owned()));
        }
        let parent = self.get(new.organization, wanted).await?;
        if parent.linked_to.is_some() {
            let message = "is itself linked to another sandbox: link to that one instead";
            return Err(Error::Invalid(format!("sandbox {wanted} {message}")));
        }
        if !matches!(parent.state, SandboxState::Started | SandboxState::Stopped) {
            let (state, message) = (parent.state.as_str(), "a sandbox can be linked to while it is started or stopped");
            return Err(Error::Invalid(format!("sandbox {wanted} is {state}: {message}")));
        }
        Ok(Some(parent.id))
    }
}

/// Refuses what a linked sandbox must not be set to.
pub(crate) fn check(sandbox: &Sandbox, setting: &Setting) -> Result<(), Error> {
    match setting {
        Setting::AutoDelete(minutes) if sandbox.linked_to.is_some() && *minutes != 0 => {
            Err(Error::Invalid(EPHEMERAL.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Those that something may be linked to; all others' children have lost their parent.
pub(crate) fn parents(sandboxes: &[Sandbox]) -> HashSet<SandboxId> {
    let wanted = |sandbox: &&Sandbox| {
        sandbox.desired_state != DesiredState::Destroyed && sandbox.state != SandboxState::Destroying
    };
    sandboxes.iter().filter(wanted).map(|sandbox| sandbox.id).collect()
}
