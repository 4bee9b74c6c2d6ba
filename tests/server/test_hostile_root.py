"""What a sandbox, or its image, left in the root file system at the places of our mounts and of the files that a start reads.

Each state is made on the disk of a stopped sandbox, so that also those are tried which nobody gets from inside any more. Then
it must start at once, with our agent, every mask and a home; and it must be deletable.
"""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Server

MOUNT_POINTS = ".sbx dev proc sys"
#: What each mount point is replaced by; `$1` is its name.
KINDS = {
    "link": "ln -s /proc/self/root/evil $1",
    "link-out": "ln -s ../../../../evil $1",
    "dangling": "ln -s /nowhere $1",
    "loop": "ln -s $1 $1",
    "file": "echo evil > $1",
    "pipe": "mkfifo $1",
    "device": "mknod $1 c 1 3",
    "whiteout": "mknod $1 c 0 0",
    "absent": ":",
    "closed": "mkdir $1; chmod 0 $1; chown 1000 $1",
}
EVIL = """
mkdir -p evil/bin evil/ctl evil/empty proc/self/root/evil/bin proc/self/root/evil/ctl
for at in evil proc/self/root/evil; do printf '#!/bin/sh\\nexit 0\\n' > $at/bin/agent; chmod 755 $at/bin/agent; done
"""
#: Other states, with the user that they are started as, if not the snapshot's.
STATES = {
    "inner-links": (None, "rm -rf .sbx; mkdir .sbx; ln -s /evil/bin .sbx/bin; ln -s /etc .sbx/ctl; ln -s /no .sbx/empty"),
    "inner-files": (None, "rm -rf .sbx; mkdir .sbx; touch .sbx/bin .sbx/ctl; mkfifo .sbx/empty"),
    "closed-root": ("0", "chmod 0 .; chown 1000 ."),
    "etc-file": ("0", "rm -rf etc; touch etc"),
    "etc-pipe": ("1000", "rm -rf etc; mkfifo etc"),
    "etc-loop": ("root", "rm -rf etc; ln -s etc etc"),
    "etc-abroad": ("0", "rm -rf etc; ln -s /proc/self etc"),
    "etc-closed": (None, "mkdir -p etc; chmod 0 etc; chown 1000 etc"),
    "passwd-pipe": ("0", "mkdir -p etc; mkfifo etc/passwd etc/group"),
    "passwd-loop": ("1000", "mkdir -p etc; ln -s passwd etc/passwd; ln -s /dev/zero etc/group"),
    "passwd-kernel": ("0", "mkdir -p etc; ln -s /proc/kmsg etc/passwd; ln -s /proc/self/mem etc/group"),
    "passwd-directory": ("0", "mkdir -p etc/passwd/full etc/group/full"),
    "passwd-huge": ("0", "mkdir -p etc; truncate -s 2G etc/passwd etc/group"),
    "group-endless": (None, "mkdir -p etc; seq 0 70000 | sed 's/.*/g&:x:&:daytona/' | head -c 1000000 > etc/group"),
    "home-odd": (None, "mkdir -p etc; echo daytona:x:1000:1000::/proc/self/fd/nowhere:/bin/sh > etc/passwd"),
    "home-endless": (None, "mkdir -p etc; (printf daytona:x:1000:1000::; yes / | head -c 9999 | tr -d '\\n'; echo a:/bin/sh) > etc/passwd"),
    "home-file": (None, "rm -rf home; touch home"),
    "home-loop": (None, "mkdir -p home; rm -rf home/daytona; ln -s daytona home/daytona"),
    "names-pipes": (None, "mkdir -p etc; for f in hosts hostname resolv.conf mtab; do rm -f etc/$f; mkfifo etc/$f; done"),
    "names-links": (None, "mkdir -p etc; for f in hosts hostname resolv.conf mtab; do rm -f etc/$f; ln -s /proc/self/comm etc/$f; done"),
    "names-full": (None, "mkdir -p etc; for f in hosts hostname resolv.conf mtab; do rm -f etc/$f; mkdir -p etc/$f/x; done"),
    "names-huge": (None, "mkdir -p etc; for f in hosts hostname resolv.conf; do rm -f etc/$f; truncate -s 2G etc/$f; done"),
    "names-shared": (None, "mkdir -p etc; echo kept > precious; for f in hosts hostname; do rm -f etc/$f; ln precious etc/$f; done"),
}  # fmt: skip
STATES |= {
    kind: (None, f"{EVIL}\nfor at in {MOUNT_POINTS}; do set -- $at; rm -rf $1; {how}; done") for kind, how in KINDS.items()
}
#: A disk that has all of `STATES` made on it, by name; within a namespace that sees the pool.
PLANT = """
cd "$1"
mount --make-rprivate /
mkdir -p mounts/pool disks
[ ! -e pool.img ] || mount -o loop pool.img mounts/pool
for at in mounts/pool/disks disks; do
    [ ! -f "$at/$2" ] || { mount -o loop "$at/$2" /mnt; cd /mnt/u; }
    [ ! -d "$at/$2/u" ] || cd "$at/$2/u"
done
[ -d ../w ]
eval "$3"
"""
#: A start without a hostile root takes 20 ms; the machine may be busy.
AT_ONCE = 3


