//! Organizations and API keys.

use std::collections::BTreeSet;

use sebring_store::{Error, Grant, Permission, Secret, now};

use crate::databases::on_each;

#[tokio::test]
async fn default_organization_is_made_once() {
    on_each(async |store, organization| {
        assert_eq!(store.organizations().ensure_default().await.expect("there"), organization);
        assert_eq!(store.organizations().get(organization.id).await.expect("read"), Some(organization));
    })
    .await;
}

#[tokio::test]
async fn keys_are_found_by_digest() {
    on_each(async |store, organization| {
        let keys = store.api_keys();
        let secret = Secret::generate("sbk_");
        let grant = Grant::Only(BTreeSet::from([Permission::WriteSandboxes, Permission::ReadVolumes]));
        let made = keys.insert(organization.id, "ci", &secret, grant).await.expect("made");
        assert_eq!(keys.find(&secret.digest()).await.expect("read"), Some(made.clone()));
        assert_eq!(keys.find(secret.reveal()).await.expect("read"), None);

        let twice = keys.insert(organization.id, "ci", &Secret::generate(""), Grant::All).await;
        assert!(matches!(twice, Err(Error::NameTaken)));
        let at = now();
        keys.used(made.id, at).await.expect("noted");
        assert_eq!(keys.find(&secret.digest()).await.expect("read").and_then(|key| key.last_used_at), Some(at));
        assert!(keys.remove(organization.id, "ci").await.expect("removed"));
        assert!(!keys.remove(organization.id, "ci").await.expect("gone already"));
        assert_eq!(keys.find(&secret.digest()).await.expect("read"), None);
    })
    .await;
}

#[tokio::test]
async fn admin_key_is_made_or_replaced() {
    on_each(async |store, organization| {
        let keys = store.api_keys();
        let made = keys.ensure_admin(organization.id, None).await.expect("a key").expect("made now");
        assert_eq!(keys.ensure_admin(organization.id, None).await.expect("a key"), None);
        assert!(keys.find(&made.digest()).await.expect("read").is_some());
        let given = Secret::from("chosen by the operator");
        for _ in 0..2 {
            assert_eq!(keys.ensure_admin(organization.id, Some(&given)).await.expect("a key"), None);
            assert_eq!(keys.find(&given.digest()).await.expect("read").expect("there").grant, Grant::All);
            assert_eq!(keys.find(&made.digest()).await.expect("read"), None);
        }
    })
    .await;
}
