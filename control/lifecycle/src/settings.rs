//! Properties that change while the sandbox is there.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sebring_fault::{Point, point};
use sebring_store::sandboxes::Setting;
use sebring_store::{Sandbox, Secret, now};
use sebring_types::{Denial, NetworkSettings, OrganizationId, Resources, SandboxId, SandboxState};

use crate::{Action, Error, Lifecycle, links};

impl Lifecycle {
    /// Changes one property and what hangs on it.
    pub async fn set(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        setting: Setting,
    ) -> Result<Sandbox, Error> {
        let sandbox = self.get(organization, id_or_name).await?;
        links::check(&sandbox, &setting)?;
        let changed = self.parts.store.sandboxes().set(sandbox.id, setting).await?;
        self.changed(changed, id_or_name)
    }

    /// Lets the sandbox end so many minutes from now, whatever it does then; 0 is never.
    pub async fn set_ttl(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        minutes: u32,
    ) -> Result<Sandbox, Error> {
        let at = (minutes > 0).then(|| now() + SignedDuration::from_mins(minutes.into()));
        self.set(organization, id_or_name, Setting::AutoDestroyAt(at)).await
    }

    /// Replaces all labels.
    pub async fn set_labels(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Sandbox, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        let changed = self.parts.store.sandboxes().set_labels(id, labels).await?;
        self.changed(changed, id_or_name)
    }

    /// Changes what the sandbox may reach, at once and for each later start.
    pub async fn set_network(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        change: impl FnOnce(&mut NetworkSettings) + Send + 'static,
    ) -> Result<Sandbox, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        let lifecycle = self.clone();
        self.detached(async move { lifecycle.set_network_to_the_end(id, change).await }).await
    }

    async fn set_network_to_the_end(
        &self,
        id: SandboxId,
        change: impl FnOnce(&mut NetworkSettings),
    ) -> Result<Sandbox, Error> {
        let turn = self.turn(id).await?;
        let mut network = turn.sandbox.network.clone();
        change(&mut network);
        // The runner first: what the store says must be in force.
        let egress = network.egress();
        self.ask(Action::Confine, |runner| async move { runner.set_egress(id, egress).await }).await?;
        point(Point::ConfineDone);
        let changed = self.parts.store.sandboxes().set(id, Setting::Network(network)).await?;
        self.changed(changed, &id.to_string())
    }

    /// What the sandbox was not let reach lately, the oldest first.
    pub async fn denials(&self, organization: OrganizationId, id_or_name: &str) -> Result<Vec<Denial>, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        self.parts.runner.denials(id).await.map_err(Error::from_runner)
    }

    /// Changes what the sandbox may use; what is none stays. Only while it is started or stopped.
    pub async fn resize(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        [cpu, memory, disk]: [Option<u32>; 3],
    ) -> Result<Sandbox, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        let lifecycle = self.clone();
        let resize = async move {
            let turn = lifecycle.turn(id).await?;
            let (state, before) = (turn.sandbox.state, turn.sandbox.resources);
            if !matches!(state, SandboxState::Started | SandboxState::Stopped) {
                return Err(Error::WrongState { action: Action::Resize, state });
            }
            let resources = Resources {
                cpu: cpu.unwrap_or(before.cpu),
                memory: memory.unwrap_or(before.memory),
                disk: disk.unwrap_or(before.disk),
            };
            lifecycle.ask(Action::Resize, |runner| async move { runner.resize(id, resources).await }).await?;
            point(Point::ResizeDone);
            let changed = lifecycle.parts.store.sandboxes().resize(id, resources).await?;
            lifecycle.changed(changed, &id.to_string())
        };
        self.detached(resize).await
    }

    /// Makes every file URL signed so far invalid.
    pub async fn rotate_signing_key(&self, organization: OrganizationId, id_or_name: &str) -> Result<Sandbox, Error> {
        let key = Secret::generate("sk_").reveal().to_owned();
        self.set(organization, id_or_name, Setting::SigningKey(key)).await
    }

    /// Counts as activity.
    pub async fn touch(&self, organization: OrganizationId, id_or_name: &str) -> Result<(), Error> {
        let sandbox = self.get(organization, id_or_name).await?;
        drop(self.live(sandbox.id).map(|live| self.busy(&live)));
        Ok(())
    }

    fn changed(&self, sandbox: Option<Sandbox>, id_or_name: &str) -> Result<Sandbox, Error> {
        let sandbox = sandbox.ok_or_else(|| Error::NotFound(id_or_name.to_owned()))?;
        if let Some(live) = self.live(sandbox.id) {
            live.apply(&sandbox, || self.arm(&sandbox));
        }
        Ok(self.with_activity(sandbox))
    }
}
