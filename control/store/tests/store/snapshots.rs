//! Snapshots follow the runner.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sebring_types::{Resources, SnapshotId, SnapshotManifest};

use crate::databases::on_each;

fn manifest(name: &str) -> SnapshotManifest {
    SnapshotManifest {
        id: SnapshotId::generate(),
        name: name.to_owned(),
        size: 1 << 33,
        created_at: Timestamp::UNIX_EPOCH,
        entrypoint: vec!["sleep".to_owned(), "infinity".to_owned()],
        env: BTreeMap::new(),
        user: "daytona".to_owned(),
        work_dir: None,
        architecture: "x86_64".to_owned(),
        resources: Resources { cpu: 2, memory: 4, disk: 8 },
        isolation: None,
    }
}

#[tokio::test]
async fn those_held_are_listed() {
    on_each(async |store, organization| {
        let snapshots = store.snapshots();
        let (first, second) = (manifest("first"), manifest("library/second:1"));
        for _ in 0..2 {
            snapshots.sync(&[first.clone(), second.clone()]).await.expect("written");
        }
        assert_eq!(snapshots.list(organization.id).await.expect("read").len(), 2);
        let found = snapshots.find(organization.id, "library/second:1").await.expect("read").expect("there");
        assert_eq!((found.id, found.size, found.entrypoint), (second.id, second.size, second.entrypoint.clone()));
        assert_eq!((found.resources, found.user.as_str()), (second.resources, "daytona"));
        let by_id = snapshots.find(organization.id, &first.id.to_string()).await.expect("read").expect("there");
        assert_eq!(by_id.name, "first");

        let rebuilt = manifest("first");
        snapshots.sync(&[rebuilt.clone(), first]).await.expect("written");
        let left = snapshots.list(organization.id).await.expect("read");
        assert_eq!(left.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [rebuilt.id]);
    })
    .await;
}

#[tokio::test]
async fn the_last_use_only_moves_forward() {
    on_each(async |store, organization| {
        let snapshots = store.snapshots();
        snapshots.sync(&[manifest("first"), manifest("other")]).await.expect("written");
        let at = |second| Timestamp::from_second(second).expect("a time");
        for second in [1, 3, 2] {
            snapshots.touch("first", at(second)).await.expect("written");
        }
        let used = async |name| snapshots.find(organization.id, name).await.expect("read").expect("there").last_used_at;
        assert_eq!((used("first").await, used("other").await), (Some(at(3)), None));
    })
    .await;
}
