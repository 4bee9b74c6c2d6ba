//! The code interpreter: Python processes that keep their state between executions.
//!
//! Each context is one process that runs `driver.py` and gets code over a pipe ([`worker`]). Executions of a context
//! take turns ([`execution`]). The default context is there without being made, and is made anew when it dies.

pub mod api;
pub mod context;
pub mod execution;
pub mod wire;
pub mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::error::Failure;
use crate::shared::Shared;
use context::Context;

/// The id of the context that everybody shares.
pub const DEFAULT: &str = "default";

/// All contexts by their ids, the default one among them once it was used.
#[derive(Default)]
pub struct Contexts(Shared<BTreeMap<String, Arc<Context>>>);

impl Contexts {
    pub fn add(&self, make: impl FnOnce(String) -> Context) -> Arc<Context> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let id = format!("context-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let context = Arc::new(make(id.clone()));
        self.0.lock().insert(id, Arc::clone(&context));
        context
    }

    pub fn get(&self, id: &str) -> Option<Arc<Context>> {
        self.0.lock().get(id).cloned()
    }

    pub fn get_default(&self, make: impl FnOnce(String) -> Context) -> Arc<Context> {
        let mut contexts = self.0.lock();
        Arc::clone(contexts.entry(DEFAULT.to_owned()).or_insert_with(|| Arc::new(make(DEFAULT.to_owned()))))
    }

    /// Those that were created, without the default one.
    pub fn list(&self) -> Vec<Arc<Context>> {
        self.0.lock().values().filter(|context| context.id != DEFAULT).cloned().collect()
    }

    pub fn remove(&self, id: &str) -> Result<Arc<Context>, Failure> {
        let removed = self.0.lock().remove(id);
        removed.ok_or_else(|| Failure::not_found(format!("interpreter context not found: {id:?}")))
    }
}
