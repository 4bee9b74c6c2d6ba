//! The table of states and commands, as a function.

use sebring_types::{DesiredState, SandboxState};

use crate::Action;

/// What a command does in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take the sandbox to this state, ask the runner, go on from there.
    Enter(SandboxState),
    /// It is so already, or on its way.
    Already,
    /// The command makes no sense here.
    Refuse,
}

/// What `action` does to a sandbox in `state`.
pub fn step(state: SandboxState, action: Action) -> Step {
    use SandboxState::*;
    match (action, state) {
        (Action::Create | Action::Confine | Action::Resize, _) => Step::Refuse,

        (Action::Start, Stopped) => Step::Enter(Starting),
        (Action::Start, Started | Starting | Creating) => Step::Already,
        (Action::Start, _) => Step::Refuse,

        (Action::Stop, Started | Error) => Step::Enter(Stopping),
        (Action::Stop, Stopped | Stopping) => Step::Already,
        (Action::Stop, _) => Step::Refuse,

        (Action::Destroy, Destroying) => Step::Already,
        (Action::Destroy, _) => Step::Enter(Destroying),
    }
}

/// What is wanted once `action` was asked for.
pub fn desired(action: Action) -> DesiredState {
    match action {
        Action::Create | Action::Start | Action::Confine | Action::Resize => DesiredState::Started,
        Action::Stop => DesiredState::Stopped,
        Action::Destroy => DesiredState::Destroyed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_way_out() {
        for state in SandboxState::ALL {
            let out = step(state, Action::Destroy);
            let expected =
                if state == SandboxState::Destroying { Step::Already } else { Step::Enter(SandboxState::Destroying) };
            assert_eq!(out, expected, "{state:?}");
        }
    }

    #[test]
    fn commands_enter_transient_states_only() {
        for state in SandboxState::ALL {
            for action in [Action::Start, Action::Stop, Action::Destroy] {
                if let Step::Enter(next) = step(state, action) {
                    let transient = [SandboxState::Starting, SandboxState::Stopping, SandboxState::Destroying];
                    assert!(transient.contains(&next), "{state:?} {action:?} {next:?}");
                    assert_eq!(step(next, action), Step::Already, "{state:?} {action:?}");
                }
            }
        }
    }
}
