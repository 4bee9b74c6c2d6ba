//! Create, start and stop, and what comes when they fail.

use std::future::Future;

use sebring_events::{Event, EventKind};
use sebring_lifecycle::Error;
use sebring_testing::{Call, Rig, eventually};
use sebring_types::runner::{Observed, StopMode};
use sebring_types::{DesiredState, RunnerError, SandboxState};

#[tokio::test]
async fn create_tells_what_it_did() {
    let rig = Rig::new().await;
    let mut events = rig.events.subscribe();
    let mut plain = rig.plain();
    plain.name = Some("My_Box".to_owned());
    plain.env.insert("A".to_owned(), "b".to_owned());
    plain.memory = Some(2);
    let sandbox = rig.lifecycle.create(plain).await.expect("created");
    assert_eq!((sandbox.state, sandbox.desired_state), (SandboxState::Started, DesiredState::Started));
    assert_eq!(sandbox.user, "daytona");
    assert_eq!(events.recv().await.expect("an event").kind, EventKind::Created);
    let change = EventKind::StateUpdated { old: SandboxState::Creating, new: SandboxState::Started };
    assert_eq!(events.recv().await.expect("an event").kind, change);
    let spec = rig.runner.spec(sandbox.id).expect("made");
    assert_eq!((spec.hostname.as_str(), spec.env["A"].as_str(), spec.resources.memory), ("my-box", "b", 2));
    assert_eq!(rig.lifecycle.get(rig.organization, "My_Box").await.expect("found"), sandbox);
}

#[tokio::test]
async fn create_that_fails_leaves_nothing() {
    let rig = Rig::new().await;
    for error in [RunnerError::Invalid, RunnerError::Exhausted, RunnerError::Internal] {
        rig.runner.fail(Call::Create, move || error("so".to_owned()));
        let failed = rig.lifecycle.create(rig.plain()).await.expect_err("spoilt");
        assert!(matches!(failed, Error::Invalid(_) | Error::Exhausted(_) | Error::Runner(_)), "{failed:?}");
        assert_eq!(rig.store.sandboxes().all().await.expect("read"), []);
    }
    rig.runner.hang(Call::Create);
    let mut events = rig.events.subscribe();
    let failed = rig.lifecycle.create(rig.plain()).await.expect_err("spoilt");
    assert!(matches!(failed, Error::TooSlow { .. }), "{failed:?}");
    let destroyed = EventKind::StateUpdated { old: SandboxState::Destroying, new: SandboxState::Destroyed };
    eventually(&mut events, |event| (event.kind == destroyed).then_some(())).await;
    assert_eq!(rig.store.sandboxes().all().await.expect("read"), []);
    assert_eq!(rig.runner.count(Call::Destroy), 1);
}

#[tokio::test]
async fn unknown_snapshot_is_refused() {
    let rig = Rig::new().await;
    let mut plain = rig.plain();
    plain.snapshot = Some("nope".to_owned());
    let refused = rig.lifecycle.create(plain).await.expect_err("unknown");
    assert!(matches!(refused, Error::SnapshotNotFound(_)));
}

#[tokio::test]
async fn stop_and_start_again() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let stopped = rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Graceful).await;
    assert_eq!(stopped.expect("stopped").state, SandboxState::Stopped);
    let again = rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await;
    assert_eq!(again.expect("is so already").state, SandboxState::Stopped);
    let started = rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect("started");
    assert_eq!((started.state, started.desired_state), (SandboxState::Started, DesiredState::Started));
    assert_eq!(rig.runner.held(sandbox.id), Some(Observed::Running));
}

