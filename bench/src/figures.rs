//! What is kept of many measurements of one thing.

use std::time::Duration;

use serde_json::{Value, json};

/// Measurements of one thing, in the order they were taken.
#[derive(Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    pub fn add(&mut self, spent: Duration) {
        self.0.push(spent);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Percentiles in milliseconds.
    pub fn summary(&self) -> Value {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = |percent: usize| -> Option<f64> {
            let last = sorted.len().checked_sub(1)?;
            sorted.get(last * percent / 100).map(|spent| round(spent.as_secs_f64() * 1e3))
        };
        json!({ "n": sorted.len(), "p50_ms": at(50), "p95_ms": at(95), "min_ms": at(0), "max_ms": at(100) })
    }
}

/// To three digits after the point.
pub fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
