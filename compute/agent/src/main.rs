//! The program of `sebring_agent`: a library, so that its parsers can be fuzzed.
//!
//! Its entry is that of C, since the standard library's does what a sandbox would pay for with each start: it reads
//! `/proc/self/maps` to tell overflows of the stack, and looks after signals that the agent has its own way with.
#![no_main]

use std::ffi::{c_char, c_int};

/// Called by the C library, which hands the arguments to the standard library before.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    sebring_agent::run()
}