@pytest.fixture(params=["system", "strict"])
def server(request, tmp_path):
    made = Server(tmp_path / "data", "--isolation", request.param)
    yield made.start()
    if made.data_dir.exists():
        made.purge()


def agents(server):
    """The pids of first processes of sandboxes."""
    found = set()
    for children in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE) and "State:\tZ" not in status:
                found.add(pid)
    return found


def mounts(pid):
    """Where something is mounted, and whether it is read-only."""
    lines = (line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    return {(words[4], "ro" in words[5].split(",")) for words in lines}


def start(server, sandbox_id):
    """Starts it; answers the pid of its agent."""
    before, began = agents(server), time.monotonic()
    response = server.client.post(f"/api/sandbox/{sandbox_id}/start")
    assert response.status_code == 200, response.text
    assert time.monotonic() - began < AT_ONCE
    (agent,) = agents(server) - before
    return agent


def is_agent(server, pid):
    (ours,) = server.data_dir.glob("agents/*/sebring-agent")
    return os.path.samestat(os.stat(f"/proc/{pid}/exe"), ours.stat())


def test_a_hostile_root_is_started_with_our_agent_and_all_masks(server):
    plain = server.create()
    (pid,) = agents(server)
    expected = mounts(pid)
    assert {("/.sbx", True), ("/.sbx/bin/agent", True), ("/sys", True), ("/proc/fs", True)} <= expected
    made = {name: server.create(**({"user": user} if user else {})) for name, (user, _) in STATES.items()}
    for sandbox_id in (plain, *made.values()):
        assert server.client.post(f"/api/sandbox/{sandbox_id}/stop").status_code == 200
    server.terminate()
    for name, sandbox_id in made.items():
        command = ["unshare", "--mount", "sh", "-ec", PLANT, "plant", server.data_dir, sandbox_id, STATES[name][1]]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stderr)
    server.start()
    wrong = {}
    for name, sandbox_id in made.items():
        try:
            pid = start(server, sandbox_id)
            assert is_agent(server, pid), "another program in the agent's place"
            assert mounts(pid) == expected, mounts(pid) ^ expected
            assert server.client.get(f"/toolbox/{sandbox_id}/files?path=/proc/self").status_code == 200
            if name == "names-shared":
                assert server.run(sandbox_id, "cat /precious") == "kept\n"
            if name.startswith("names-") and name not in ("names-full", "names-huge"):
                assert server.run(sandbox_id, "getent hosts $(hostname) | wc -l") == "1\n"
            if name.startswith("home-"):
                assert server.run(sandbox_id, "pwd") in ("/\n", "/home/daytona\n")
        except AssertionError as error:
            wrong[name] = str(error)[:300]
    for name, sandbox_id in made.items():
        began = time.monotonic()
        response = server.client.delete(f"/api/sandbox/{sandbox_id}")
        if response.status_code != 200 or time.monotonic() - began > AT_ONCE:
            wrong[f"delete of {name}"] = response.text
    assert not wrong
    assert is_agent(server, start(server, plain))


def test_what_root_inside_replaces_is_not_used(server):
    """By the ways that are open from inside: /proc alone is no locked mount, in *system*."""
    sandbox_id = server.create()
    (pid,) = agents(server)
    expected = mounts(pid)
    said = server.run(sandbox_id, """sudo sh -c '
        mkdir -p /evil/self/root
        for at in /.sbx /sys /dev; do umount -l $at; rm -rf $at; mv $at /moved; ln -s /evil $at; done
        rmdir /.sbx/empty; ln -s /nowhere /.sbx/empty; touch /.sbx/ctl /.sbx/x
        rm -f /etc/passwd.new; mkfifo /etc/passwd.new
        umount -l /proc && rmdir /proc && ln -s /evil /proc && echo REPLACED
    ' 2>/dev/null; [ -e /moved ] || echo KEPT""")
    assert "KEPT" in said
    # A program that looks groups up, sudo for one, would wait for the pipe.
    for last in ("sudo sh -c 'mv /etc/group /etc/group.old; mkfifo /etc/group'", "true"):
        assert server.client.post(f"/api/sandbox/{sandbox_id}/stop").status_code == 200
        pid = start(server, sandbox_id)
        assert is_agent(server, pid) and mounts(pid) == expected
        server.run(sandbox_id, last)