#[tokio::test]
async fn slow_stop_is_answered_before_its_end() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    rig.runner.hang(Call::Stop);
    let mut events = rig.events.subscribe();
    let stopping = rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Graceful).await;
    assert_eq!(stopping.expect("under way").state, SandboxState::Stopping);
    let reason = eventually(&mut events, |event| event.sandbox.error_reason.clone()).await;
    assert!(reason.starts_with("the sandbox could not be stopped within"), "{reason}");

    rig.runner.mend(Call::Stop);
    let refused = rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect_err("in error");
    assert_eq!(refused.to_string(), "the sandbox can't be started while it is error: stop it first, or delete it");
    let stopped = rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await;
    let stopped = stopped.expect("a way out of the error");
    assert_eq!((stopped.state, stopped.error_reason), (SandboxState::Stopped, None));
}

#[tokio::test]
async fn start_that_fails_leaves_it_stopped_with_the_reason() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await.expect("stopped");
    rig.runner.fail(Call::Start, || RunnerError::Exhausted("no memory left: stop another sandbox".to_owned()));
    let failed = rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect_err("spoilt");
    assert!(matches!(failed, Error::Exhausted(_)));
    let left = rig.lifecycle.get(rig.organization, &sandbox.name).await.expect("found");
    assert_eq!((left.state, left.desired_state), (SandboxState::Stopped, DesiredState::Stopped));
    assert_eq!(left.error_reason.as_deref(), Some("no memory left: stop another sandbox"));
}

#[tokio::test]
async fn operations_of_one_sandbox_take_turns() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let names = std::iter::repeat_n(sandbox.name.clone(), 20).enumerate();
    let operations: Vec<_> = names
        .map(|(number, name)| {
            let (lifecycle, organization) = (rig.lifecycle.clone(), rig.organization);
            tokio::spawn(async move {
                if number % 2 == 0 {
                    lifecycle.stop_sandbox(organization, &name, StopMode::Force).await
                } else {
                    lifecycle.start_sandbox(organization, &name).await
                }
            })
        })
        .collect();
    for operation in operations {
        operation.await.expect("no panic").expect("each fits the state that it finds");
    }
    let end = rig.lifecycle.get(rig.organization, &sandbox.name).await.expect("found").state;
    let held = rig.runner.held(sandbox.id).expect("held");
    assert_eq!(end == SandboxState::Started, held == Observed::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_race_with_operations_without_harm() {
    let rig = Rig::new().await;
    let sandbox = rig.sandbox().await;
    let (lifecycle, organization, name) = (rig.lifecycle.clone(), rig.organization, sandbox.name.clone());
    let settings = tokio::spawn(async move {
        for minutes in 0..200 {
            let setting = sebring_store::sandboxes::Setting::AutoStop(minutes + 10);
            lifecycle.set(organization, &name, setting).await.expect("set");
        }
    });
    while !settings.is_finished() {
        rig.lifecycle.stop_sandbox(rig.organization, &sandbox.name, StopMode::Force).await.expect("stopped");
        rig.lifecycle.start_sandbox(rig.organization, &sandbox.name).await.expect("started");
    }
    let live = rig.lifecycle.live(sandbox.id).expect("live");
    let written = rig.store.sandboxes().get(sandbox.id).await.expect("read").expect("there");
    assert_eq!((live.state(), written.state), (SandboxState::Started, SandboxState::Started));
    assert_eq!(written.auto_stop_interval, 209);
}

#[tokio::test]
async fn operation_goes_on_when_nobody_waits() {
    let rig = Rig::new().await;
    let mut events = rig.events.subscribe();
    let started = |event: &Event| (event.sandbox.state == SandboxState::Started).then_some(());
    let mut plain = rig.plain();
    plain.name = Some("box".to_owned());
    {
        let create = rig.lifecycle.create(plain);
        tokio::pin!(create);
        // Polled once, then dropped: the client hung up.
        let once = std::future::poll_fn(|context| std::task::Poll::Ready(create.as_mut().poll(context)));
        assert!(once.await.is_pending());
    }
    eventually(&mut events, started).await;
    assert_eq!(rig.lifecycle.get(rig.organization, "box").await.expect("there").state, SandboxState::Started);
}
