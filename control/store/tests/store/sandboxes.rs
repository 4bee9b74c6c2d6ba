//! Sandboxes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sebring_store::sandboxes::{Filter, PageRequest, Range, Setting, Sort, Transition, Window};
use sebring_store::{Error, Sandbox, now};
use sebring_types::{DesiredState, OrganizationId, Resources, SandboxId, SandboxState};

use crate::databases::on_each;

fn sandbox(organization: OrganizationId, name: &str) -> Sandbox {
    let at = now();
    Sandbox {
        id: SandboxId::generate(),
        organization,
        version: 0,
        name: name.to_owned(),
        snapshot: "sebring".to_owned(),
        target: "local".to_owned(),
        user: "daytona".to_owned(),
        env: BTreeMap::from([("A".to_owned(), "ä\"'\n".to_owned())]),
        labels: BTreeMap::from([("team".to_owned(), name.to_owned()), ("x".to_owned(), "1".to_owned())]),
        public: false,
        network: Default::default(),
        linked_to: None,
        resources: Resources { cpu: 1, memory: 2, disk: 3 },
        state: SandboxState::Creating,
        desired_state: DesiredState::Started,
        error_reason: None,
        recoverable: false,
        auto_stop_interval: 15,
        auto_archive_interval: 0,
        auto_delete_interval: -1,
        auto_destroy_at: None,
        signing_key: "sk_x".to_owned(),
        created_at: at,
        updated_at: at,
        state_changed_at: at,
        last_activity_at: at,
    }
}

fn to(from: SandboxState, to: SandboxState, desired: DesiredState) -> Transition {
    Transition { from, to, desired, error_reason: None }
}

fn min<T>(min: T) -> Range<T> {
    Range { min: Some(min), max: None }
}

fn page(sort: Sort, descending: bool, limit: u32) -> PageRequest {
    PageRequest { sort, descending, limit, cursor: None }
}

#[tokio::test]
async fn what_is_promised_is_added_up() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let sum = |cpu, memory, disk| Resources { cpu, memory, disk };
        assert_eq!(sandboxes.promised().await.expect("a sum"), sum(0, 0, 0));
        let (one, other) = (sandbox(organization.id, "one"), sandbox(organization.id, "other"));
        for written in [&one, &other] {
            sandboxes.insert(written).await.expect("written");
        }
        let started = to(SandboxState::Creating, SandboxState::Started, DesiredState::Started);
        sandboxes.transition(one.id, started).await.expect("changed");
        assert_eq!(sandboxes.promised().await.expect("a sum"), sum(1, 2, 6));
    })
    .await;
}

#[tokio::test]
async fn what_is_written_is_read() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let mut written = sandbox(organization.id, "box");
        written.auto_destroy_at = Some(now());
        written.error_reason = Some("because".to_owned());
        sandboxes.insert(&written).await.expect("written");
        for name in ["box".to_owned(), written.id.to_string(), written.id.to_string().to_uppercase()] {
            let found = sandboxes.find(organization.id, &name).await.expect("read");
            assert_eq!(found.as_ref(), Some(&written), "{name}");
        }
        let elsewhere = sandboxes.find(OrganizationId::generate(), "box").await.expect("read");
        assert_eq!(elsewhere, None);
        sandboxes.remove(written.id).await.expect("removed");
        assert_eq!(sandboxes.all().await.expect("read"), []);
    })
    .await;
}

#[tokio::test]
async fn names_are_unique_while_wanted() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let first = sandbox(organization.id, "box");
        sandboxes.insert(&first).await.expect("written");
        let second = sandbox(organization.id, "box");
        assert!(matches!(sandboxes.insert(&second).await, Err(Error::NameTaken)));
        assert_eq!(sandboxes.get(second.id).await.expect("read"), None);
        let doomed = to(SandboxState::Creating, SandboxState::Destroying, DesiredState::Destroyed);
        sandboxes.transition(first.id, doomed).await.expect("written").expect("as it was");
        sandboxes.insert(&second).await.expect("the name is free");
        let found = sandboxes.find(organization.id, "box").await.expect("read").expect("there");
        assert_eq!(found.id, second.id);
    })
    .await;
}

#[tokio::test]
async fn states_change_only_from_the_expected_one() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let written = sandbox(organization.id, "box");
        sandboxes.insert(&written).await.expect("written");
        let start = to(SandboxState::Creating, SandboxState::Started, DesiredState::Started);
        let started = sandboxes.transition(written.id, start.clone()).await.expect("written").expect("as it was");
        assert_eq!((started.state, started.version), (SandboxState::Started, 1));
        assert!(started.state_changed_at >= written.state_changed_at);
        assert_eq!(sandboxes.transition(written.id, start.clone()).await.expect("no failure"), None);
        assert_eq!(sandboxes.transition(SandboxId::generate(), start).await.expect("no failure"), None);
    })
    .await;
}

