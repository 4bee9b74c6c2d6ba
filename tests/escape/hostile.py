"""What a tenant leaves for the next start, and what must hold whatever it is.

States are planted in the image that a sandbox is made from, or as root inside before a stop: see `plant.py`.
"""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import plant
from servers import SOON, lent

# Where a start attaches, reads or writes something.
PATHS = (
    "/.sbx", "/.sbx/bin", "/.sbx/bin/agent", "/.sbx/ctl", "/.sbx/empty",
    "/dev", "/dev/pts", "/dev/shm", "/dev/null", "/proc", "/sys",
    "/etc", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab",
    "/etc/ssl", "/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates/sebring.crt",
    "/run", "/tmp", "/root", "/home", "/home/daytona",
)  # fmt: skip
PLAIN = (
    "absent", "file", "empty", "directory", "deep", "many", "fifo", "socket", "null", "zero", "terminal", "disk",
    "whiteout", "sparse", "closed", "set-user-id", "capability", "opaque", "redirect", "hard-link",
)  # fmt: skip
# TRAP is a directory on the host.
TARGETS = (
    "/proc/self/root/evil", "/proc/1/root/evil", "/proc/thread-self/root/evil", "/proc/1/cwd", "/proc/self/fd/3",
    "../../../../../../../..", "/nowhere", "itself", "/evil", "/dev/null", "TRAP",
)  # fmt: skip
KINDS = (*((kind, "") for kind in PLAIN), *(("link", target) for target in TARGETS))
# Runs instead of the agent, if anything planted does; long enough to be seen.
PROGRAM = "#!/bin/sh\nexec sleep 60\n"


def chosen(seed):
    """One to five states, the same for each seed; some lie within others."""
    choice = random.Random(seed)
    states = []
    for _ in range(choice.choice((1, 1, 2, 3, 5))):
        path = choice.choice(PATHS) + choice.choice(("", "", "", "/agent", "/x", "/../x"))
        states.append((os.path.normpath(path), *choice.choice(KINDS)))
    return states


def link(file, target):
    """Another name of the file, for all read it and nobody writes to it; on another file system, a copy."""
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(file, target, follow_symlinks=False)


class Images:
    """Makes small images for a server: a shell, few programs, two users; and what is planted."""

    PROGRAMS = ("dash", "cat", "sleep", "ls")
    LIBRARIES = ("libc.so.6", "libselinux.so.1", "libcap.so.2", "libpcre2-8.so.0")

    def __init__(self, server, trap):
        self.server, self.trap, self.count = server, trap, 0
        self.lent = lent() / "rootfs"
        loader = self.lent / (self.lent / "lib64").readlink()
        self.files = [self.lent / "usr/bin" / name for name in self.PROGRAMS]
        self.files += [path for path in self.lent.glob("usr/lib/*-linux-gnu/*") if path.name in self.LIBRARIES]
        self.files += loader.glob("ld-linux*")
        self.links = {"bin": "usr/bin", "lib": "usr/lib", "lib64": loader.relative_to(self.lent), "usr/bin/sh": "dash"}

    def make(self, states, isolation):
        """The name of a new snapshot with these states."""
        self.count += 1
        return self.server.snapshot(f"hostile-{self.count}", isolation, lambda rootfs: self.fill(rootfs, states))

    def fill(self, rootfs, states):
        self.base(rootfs)
        refused = plant_in_image(
            rootfs, [(path, kind, self.trap if argument == "TRAP" else argument) for path, kind, argument in states]
        )
        # One may be in the way of another, and files have nothing below them.
        assert not refused or len(states) > 1 or states[0][0] not in PATHS, refused

    def base(self, rootfs):
        for name in ("dev", "proc", "sys", "etc", "root", "run", "tmp", "home/daytona", "usr/bin"):
            (rootfs / name).mkdir(parents=True)
        for file in self.files:
            target = rootfs / file.relative_to(self.lent)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(file.resolve(), target)
        for name, target in self.links.items():
            (rootfs / name).symlink_to(target)
        (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\ndaytona:x:1000:1000::/home/daytona:/bin/sh\n")
        (rootfs / "etc/group").write_text("root:x:0:\ndaytona:x:1000:\n")


def plant_in_image(rootfs, states):
    """Makes them in the files of an image; answers what was refused."""
    command = [sys.executable, "-I", "-S", plant.__file__, PROGRAM, json.dumps(states), rootfs]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    return json.loads(said.split("REFUSED", 1)[1])


def plant_inside(sandbox, states):
    """Makes them as root inside, in an image that has Python; answers what was refused."""
    program = Path(plant.__file__).read_bytes()
    sandbox.toolbox("POST", "/files/upload-v2", params={"path": "/var/tmp/plant.py"}, content=program)
    said = sandbox.run(["sudo", "python3", "/var/tmp/plant.py", PROGRAM, json.dumps(states)])
    assert "REFUSED" in said, said
    return json.loads(said.split("REFUSED", 1)[1])


def wrong_after_start(sandbox, answer, seconds, mounts):
    """What is wrong with a sandbox whose start was answered so: it was refused soon and with a reason, or the agent runs,
    behind all the mounts of a plain sandbox, and is at work."""
    if seconds > SOON:
        return f"the start was answered after {seconds:.1f} s: {answer.status_code} {answer.text[:200]}"
    if answer.status_code != 200:
        return None if answer.json().get("message") else f"refused without a reason: {answer.status_code} {answer.text[:200]}"
    if stranger := sandbox.stranger():
        return stranger
    found = sandbox.mounts()
    if found != mounts:
        return f"mounts: missing {set(mounts) - set(found)}, new {set(found) - set(mounts)}, or in another order"
    version = sandbox.toolbox("GET", "/version", timeout=SOON)
    return None if version.status_code == 200 else f"the agent says {version.status_code} {version.text[:200]}"


def wrong_after_delete(sandbox):
    answer, seconds = sandbox.delete()
    if answer.status_code != 200 or seconds > SOON:
        return f"the delete was answered after {seconds:.1f} s: {answer.status_code} {answer.text[:200]}"
    end = time.monotonic() + SOON
    while (state := sandbox.state()) != 404:
        if time.monotonic() > end:
            return f"it is {state} {SOON} s after its delete"
        time.sleep(0.01)
    return None
