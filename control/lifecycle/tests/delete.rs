//! Delete ends in bounded time, whatever the sandbox does.

use std::time::Duration;

use sebring_events::{Event, EventKind};
use sebring_lifecycle::Error;
use sebring_store::Sandbox;
use sebring_testing::{Call, Rig, eventually};
use sebring_types::runner::{Observed, StopMode};
use sebring_types::{DesiredState, RunnerError, SandboxId, SandboxState};
use tokio::time::timeout;

/// Longer than all deadlines of a rig together.
const BOUND: Duration = Duration::from_secs(10);

fn entered(id: SandboxId, wanted: SandboxState) -> impl Fn(&Event) -> Option<Sandbox> {
    move |event| match event.kind {
        EventKind::StateUpdated { new, .. } if event.sandbox.id == id && new == wanted => {
            Some((*event.sandbox).clone())
        }
        _ => None,
    }
}

#[tokio::test]
async fn from_every_state() {
    let rig = Rig::new().await;
    let template = rig.sandbox().await;
    for state in SandboxState::ALL {
        let mut sandbox = Sandbox { id: SandboxId::generate(), state, ..template.clone() };
        sandbox.name = format!("in-{}", state.as_str());
        rig.store.sandboxes().insert(&sandbox).await.expect("written");
        rig.runner.hold(sandbox.id, Observed::Running);

        let mut events = rig.events.subscribe();
        let deleting = rig.lifecycle.destroy_sandbox(rig.organization, &sandbox.name).await.expect("accepted");
        assert_eq!(deleting.state, SandboxState::Destroying, "{state:?}");
        if state == SandboxState::Destroying {
            // Somebody else is at it: here nobody is, so the next start must go on with it, see `reconcile`.
            continue;
        }
        let gone = eventually(&mut events, entered(sandbox.id, SandboxState::Destroyed)).await;
        assert_eq!(gone.desired_state, DesiredState::Destroyed);
        assert_eq!(rig.store.sandboxes().get(sandbox.id).await.expect("read"), None, "{state:?}");
        assert_eq!(rig.runner.held(sandbox.id), None, "{state:?}");
    }
}

#[tokio::test]
async fn while_an_operation_hangs() {
    for call in [Call::Create, Call::Start, Call::Stop] {
        let rig = Rig::new().await;
        let mut events = rig.events.subscribe();
        let (id, busy) = hang_in(&rig, call).await;
        rig.lifecycle.destroy_sandbox(rig.organization, &id.to_string()).await.expect("accepted");
        eventually(&mut events, entered(id, SandboxState::Destroyed)).await;
        assert_eq!(rig.store.sandboxes().get(id).await.expect("read"), None, "{call:?}");
        let result = timeout(BOUND, busy).await.expect("bounded").expect("no panic");
        assert!(matches!(result, Err(Error::TooSlow { .. } | Error::Overtaken(_))), "{call:?} {result:?}");
    }
}

type Operation = tokio::task::JoinHandle<Result<Sandbox, Error>>;

/// A sandbox whose operation never ends by itself.
async fn hang_in(rig: &Rig, call: Call) -> (SandboxId, Operation) {
    let mut events = rig.events.subscribe();
    let lifecycle = rig.lifecycle.clone();
    let organization = rig.organization;
    if call == Call::Create {
        rig.runner.hang(call);
        let plain = rig.plain();
        let operation = tokio::spawn(async move { lifecycle.create(plain).await });
        return (eventually(&mut events, |event| Some(event.sandbox.id)).await, operation);
    }
    let id = rig.sandbox().await.id;
    let name = id.to_string();
    if call == Call::Start {
        rig.lifecycle.stop_sandbox(organization, &name, StopMode::Force).await.expect("stopped");
        eventually(&mut events, entered(id, SandboxState::Stopped)).await;
    }
    rig.runner.hang(call);
    let operation = tokio::spawn(async move {
        match call {
            Call::Start => lifecycle.start_sandbox(organization, &name).await,
            // The answer to a stop comes before its end.
            _ => {
                lifecycle.stop_sandbox(organization, &name, StopMode::Graceful).await?;
                Err(Error::Overtaken(sebring_lifecycle::Action::Stop))
            }
        }
    });
    let transient = if call == Call::Start { SandboxState::Starting } else { SandboxState::Stopping };
    eventually(&mut events, entered(id, transient)).await;
    (id, operation)
}

#[tokio::test]
async fn when_the_runner_does_not_answer_it_says_so_and_can_be_repeated() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    rig.runner.hang(Call::Destroy);
    rig.lifecycle.destroy_sandbox(rig.organization, &sandbox.name).await.expect("accepted");
    let failed = eventually(&mut events, entered(sandbox.id, SandboxState::Error)).await;
    assert!(failed.error_reason.expect("a reason").contains("could not be deleted"));

    rig.runner.mend(Call::Destroy);
    rig.lifecycle.destroy_sandbox(rig.organization, &sandbox.id.to_string()).await.expect("accepted again");
    eventually(&mut events, entered(sandbox.id, SandboxState::Destroyed)).await;
}

#[tokio::test]
async fn when_the_runner_fails_once_it_tries_again() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    rig.runner.fail(Call::Destroy, || RunnerError::Internal("busy".to_owned()));
    rig.lifecycle.destroy_sandbox(rig.organization, &sandbox.name).await.expect("accepted");
    while rig.runner.count(Call::Destroy) == 0 {
        tokio::task::yield_now().await;
    }
    rig.runner.mend(Call::Destroy);
    eventually(&mut events, entered(sandbox.id, SandboxState::Destroyed)).await;
}

#[tokio::test]
async fn frees_the_name_at_once() {
    let rig = Rig::new().await;
    let mut plain = rig.plain();
    plain.name = Some("box".to_owned());
    let first = rig.lifecycle.create(plain.clone()).await.expect("created");
    let taken = rig.lifecycle.create(plain.clone()).await.expect_err("taken");
    assert!(matches!(taken, Error::NameTaken(_)));
    rig.runner.hang(Call::Destroy);
    rig.lifecycle.destroy_sandbox(rig.organization, "box").await.expect("accepted");
    let second = rig.lifecycle.create(plain).await.expect("the name is free");
    assert_ne!(first.id, second.id);
    let by_name = rig.lifecycle.get(rig.organization, "box").await.expect("found");
    assert_eq!(by_name.id, second.id);
}
