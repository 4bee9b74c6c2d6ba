"""Each way out is tried for real, inside a sandbox of each profile, where it fails, and without protection, where it
succeeds.

It fails in a fresh sandbox; in the same one after a stop and a start, with all that the attempts left in it; and in one made
from an image of the tenant's. The second half is what makes the first one mean something: an attempt that could never succeed proves nothing.
"""

import subprocess

import pytest
from attempts import NEEDS, PYTHON, SHELL

COMMANDS = {
    **{name: ("sh", "-c", script) for name, script in SHELL.items()},
    **{name: ("python3", "-c", script) for name, script in PYTHON.items()},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_fails_in_a_sandbox(lived, name):
    shown = lived(*COMMANDS[name])
    assert "ESCAPED" not in shown, shown


@pytest.mark.parametrize("name", COMMANDS)
def test_succeeds_without_protection(weak, name):
    if name in NEEDS and subprocess.run(["sh", "-c", NEEDS[name]], capture_output=True).returncode != 0:
        pytest.skip(f"on this machine not even the host's root may: {NEEDS[name]}")
    done = weak(*COMMANDS[name])
    assert "ESCAPED" in done.stdout, (done.stdout, done.stderr)
