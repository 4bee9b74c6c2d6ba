//! Keys to principals, remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, header};
use sebring_store::{ApiKey, Secret, Store, now};
use sebring_types::ApiKeyId;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::visitor::Guesses;
use crate::{Error, Principal, Visitor};

/// The header that names an organization.
const ORGANIZATION: &str = "x-daytona-organization-id";
/// Keys that are looked up at once: guesses must not take every connection with the database.
const LOOK_UPS: usize = 2;
/// The use of a key is written down at most this often, milliseconds.
const NOTE_EVERY: i64 = 60_000;

/// Turns a request into a [`Principal`]; clones share what is remembered.
#[derive(Debug, Clone)]
pub struct Authenticator {
    store: Store,
    known: Arc<RwLock<HashMap<String, Arc<Known>>>>,
    guesses: Arc<Guesses>,
    look_ups: Arc<Semaphore>,
}

#[derive(Debug)]
struct Known {
    principal: Principal,
    noted: AtomicI64,
}

impl Authenticator {
    /// One that knows the keys of `store`.
    pub fn new(store: Store) -> Self {
        let look_ups = Arc::new(Semaphore::new(LOOK_UPS));
        Self { store, known: Arc::default(), guesses: Arc::default(), look_ups }
    }

    /// Who sent this request: a bearer key, and if an organization is named, its own. Who guesses waits for the answer.
    pub async fn request(&self, request: &Parts) -> Result<Principal, Error> {
        let key = bearer(&request.headers)?;
        let principal = self.visitor(&key, request).await?;
        match request.headers.get(ORGANIZATION) {
            Some(organization) if organization.as_bytes() != principal.organization.to_string().as_bytes() => {
                Err(Error::OtherOrganization)
            }
            _ => Ok(principal),
        }
    }

    /// Whose key this is that came with a request, in whichever place. Who guesses waits for the answer.
    pub async fn visitor(&self, key: &Secret, request: &Parts) -> Result<Principal, Error> {
        let found = self.key(key).await;
        if let Some(visitor) = request.extensions.get::<Visitor>() {
            match &found {
                Ok(_) => visitor.welcome(),
                Err(Error::Unknown) => sleep(self.guesses.note(visitor, Instant::now())).await,
                Err(_) => {}
            }
        }
        found
    }

    /// Whose key this is.
    pub async fn key(&self, key: &Secret) -> Result<Principal, Error> {
        let digest = key.digest();
        let remembered = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let known = match remembered {
            Some(known) => known,
            None => self.look_up(digest).await?,
        };
        self.note(&known);
        Ok(known.principal.clone())
    }

    /// All that is known of the caller's key.
    pub async fn describe(&self, caller: &Principal) -> Result<ApiKey, Error> {
        self.store.api_keys().get(caller.key).await?.ok_or(Error::Unknown)
    }