#[tokio::test]
async fn links_lead_to_wanted_sandboxes_only() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let child = |name, parent| Sandbox { linked_to: Some(parent), ..sandbox(organization.id, name) };
        let (parent, other) = (sandbox(organization.id, "parent"), sandbox(organization.id, "other"));
        sandboxes.insert(&parent).await.expect("written");
        sandboxes.insert(&other).await.expect("written");
        let (first, second) = (child("first", parent.id), child("second", parent.id));
        sandboxes.insert(&first).await.expect("written");
        sandboxes.insert(&second).await.expect("written");
        assert_eq!(sandboxes.get(first.id).await.expect("read"), Some(first.clone()));
        assert_eq!(sandboxes.get(parent.id).await.expect("read"), Some(parent.clone()));

        let stopped = to(SandboxState::Creating, SandboxState::Stopped, DesiredState::Stopped);
        sandboxes.transition(second.id, stopped).await.expect("written").expect("as it was");
        assert_eq!(sandboxes.destroy(parent.id, SandboxState::Started).await.expect("no failure"), None);
        let ending = sandboxes.destroy(parent.id, SandboxState::Creating).await.expect("written").expect("as it was");
        assert_eq!((ending.sandbox.id, ending.sandbox.version), (parent.id, 1));
        let children: Vec<_> = ending.children.iter().map(|(from, child)| (child.id, *from)).collect();
        let [a, b] = [(first.id, SandboxState::Creating), (second.id, SandboxState::Stopped)];
        assert!(children == [a, b] || children == [b, a], "{children:?}");
        for ended in ending.children.into_iter().map(|(_, child)| child).chain([ending.sandbox]) {
            assert_eq!((ended.state, ended.desired_state), (SandboxState::Destroying, DesiredState::Destroyed));
            assert_eq!(sandboxes.get(ended.id).await.expect("read"), Some(ended));
        }
        assert_eq!(sandboxes.get(other.id).await.expect("read"), Some(other));
        for gone in [parent.id, SandboxId::generate()] {
            let late = child("late", gone);
            let refused = sandboxes.insert(&late).await.expect_err("refused");
            assert!(matches!(refused, Error::ParentGone(id) if id == gone), "{refused}");
            assert_eq!(sandboxes.get(late.id).await.expect("read"), None);
        }
    })
    .await;
}

#[tokio::test]
async fn settings_and_labels_are_replaced() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let written = sandbox(organization.id, "box");
        sandboxes.insert(&written).await.expect("written");
        let at = now() + SignedDuration::from_hours(1);
        for setting in [
            Setting::Public(true),
            Setting::AutoStop(0),
            Setting::AutoArchive(5),
            Setting::AutoDelete(-7),
            Setting::AutoDestroyAt(Some(at)),
            Setting::SigningKey("sk_y".to_owned()),
        ] {
            sandboxes.set(written.id, setting).await.expect("written").expect("there");
        }
        let labels = BTreeMap::from([("new".to_owned(), "1".to_owned())]);
        let set = sandboxes.set_labels(written.id, &labels).await.expect("written").expect("there");
        assert_eq!((set.public, set.auto_stop_interval, set.auto_archive_interval), (true, 0, 5));
        assert_eq!((set.auto_delete_interval, set.auto_destroy_at), (-7, Some(at)));
        assert_eq!((set.signing_key.as_str(), &set.labels), ("sk_y", &labels));
        let set = sandboxes.set(written.id, Setting::AutoDestroyAt(None)).await.expect("written").expect("there");
        assert_eq!((set.auto_destroy_at, set.version), (None, 8));
        assert_eq!(sandboxes.set(SandboxId::generate(), Setting::Public(true)).await.expect("no failure"), None);

        let old = Filter { labels: written.labels.clone(), ..Filter::default() };
        let request = page(Sort::CreatedAt, true, 10);
        assert_eq!(sandboxes.list(organization.id, &old, &request).await.expect("read").items, []);
        let new = Filter { labels, ..Filter::default() };
        assert_eq!(sandboxes.list(organization.id, &new, &request).await.expect("read").items, [set]);
    })
    .await;
}

