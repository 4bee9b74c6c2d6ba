//! What happens without a command.

use jiff::{SignedDuration, Timestamp};
use sebring_events::{Event, EventKind};
use sebring_store::Sandbox;
use sebring_store::sandboxes::Setting;
use sebring_testing::{MemoryRunner, Rig, eventually};
use sebring_types::runner::{ExitCause, Observed, StopMode};
use sebring_types::{SandboxId, SandboxState};

fn reached(id: SandboxId, wanted: SandboxState) -> impl Fn(&Event) -> Option<Sandbox> {
    move |event| match event.kind {
        EventKind::StateUpdated { new, .. } if event.sandbox.id == id && new == wanted => {
            Some((*event.sandbox).clone())
        }
        _ => None,
    }
}

fn ago(minutes: i64) -> Timestamp {
    sebring_store::now() - SignedDuration::from_mins(minutes)
}

/// A rig that found `template`, changed, as a sandbox of an earlier process.
async fn restarted(observed: Observed, change: impl Fn(&mut Sandbox)) -> (Rig, Sandbox) {
    let first = Rig::new().await;
    let mut sandbox = first.sandbox().await;
    change(&mut sandbox);
    let runner = MemoryRunner::new(axum::Router::new());
    runner.hold(sandbox.id, observed);
    let rig = Rig::start(runner, async |store, organization| {
        sandbox.organization = organization;
        store.sandboxes().insert(&sandbox).await.expect("written");
    })
    .await;
    (rig, sandbox)
}

async fn until(rig: &Rig, id: SandboxId, wanted: SandboxState) {
    let mut events = rig.events.subscribe();
    let now = rig.store.sandboxes().get(id).await.expect("read");
    if now.map_or(SandboxState::Destroyed, |sandbox| sandbox.state) != wanted {
        eventually(&mut events, reached(id, wanted)).await;
    }
}

#[tokio::test]
async fn unused_sandbox_is_stopped() {
    let (rig, sandbox) = restarted(Observed::Running, |sandbox| {
        (sandbox.last_activity_at, sandbox.state_changed_at) = (ago(20), ago(20));
    })
    .await;
    until(&rig, sandbox.id, SandboxState::Stopped).await;
    assert_eq!(rig.runner.held(sandbox.id), Some(Observed::Stopped));
}

#[tokio::test]
async fn used_sandbox_is_not_stopped() {
    let (rig, sandbox) = restarted(Observed::Running, |sandbox| sandbox.last_activity_at = ago(10)).await;
    // Due in the past unless the use counts.
    let live = rig.lifecycle.live(sandbox.id).expect("live");
    let busy = rig.lifecycle.busy(&live);
    rig.lifecycle.set(rig.organization, &sandbox.name, Setting::AutoStop(5)).await.expect("set");
    let now = rig.lifecycle.get(rig.organization, &sandbox.name).await.expect("found");
    assert!(now.last_activity_at > ago(1));
    drop(busy);
    assert_eq!(now.state, SandboxState::Started);
}

#[tokio::test]
async fn stopped_sandbox_is_deleted() {
    let (rig, sandbox) = restarted(Observed::Stopped, |sandbox| {
        sandbox.state = SandboxState::Stopped;
        sandbox.desired_state = sebring_types::DesiredState::Stopped;
        sandbox.auto_delete_interval = 30;
        sandbox.state_changed_at = ago(31);
    })
    .await;
    until(&rig, sandbox.id, SandboxState::Destroyed).await;
    assert_eq!(rig.runner.held(sandbox.id), None);
}

#[tokio::test]
async fn ephemeral_sandbox_is_deleted_when_it_stops() {
    let rig = Rig::new().await;
    let mut plain = rig.plain();
    plain.auto_delete_interval = 0;
    let sandbox = rig.lifecycle.create(plain).await.expect("created");
    let mut events = rig.events.subscribe();
    rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await.expect("stopped");
    eventually(&mut events, reached(sandbox.id, SandboxState::Destroyed)).await;
}

#[tokio::test]
async fn time_to_live_ends_it_in_any_state() {
    let (rig, sandbox) = restarted(Observed::Running, |sandbox| sandbox.auto_destroy_at = Some(ago(1))).await;
    until(&rig, sandbox.id, SandboxState::Destroyed).await;
}

#[tokio::test]
async fn sandbox_that_ends_by_itself_is_stopped_with_the_reason() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    rig.runner.exit(sandbox.id, "its agent ended", ExitCause::Other);
    let stopped = eventually(&mut events, reached(sandbox.id, SandboxState::Stopped)).await;
    assert_eq!(stopped.error_reason.as_deref(), Some("its agent ended"));
    let started = rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect("started");
    assert_eq!(started.error_reason, None);
}

#[tokio::test]
async fn sandbox_that_memory_ends_is_an_error_until_it_is_stopped() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    rig.runner.exit(sandbox.id, "out of memory", ExitCause::OutOfMemory);
    let failed = eventually(&mut events, reached(sandbox.id, SandboxState::Error)).await;
    assert_eq!(failed.error_reason.as_deref(), Some("out of memory"));
    rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await.expect("stopped");
    let started = rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect("started");
    assert_eq!(started.error_reason, None);
}

#[tokio::test]
async fn ephemeral_sandbox_that_ends_by_itself_is_deleted() {
    let rig = Rig::new().await;
    let mut plain = rig.plain();
    plain.auto_delete_interval = 0;
    let sandbox = rig.lifecycle.create(plain).await.expect("created");
    let mut events = rig.events.subscribe();
    rig.runner.exit(sandbox.id, "", ExitCause::OutOfMemory);
    eventually(&mut events, reached(sandbox.id, SandboxState::Destroyed)).await;
}

#[tokio::test]
async fn sandbox_that_runs_out_of_memory_goes_on() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    rig.runner.exhaust_memory(sandbox.id);
    let told = |event: &Event| (event.kind == EventKind::OutOfMemory).then(|| event.sandbox.clone());
    let told = eventually(&mut events, told).await;
    assert_eq!((told.id, told.state, told.error_reason.as_deref()), (sandbox.id, SandboxState::Started, None));
}
