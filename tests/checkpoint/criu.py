"""The checkpointing program: which one, how it dumps and restores, and the one change to its images."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from source import LIMITS

PROJECT = Path(__file__).resolve().parents[2]
OLDEST = (4, 1)
ADVICE = (
    f"no CRIU {'.'.join(map(str, OLDEST))} or newer: `tests/checkpoint/build-criu` makes a static one from Debian's "
    "source package in two minutes (or name one in SEBRING_CRIU)"
)
# Mounts that come from outside: what the source has of them stays with it, a restored sandbox gets its own.
EXTERNAL = {
    "/.sbx": "files", "/.sbx/ctl": "control", "/.sbx/bin/agent": "agent", "/dev": "devices", "/sys/fs/cgroup": "view",
    "/sys/fs/cgroup/limits": "limits", **{f"/sys/fs/cgroup/{name}": f"group-{name}" for name in LIMITS},
}  # fmt: skip
COMMON = ("--manage-cgroups=ignore", "--tcp-close", "--empty-ns", "net", "-v2")
IDS = 65_536


def find():
    """The program, if there is one that is new enough."""
    for candidate in (os.environ.get("SEBRING_CRIU"), PROJECT / "target/criu/criu", shutil.which("criu")):
        if candidate and Path(candidate).exists():
            text = subprocess.run([candidate, "--version"], capture_output=True, text=True).stdout
            found = re.search(r"Version: (\d+)\.(\d+)", text)
            if found and tuple(map(int, found.groups())) >= OLDEST:
                return str(candidate)
    return None


def explain(log):
    """The first thing that went wrong; what follows is its consequence."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines if "Error" in line and "RLIMIT_NOFILE" not in line]
    return "\n".join(errors[:3] or lines[-10:])


def dump(program, freezer, images):
    """Writes the sandbox's processes, frozen before, and leaves them frozen."""
    images.mkdir()
    command = [
        program, "dump", "--tree", str(freezer.pid), "--images-dir", images, "--log-file", "dump.log",
        "--freeze-cgroup", freezer.group, "--leave-running",
        "--skip-in-flight", "--network-lock", "skip", "--ghost-limit", "64M", *COMMON,
        *(f"--external=mnt[{path}]:{name}" for path, name in EXTERNAL.items()),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, explain(images / "dump.log") or done.stderr


def restore_command(program, place, hook):
    """For a program that sees the mounts of `place.py`."""
    return [
        program, "restore", "--images-dir", f"{place}/images", "--work-dir", str(place), "--log-file", "restore.log",
        "--restore-detached", "--pidfile", f"{place}/pid", "--root", "/mnt/root", "--action-script", str(hook),
        *COMMON, *(f"--external=mnt[{name}]:/mnt/{name}" for name in EXTERNAL.values()),
    ]  # fmt: skip


def with_ids(images, target, base):
    """The same images for another range of user ids; only one file says it."""
    target.mkdir()
    for image in images.glob("*.img"):
        os.link(image, target / image.name)
    (namespace,) = target.glob("userns-*.img")
    # userns.proto: {uid_map: {first: 0, lower_first: BASE, count: 65536}, gid_map: the same}
    extent = b"\x08\x00\x10" + _varint(base) + b"\x18" + _varint(IDS)
    message = b"".join(tag + _varint(len(extent)) + extent for tag in (b"\x0a", b"\x12"))
    magic = namespace.read_bytes()[:8]
    namespace.unlink()
    namespace.write_bytes(magic + len(message).to_bytes(4, "little") + message)


def _varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
