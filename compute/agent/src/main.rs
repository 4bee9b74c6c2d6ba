//! The program of `sebring_agent`: a library, so that its parsers can be fuzzed.

fn main() -> std::process::ExitCode {
    sebring_agent::run()
}