#[tokio::test]
async fn activity_only_moves_forward() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        let written = sandbox(organization.id, "box");
        sandboxes.insert(&written).await.expect("written");
        let later = written.last_activity_at + SignedDuration::from_secs(5);
        for at in [later, written.last_activity_at] {
            sandboxes.touch(written.id, at).await.expect("written");
            assert_eq!(sandboxes.get(written.id).await.expect("read").expect("there").last_activity_at, later);
        }
    })
    .await;
}

#[tokio::test]
async fn pages_hold_every_sandbox_once() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        for number in 0..7 {
            let mut sandbox = sandbox(organization.id, &format!("box-{number}"));
            sandbox.resources.cpu = number / 3 + 1;
            sandboxes.insert(&sandbox).await.expect("written");
        }
        let numbers = [Sort::Cpu, Sort::Memory, Sort::Disk, Sort::LastActivityAt, Sort::CreatedAt, Sort::UpdatedAt];
        let texts = [Sort::Name, Sort::Id, Sort::State, Sort::Snapshot, Sort::Target];
        let sorts = numbers.into_iter().chain(texts);
        for (sort, descending) in sorts.flat_map(|sort| [(sort, false), (sort, true)]) {
            let mut request = page(sort, descending, 3);
            let mut seen = Vec::new();
            loop {
                let page = sandboxes.list(organization.id, &Filter::default(), &request).await.expect("read");
                seen.extend(page.items.into_iter().map(|sandbox| sandbox.name));
                request.cursor = page.next_cursor;
                if request.cursor.is_none() {
                    break;
                }
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 7, "{sort:?} {descending}");
            let mut seen = Vec::new();
            for offset in [0, 3, 6, 9] {
                let window = Window { sort, descending, limit: 3, offset };
                let (items, total) =
                    sandboxes.window(organization.id, &Filter::default(), &window).await.expect("read");
                assert_eq!(total, 7);
                seen.extend(items.into_iter().map(|sandbox| sandbox.name));
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 7, "{sort:?} {descending} by numbers");
        }
        let forged = PageRequest { cursor: Some("e30".to_owned()), ..page(Sort::Name, true, 3) };
        let refused = sandboxes.list(organization.id, &Filter::default(), &forged).await;
        assert!(matches!(refused, Err(Error::InvalidCursor)));
    })
    .await;
}

#[tokio::test]
async fn filters_combine() {
    on_each(async |store, organization| {
        let sandboxes = store.sandboxes();
        for name in ["Alpha", "al%ha", "beta"] {
            sandboxes.insert(&sandbox(organization.id, name)).await.expect("written");
        }
        let mut failed = sandbox(organization.id, "failed");
        (failed.state, failed.desired_state) = (SandboxState::Error, DesiredState::Destroyed);
        sandboxes.insert(&failed).await.expect("written");
        let count = async |filter: Filter| {
            let page = sandboxes.list(organization.id, &filter, &page(Sort::Name, false, 10)).await.expect("read");
            page.items.len()
        };
        let all = Filter::default;
        assert_eq!(count(all()).await, 3);
        assert_eq!(count(Filter { failed_deletions: true, ..all() }).await, 4);
        assert_eq!(count(Filter { nothing: true, ..all() }).await, 0);
        assert_eq!(count(Filter { name: Some("AL".to_owned()), ..all() }).await, 2);
        assert_eq!(count(Filter { name: Some("al%".to_owned()), ..all() }).await, 1);
        assert_eq!(count(Filter { id: Some(failed.id.to_string()[..4].to_uppercase()), ..all() }).await, 3);
        assert_eq!(count(Filter { states: vec![SandboxState::Creating, SandboxState::Error], ..all() }).await, 3);
        assert_eq!(count(Filter { states: vec![SandboxState::Started], ..all() }).await, 0);
        assert_eq!(count(Filter { snapshots: vec!["x".to_owned(), "sebring".to_owned()], ..all() }).await, 3);
        assert_eq!(count(Filter { targets: vec!["x".to_owned()], ..all() }).await, 0);
        assert_eq!(count(Filter { cpu: min(1), memory: min(2), disk: min(3), ..all() }).await, 3);
        assert_eq!(count(Filter { disk: min(4), ..all() }).await, 0);
        assert_eq!(count(Filter { public: Some(false), recoverable: Some(false), ..all() }).await, 3);
        assert_eq!(count(Filter { public: Some(true), ..all() }).await, 0);
        let later = now() + SignedDuration::from_secs(60);
        assert_eq!(count(Filter { created_at: min(later), ..all() }).await, 0);
        assert_eq!(count(Filter { last_activity_at: min(later), ..all() }).await, 0);
        assert_eq!(count(Filter { auto_destroy_at: min(failed.created_at), ..all() }).await, 0);
    })
    .await;
}
