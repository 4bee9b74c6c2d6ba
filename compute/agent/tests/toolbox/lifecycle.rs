//! The handshake, orphans, and the end.

use std::time::{Duration, Instant};

use sebring_types::agent::{AgentReply, FailureKind};

use crate::agent::{Agent, config, runs, start};

#[test]
fn a_user_that_the_image_lacks_is_named() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let mut wanted = config(directory.path());
    wanted.user = "nobody-has-this-name".into();
    let (mut agent, reply) = start(directory, &serde_json::to_vec(&wanted).expect("a configuration"));
    let Some(AgentReply::Failed { kind: FailureKind::UserNotFound, message }) = reply else { panic!("{reply:?}") };
    assert!(message.contains("nobody-has-this-name"));
    assert!(!agent.child.wait().expect("the agent ends").success());
}

#[test]
fn a_broken_configuration_is_answered() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let (_agent, reply) = start(directory, b"{\"protocol\":");
    assert!(matches!(reply, Some(AgentReply::Failed { kind: FailureKind::Internal, .. })), "{reply:?}");
    let directory = tempfile::tempdir().expect("a scratch directory");
    let mut other = config(directory.path());
    other.protocol = 999;
    let (_agent, reply) = start(directory, &serde_json::to_vec(&other).expect("a configuration"));
    let Some(AgentReply::Failed { message, .. }) = reply else { panic!("{reply:?}") };
    assert!(message.contains("999"));
}

#[test]
fn stop_is_polite_and_bounded() {
    let mut agent = Agent::new();
    let polite = agent.work().join("polite");
    let command = format!(
        "(trap 'echo bye > {}; exit' TERM; : > heeds; while :; do sleep 0.01; done) >/dev/null 2>&1 & echo $!
        until [ -e heeds ]; do sleep 0.01; done",
        polite.display()
    );
    let (_, heeds) = agent.execute(&command);
    let (_, ignores) = agent.execute(
        "(trap '' TERM HUP; : > ready; while :; do sleep 0.01; done) >/dev/null 2>&1 & echo $!
        until [ -e ready ]; do sleep 0.01; done",
    );
    let began = Instant::now();
    assert!(agent.terminate().success());
    let took = began.elapsed();
    assert_eq!(std::fs::read_to_string(polite).expect("it had the time"), "bye\n");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    assert!(!runs(&heeds) && !runs(&ignores));
}

#[test]
fn stop_without_processes_is_at_once() {
    let mut agent = Agent::with(|config| config.grace_seconds = 60);
    let began = Instant::now();
    assert!(agent.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn orphans_are_reaped() {
    let agent = Agent::new();
    for _ in 0..50 {
        agent.execute("(sh -c 'true & true &' &) ; (sleep 0.001 &) ; true");
    }
    // The last of them may still be on its way.
    let zombies = || {
        let (_, found) = agent.execute(&format!("ps -o stat= --ppid {} | grep -c ^Z || true", agent.child.id()));
        found.trim().to_owned()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while zombies() != "0" {
        assert!(Instant::now() < deadline, "zombies are left");
    }
}

#[test]
fn descriptors_do_not_pile_up() {
    let agent = Agent::new();
    let count = || std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).expect("the agent runs").count();
    agent.execute("true");
    let before = count();
    for _ in 0..100 {
        agent.execute("true");
        agent.get("/files?path=/nowhere");
    }
    // Its last connection may still be open.
    assert!(count() <= before + 1, "{} descriptors, {before} before", count());
    let (_, open) = agent.execute("ls /proc/self/fd");
    assert_eq!(open, "0\n1\n2\n3\n", "the fourth is the listing's own");
}
