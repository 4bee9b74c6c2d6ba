//! Linked sandboxes: who may be linked to whom, and that children end with their parent.

use std::time::Duration;

use sebring_events::{Event, EventKind};
use sebring_lifecycle::{Error, Lifecycle, NewSandbox};
use sebring_store::Sandbox;
use sebring_store::sandboxes::Setting;
use sebring_testing::{Call, MemoryRunner, Rig, eventually};
use sebring_types::runner::{Observed, StopMode};
use sebring_types::{DesiredState, OrganizationId, RunnerError, SandboxId, SandboxState};

fn child_of(rig: &Rig, parent: SandboxId) -> NewSandbox {
    NewSandbox { linked_to: Some(parent.to_string()), auto_delete_interval: 0, ..rig.plain() }
}

fn gone(id: SandboxId) -> impl Fn(&Event) -> Option<()> {
    move |event| match event.kind {
        EventKind::StateUpdated { new: SandboxState::Destroyed, .. } if event.sandbox.id == id => Some(()),
        _ => None,
    }
}

#[tokio::test]
async fn the_runner_learns_of_a_link() {
    let rig = Rig::new().await;
    let parent =
        rig.lifecycle.create(NewSandbox { name: Some("Data.Base".into()), ..rig.plain() }).await.expect("made");
    let by_name = NewSandbox { linked_to: Some("Data.Base".into()), ..child_of(&rig, parent.id) };
    let child = rig.lifecycle.create(by_name).await.expect("linked");
    assert_eq!(child.linked_to, Some(parent.id));
    let spec = rig.runner.spec(child.id).expect("held");
    assert_eq!((spec.linked_to, spec.name), (Some(parent.id), child.name));
    let spec = rig.runner.spec(parent.id).expect("held");
    assert_eq!((spec.linked_to, spec.name.as_str(), spec.hostname.as_str()), (None, "Data.Base", "data-base"));
}

#[tokio::test]
async fn what_may_not_be_linked() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let child = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked");

    let none = rig.lifecycle.create(child_of(&rig, SandboxId::generate())).await.expect_err("unknown");
    assert!(matches!(none, Error::NotFound(_)), "{none}");
    let theirs = NewSandbox { organization: OrganizationId::generate(), ..child_of(&rig, parent.id) };
    let theirs = rig.lifecycle.create(theirs).await.expect_err("of another organization");
    assert!(matches!(theirs, Error::NotFound(_)), "{theirs}");
    for minutes in [-1, 1] {
        let lasting = NewSandbox { auto_delete_interval: minutes, ..child_of(&rig, parent.id) };
        let lasting = rig.lifecycle.create(lasting).await.expect_err("not ephemeral");
        assert!(lasting.to_string().contains("set autoDeleteInterval to 0"), "{lasting}");
    }
    let chained = rig.lifecycle.create(child_of(&rig, child.id)).await.expect_err("a chain");
    assert!(chained.to_string().contains("is itself linked to another sandbox"), "{chained}");
    for state in SandboxState::ALL {
        let other = Sandbox { id: SandboxId::generate(), name: state.as_str().to_owned(), state, ..parent.clone() };
        rig.store.sandboxes().insert(&other).await.expect("written");
        let made = rig.lifecycle.create(child_of(&rig, other.id)).await;
        let may = matches!(state, SandboxState::Started | SandboxState::Stopped);
        assert_eq!(made.is_ok(), may, "{state:?} {made:?}");
    }
}

#[tokio::test]
async fn a_child_stays_ephemeral() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let child = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked").id.to_string();
    let lasting = rig.lifecycle.set(rig.organization, &child, Setting::AutoDelete(60)).await.expect_err("refused");
    assert!(matches!(lasting, Error::Invalid(_)), "{lasting}");
    rig.lifecycle.set(rig.organization, &child, Setting::AutoDelete(0)).await.expect("as it is");
    rig.lifecycle.set(rig.organization, &parent.name, Setting::AutoDelete(60)).await.expect("the parent may");
}

#[tokio::test]
async fn children_end_with_their_parent_whatever_they_do() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let template = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked");
    let bystander = rig.sandbox().await;
    let mut events = rig.events.subscribe();
    let mut children = vec![template.id];
    // Of one in `destroying` somebody takes care already.
    for state in SandboxState::ALL.into_iter().filter(|state| *state != SandboxState::Destroying) {
        let id = SandboxId::generate();
        let child = Sandbox { id, name: id.to_string(), state, ..template.clone() };
        rig.store.sandboxes().insert(&child).await.expect("written");
        rig.runner.hold(id, Observed::Running);
        children.push(id);
    }
    rig.lifecycle.destroy_sandbox(rig.organization, &parent.name).await.expect("accepted");
    for id in children {
        if rig.store.sandboxes().get(id).await.expect("read").is_some() {
            eventually(&mut events, gone(id)).await;
        }
        assert_eq!(rig.runner.held(id), None);
    }
    rig.lifecycle.shutdown(Duration::from_secs(10)).await;
    let left: Vec<_> = rig.store.sandboxes().all().await.expect("read").into_iter().map(|left| left.id).collect();
    assert_eq!(left, [bystander.id]);
}

