"""The mount API, call by call and attribute by attribute, on every mount of a sandbox of each profile."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mount_api
import pytest

PROGRAM = Path(mount_api.__file__).read_text()
# In *system* root inside administers the mounts of its own namespaces; these are the ward's.
LOCKED = r"/|/dev|/\.sbx.*"


def succeeded(said):
    """`(place, call, what)` of each call that took something away."""
    lines = said.splitlines()
    assert "TRIED" in lines, said
    return [tuple(json.loads(line)) for line in lines if line.startswith("[")]


def test_what_is_locked_stays(sandbox, profile):
    found = succeeded(sandbox("python3", "-c", PROGRAM, "here", ".*", LOCKED))
    if profile == "system":
        assert any(place == "/dev/shm" for place, *_ in found), "the calls work where they may"
        found = [entry for entry in found if re.fullmatch(LOCKED, entry[0])]
    assert not found, found


def test_everything_stays_in_a_namespace_below(sandbox):
    found = succeeded(sandbox("python3", "-c", PROGRAM, "nested", ".*", ".*"))
    assert not found, found


def test_each_call_works_without_protection(tmp_path):
    """On file systems of its own, in a mount namespace of its own: nothing of the host's is tried."""
    script = """
        mount --make-rprivate / && mount -t tmpfs t "$0" && mkdir "$0/below" && mount -t tmpfs t "$0/below" &&
        mount -o remount,bind,ro,nosuid,nodev,noexec "$0/below" && mount -o remount,bind,nosuid "$0" && exec "$@"
    """
    places = rf"{re.escape(str(tmp_path))}(/below)?"
    command = ["unshare", "--mount", "sh", "-c", script, tmp_path, sys.executable, "-c", PROGRAM, "here", places, ".*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    missing = {call.__name__ for call in mount_api.CALLS} - {call for _, call, _ in succeeded(done.stdout)}
    assert not missing, (missing, done.stdout, done.stderr)
