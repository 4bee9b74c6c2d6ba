//! Terminals: shells on a pseudo-terminal that any number of clients watch and type into.
//!
//! A terminal belongs to a session ([`session`]) that lives until its shell ends, with or without clients; a client that comes later gets the recent output first ([`attach`]).

pub mod api;
pub mod attach;
pub mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::http::error::{Failure, Kind};
use crate::shared::Shared;
use session::Pty;

/// The sessions whose shells have not ended, by their ids.
#[derive(Default)]
pub struct Ptys(Shared<BTreeMap<String, Arc<Pty>>>);

impl Ptys {
    pub fn add(&self, pty: Arc<Pty>) -> Result<(), Failure> {
        let mut ptys = self.0.lock();
        if ptys.contains_key(&pty.id) {
            let message = format!("PTY session {:?} exists: kill it or use another id", pty.id);
            return Err(Failure::new(Kind::Conflict, message));
        }
        ptys.insert(pty.id.clone(), pty);
        Ok(())
    }

    pub fn get(&self, id: &str) -> Result<Arc<Pty>, Failure> {
        let found = self.0.lock().get(id).cloned();
        found.ok_or_else(|| Failure::new(Kind::ProcessNotFound, format!("PTY session not found: {id:?}")))
    }

    pub fn list(&self) -> Vec<Arc<Pty>> {
        self.0.lock().values().cloned().collect()
    }

    /// Forgets this very session, not a later one of its name.
    pub fn remove(&self, pty: &Arc<Pty>) {
        let mut ptys = self.0.lock();
        if ptys.get(&pty.id).is_some_and(|present| Arc::ptr_eq(present, pty)) {
            ptys.remove(&pty.id);
        }
    }
}