/// Whoever got the answer to a delete, or heard of it, finds no child that is not ending too.
#[tokio::test]
async fn children_are_marked_with_their_parent() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let children = [child_of(&rig, parent.id), child_of(&rig, parent.id)];
    let mut ids = vec![parent.id];
    for child in children {
        ids.push(rig.lifecycle.create(child).await.expect("linked").id);
    }
    rig.runner.hang(Call::Destroy);
    let mut events = rig.events.subscribe();
    rig.lifecycle.destroy_sandbox(rig.organization, &parent.name).await.expect("accepted");
    let mut heard = Vec::new();
    for id in &ids {
        let found = rig.store.sandboxes().get(*id).await.expect("read").expect("there");
        assert_eq!((found.state, found.desired_state), (SandboxState::Destroying, DesiredState::Destroyed));
        assert_eq!(rig.lifecycle.live(*id).expect("there").state(), SandboxState::Destroying);
        let event = events.try_recv().expect("told before the answer");
        let kind = EventKind::StateUpdated { old: SandboxState::Started, new: SandboxState::Destroying };
        assert_eq!(event.kind, kind);
        heard.push(event.sandbox.id);
    }
    heard.sort_unstable();
    ids.sort_unstable();
    assert_eq!(heard, ids);
}

#[tokio::test]
async fn a_stop_keeps_the_children_of_a_parent_and_ends_a_child() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let child = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked");
    let mut events = rig.events.subscribe();
    rig.lifecycle.stop_sandbox(rig.organization, &parent.name, StopMode::Force).await.expect("stopped");
    let still = rig.lifecycle.get(rig.organization, &child.name).await.expect("there");
    assert_eq!(still.state, SandboxState::Started);
    rig.lifecycle.stop_sandbox(rig.organization, &child.name, StopMode::Force).await.expect("stopped");
    eventually(&mut events, gone(child.id)).await;
}

#[tokio::test]
async fn a_parent_whose_lifetime_is_over_takes_its_children_along() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let child = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked");
    let mut events = rig.events.subscribe();
    let over = Setting::AutoDestroyAt(Some(sebring_store::now()));
    rig.lifecycle.set(rig.organization, &parent.name, over).await.expect("set");
    eventually(&mut events, gone(child.id)).await;
}

/// A child that is being made while its parent is deleted is either refused or deleted.
#[tokio::test]
async fn no_child_is_left_by_a_race() {
    for _ in 0..20 {
        let rig = Rig::new().await;
        let parent = rig.sandbox().await;
        let create = |lifecycle: Lifecycle, new| tokio::spawn(async move { lifecycle.create(new).await });
        let creates: Vec<_> = (0..4).map(|_| create(rig.lifecycle.clone(), child_of(&rig, parent.id))).collect();
        tokio::task::yield_now().await;
        rig.lifecycle.destroy_sandbox(rig.organization, &parent.name).await.expect("accepted");
        for create in creates {
            // Whatever came of it.
            let _ = create.await.expect("no panic");
        }
        rig.lifecycle.shutdown(Duration::from_secs(10)).await;
        assert_eq!(rig.store.sandboxes().all().await.expect("read"), []);
    }
}

#[tokio::test]
async fn a_parent_that_could_not_be_deleted_has_lost_its_children() {
    let rig = Rig::new().await;
    let parent = rig.sandbox().await;
    let child = rig.lifecycle.create(child_of(&rig, parent.id)).await.expect("linked");
    let mut events = rig.events.subscribe();
    rig.runner.fail(Call::Destroy, || RunnerError::Internal("busy".to_owned()));
    rig.lifecycle.destroy_sandbox(rig.organization, &parent.name).await.expect("accepted");
    for id in [parent.id, child.id] {
        let failed = |event: &Event| (event.sandbox.id == id).then_some(event.sandbox.state);
        let mut events = rig.events.subscribe();
        while rig.store.sandboxes().get(id).await.expect("read").expect("there").state != SandboxState::Error {
            eventually(&mut events, failed).await;
        }
    }
    rig.runner.mend(Call::Destroy);
    rig.lifecycle.destroy_sandbox(rig.organization, &parent.id.to_string()).await.expect("accepted again");
    eventually(&mut events, gone(child.id)).await;
}

/// The server died at any point of the end of a parent.
#[tokio::test]
async fn a_crash_leaves_no_orphan() {
    let before = Rig::new().await;
    let parent = before.sandbox().await;
    let child = before.lifecycle.create(child_of(&before, parent.id)).await.expect("linked");
    let destroying = (SandboxState::Destroying, DesiredState::Destroyed);
    let started = (SandboxState::Started, DesiredState::Started);
    for (of_parent, of_child, stays) in [
        (Some(started), started, true),
        (Some(destroying), started, false),
        (Some(destroying), destroying, false),
        (Some((SandboxState::Error, DesiredState::Destroyed)), started, false),
        (None, started, false),
        (None, (SandboxState::Stopped, DesiredState::Stopped), false),
    ] {
        let runner = MemoryRunner::new(axum::Router::new());
        runner.hold(child.id, Observed::Running);
        let with = |sandbox: &Sandbox, (state, desired_state): (SandboxState, DesiredState), organization| Sandbox {
            state,
            desired_state,
            organization,
            ..sandbox.clone()
        };
        let held = runner.clone();
        let rig = Rig::start(runner, async |store, organization| {
            let wanted = with(&parent, started, organization);
            store.sandboxes().insert(&wanted).await.expect("written");
            store.sandboxes().insert(&with(&child, of_child, organization)).await.expect("written");
            store.sandboxes().remove(parent.id).await.expect("removed");
            if let Some(state) = of_parent {
                held.hold(parent.id, Observed::Running);
                store.sandboxes().insert(&with(&parent, state, organization)).await.expect("written");
            }
        })
        .await;
        rig.lifecycle.shutdown(Duration::from_secs(10)).await;
        let found = rig.store.sandboxes().get(child.id).await.expect("read");
        assert_eq!(found.is_some(), stays, "{of_parent:?} {of_child:?}");
        assert_eq!(rig.runner.held(child.id).is_some(), stays, "{of_parent:?} {of_child:?}");
    }
}
