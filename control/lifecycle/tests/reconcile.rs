//! The start: what the store remembers meets what the runner holds.

use sebring_store::Sandbox;
use sebring_testing::{Call, MemoryRunner, Rig};
use sebring_types::runner::{Egress, Observed};
use sebring_types::{DesiredState, Resources, SandboxId, SandboxState};

struct Case {
    state: SandboxState,
    desired: DesiredState,
    held: Option<Observed>,
    /// None: it is gone.
    becomes: Option<SandboxState>,
}

fn cases() -> Vec<Case> {
    use DesiredState as Desired;
    use SandboxState as State;
    let case = |state, desired, held, becomes| Case { state, desired, held, becomes };
    vec![
        case(State::Started, Desired::Started, Some(Observed::Running), Some(State::Started)),
        case(State::Started, Desired::Started, Some(Observed::Stopped), Some(State::Stopped)),
        case(State::Started, Desired::Started, None, Some(State::Error)),
        case(State::Starting, Desired::Started, Some(Observed::Running), Some(State::Started)),
        case(State::Starting, Desired::Started, Some(Observed::Stopped), Some(State::Stopped)),
        case(State::Stopping, Desired::Stopped, Some(Observed::Running), Some(State::Stopped)),
        case(State::Stopping, Desired::Stopped, Some(Observed::Stopped), Some(State::Stopped)),
        case(State::Stopped, Desired::Stopped, Some(Observed::Stopped), Some(State::Stopped)),
        case(State::Stopped, Desired::Stopped, None, Some(State::Error)),
        case(State::Creating, Desired::Started, Some(Observed::Running), None),
        case(State::Creating, Desired::Started, None, None),
        case(State::Destroying, Desired::Destroyed, Some(Observed::Running), None),
        case(State::Destroying, Desired::Destroyed, None, None),
        case(State::Error, Desired::Destroyed, Some(Observed::Stopped), None),
        case(State::Error, Desired::Started, Some(Observed::Running), Some(State::Started)),
    ]
}

#[tokio::test]
async fn store_and_runner_agree_again() {
    let template = Rig::new().await.sandbox().await;
    for Case { state, desired, held, becomes } in cases() {
        let id = SandboxId::generate();
        let sandbox = Sandbox { id, name: id.to_string(), state, desired_state: desired, ..template.clone() };
        let runner = MemoryRunner::new(axum::Router::new());
        if let Some(held) = held {
            runner.hold(id, held);
        }
        let rig = Rig::start(runner, async |store, organization| {
            store.sandboxes().insert(&Sandbox { organization, ..sandbox.clone() }).await.expect("written");
        })
        .await;
        rig.lifecycle.shutdown(std::time::Duration::from_secs(10)).await;
        let found = rig.store.sandboxes().get(id).await.expect("read");
        assert_eq!(found.as_ref().map(|sandbox| sandbox.state), becomes, "{state:?} {desired:?} {held:?}");
        let reason = found.and_then(|sandbox| sandbox.error_reason);
        assert_eq!(reason.is_some(), becomes == Some(SandboxState::Error) || held_ended(desired, held), "{state:?}");
        if becomes.is_none() {
            assert_eq!(rig.runner.held(id), None, "{state:?}");
        }
    }
}

/// It was to run and does not.
fn held_ended(desired: DesiredState, held: Option<Observed>) -> bool {
    desired == DesiredState::Started && held == Some(Observed::Stopped)
}

#[tokio::test]
async fn what_nobody_remembers_is_destroyed() {
    let runner = MemoryRunner::new(axum::Router::new());
    let stray = SandboxId::generate();
    runner.hold(stray, Observed::Running);
    let rig = Rig::start(runner, async |_, _| {}).await;
    rig.lifecycle.shutdown(std::time::Duration::from_secs(10)).await;
    assert_eq!(rig.runner.held(stray), None);
    assert_eq!(rig.runner.count(Call::Destroy), 1);
}

/// The server ended after the runner had changed and before the store knew.
#[tokio::test]
async fn a_change_that_was_cut_off() {
    let before = Rig::new().await;
    let sandbox = before.sandbox().await;
    let larger = Resources { disk: sandbox.resources.disk + 2, ..sandbox.resources };
    let mut spec = before.runner.spec(sandbox.id).expect("created");
    spec.resources = larger;
    spec.egress = Egress::Closed;
    let runner = MemoryRunner::new(axum::Router::new());
    runner.hold_as(spec, Observed::Running);
    let rig = Rig::start(runner, async |store, organization| {
        store.sandboxes().insert(&Sandbox { organization, ..sandbox.clone() }).await.expect("written");
    })
    .await;
    let found = rig.store.sandboxes().get(sandbox.id).await.expect("read").expect("there");
    assert_eq!((found.state, found.resources), (SandboxState::Started, larger));
    assert_eq!(rig.runner.spec(sandbox.id).expect("held").egress, Egress::Open);
}