    /// Looks the key up again at its next use.
    pub fn forget(&self, key: ApiKeyId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.principal.key != key);
    }

    async fn look_up(&self, digest: String) -> Result<Arc<Known>, Error> {
        // An error would mean that the semaphore is closed, which nobody does.
        let _place = self.look_ups.acquire().await;
        let key = self.store.api_keys().find(&digest).await?.ok_or(Error::Unknown)?;
        let known = Arc::new(Known { principal: key.into(), noted: AtomicI64::new(0) });
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::clone(&known));
        Ok(known)
    }

    /// Writes the use down in the background.
    fn note(&self, known: &Known) {
        let at = now();
        let noted = known.noted.load(Ordering::Relaxed);
        let due = at.as_millisecond() >= noted + NOTE_EVERY;
        let mine = || known.noted.compare_exchange(noted, at.as_millisecond(), Ordering::Relaxed, Ordering::Relaxed);
        if due && mine().is_ok() {
            let (store, key) = (self.store.clone(), known.principal.key);
            tokio::spawn(async move {
                if let Err(error) = store.api_keys().used(key, at).await {
                    tracing::warn!(%error, %key, "the use of an API key could not be noted");
                }
            });
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<Secret, Error> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Error::Missing)?;
    let value = value.to_str().map_err(|_| Error::Unknown)?;
    match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() => {
            Ok(Secret::from(key.trim()))
        }
        _ => Err(Error::Missing),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use sebring_store::{Grant, Permission};

    use super::*;

    async fn fixture() -> (tempfile::TempDir, Store, Authenticator) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&format!("sqlite://{}/db", dir.path().display())).await.expect("a store");
        let authenticator = Authenticator::new(store.clone());
        (dir, store, authenticator)
    }

    fn with(pairs: &[(&'static str, &str)]) -> Parts {
        let request =
            pairs.iter().fold(http::Request::builder(), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    #[tokio::test]
    async fn knows_keys_and_their_organization() {
        let (_dir, store, authenticator) = fixture().await;
        let organization = store.organizations().ensure_default().await.expect("an organization").id;
        let secret = store.api_keys().ensure_admin(organization, None).await.expect("a key").expect("made now");
        let bearer = format!("Bearer {}", secret.reveal());

        let principal = authenticator.request(&with(&[("authorization", &bearer)])).await.expect("known");
        assert_eq!(principal.organization, organization);
        let own = organization.to_string();
        let headers = with(&[("authorization", &bearer), (ORGANIZATION, &own)]);
        assert!(authenticator.request(&headers).await.is_ok());
        let headers = with(&[("authorization", &bearer), (ORGANIZATION, "other")]);
        assert!(matches!(authenticator.request(&headers).await, Err(Error::OtherOrganization)));
        assert!(matches!(authenticator.request(&with(&[])).await, Err(Error::Missing)));
        let headers = with(&[("authorization", "Bearer wrong")]);
        assert!(matches!(authenticator.request(&headers).await, Err(Error::Unknown)));
    }

    #[tokio::test]
    async fn wrong_keys_wait_and_right_ones_do_not() {
        let (_dir, store, authenticator) = fixture().await;
        let organization = store.organizations().ensure_default().await.expect("an organization").id;
        let secret = store.api_keys().ensure_admin(organization, None).await.expect("a key").expect("made now");
        let welcomed = Arc::new(AtomicI64::new(0));
        let welcome = Arc::clone(&welcomed);
        let visitor = Visitor::new([192, 0, 2, 1].into(), move || {
            welcome.fetch_add(1, Ordering::Relaxed);
        });
        let mut wrong = with(&[("authorization", "Bearer wrong")]);
        wrong.extensions.insert(visitor.clone());
        let began = Instant::now();
        for _ in 0..5 {
            assert!(matches!(authenticator.request(&wrong).await, Err(Error::Unknown)));
        }
        assert!(began.elapsed() >= Duration::from_millis(750), "{:?}", began.elapsed());
        assert_eq!(welcomed.load(Ordering::Relaxed), 0);
        let mut right = with(&[("authorization", &format!("Bearer {}", secret.reveal()))]);
        right.extensions.insert(visitor);
        authenticator.key(&secret).await.expect("known");
        let began = Instant::now();
        assert!(authenticator.request(&right).await.is_ok());
        assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
        assert_eq!(welcomed.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_removed_key_is_unknown_once_forgotten() {
        let (_dir, store, authenticator) = fixture().await;
        let organization = store.organizations().ensure_default().await.expect("an organization").id;
        let secret = Secret::generate("");
        let grant = Grant::Only(BTreeSet::from([Permission::WriteSandboxes]));
        let key = store.api_keys().insert(organization, "ci", &secret, grant).await.expect("a key");

        let principal = authenticator.key(&secret).await.expect("known");
        assert!(principal.require(Permission::WriteSandboxes).is_ok());
        let refused = principal.require(Permission::DeleteSandboxes).expect_err("lacks it");
        assert_eq!(refused.to_string(), "the API key lacks the permission delete:sandboxes");

        assert!(store.api_keys().remove(organization, "ci").await.expect("removed"));
        authenticator.forget(key.id);
        assert!(matches!(authenticator.key(&secret).await, Err(Error::Unknown)));
    }
}
