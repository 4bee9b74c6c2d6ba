"""Files that sandboxes share are no way for them to talk: what one locks or opens, another does not notice."""

import json
import re
from pathlib import Path

import pytest

PROGRAM = (Path(__file__).parent / "shared_inodes.py").read_text()
# Where cgroup v1 manages limits: the tmpfs of links that all sandboxes see, but not their own groups below it.
SHARED = r"/sys/fs/cgroup(/[a-z.]+)?"


def begin(sandbox, what):
    sandbox("rm", "-f", "/tmp/enough", "/tmp/said")
    sandbox("sh", "-c", 'setsid python3 -c "$0" "$1" >/tmp/said 2>&1 </dev/null & until grep -q ready /tmp/said; do :; done', PROGRAM, what)


def seen(said):
    assert "SEEN" in said, said
    return set(json.loads(said.split("SEEN", 1)[1].splitlines()[0]))


@pytest.fixture(scope="module")
def pair(own, profile):
    made = [own.sandbox(snapshot=profile) for _ in range(2)]
    yield made
    for sandbox in made:
        sandbox.delete()


def opened(other, meanwhile):
    """The paths that `other` sees opened while that is done."""
    begin(other, "watch")
    meanwhile()
    other("sh", "-c", "touch /tmp/enough; until grep -q SEEN /tmp/said; do :; done")
    return seen(other("cat", "/tmp/said"))


def test_nobody_notices(pair):
    holder, other = pair
    # What the look itself opens.
    own = opened(other, lambda: None)
    beyond = opened(other, lambda: begin(holder, "hold")) - own
    beyond |= seen(other("python3", "-c", PROGRAM, "look"))
    assert not {path for path in beyond if not re.fullmatch(SHARED, path)}, beyond


def test_within_one_sandbox_it_is_noticed(pair):
    """That the look works."""
    one, _ = pair
    assert "/usr/bin/env" in opened(one, lambda: one("python3", "-c", PROGRAM, "look"))
    begin(one, "hold")
    assert {"/etc/passwd", "/dev/null"} <= seen(one("python3", "-c", PROGRAM, "look"))
