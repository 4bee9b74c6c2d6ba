//! A mutex without poison: the agent aborts on panic, so nobody ever sees a broken value.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// State that several tasks change. Never hold the guard across an await.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
