"""What servers take from the machine, as text that can be compared."""

import re
import subprocess
import time
from pathlib import Path

# Each server writes its data directory here, into a file named by the place it took among all servers.
CLAIMS = Path("/run/sebring")


def shown(*command):
    answer = subprocess.run(command, capture_output=True, text=True)
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def inventory():
    """What a sandbox may hold outside of its data directory, each thing as one line."""
    things = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        things.add(f"mount {line.split()[4]}")
    for line in shown("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"):
        things.add(f"loop {line}")
    for line in shown("ip", "-o", "link"):
        things.add(f"link {line.split()[1]}")
    for line in shown("ip", "-4", "-o", "route"):
        things.add(f"route {line.strip()}")
    for path in Path("/run/netns").glob("*"):
        things.add(f"netns {path}")
    for line in shown("nft", "list", "tables"):
        things.add(f"nft {line}")
    for line in shown("find", "/sys/fs/cgroup", "-type", "d"):
        things.add(f"cgroup {line}")
    return {thing for thing in things if not of_other_servers(thing)}


def of_other_servers(thing):
    """Servers that this suite did not start, which other people run on the machine, take and give back things too."""
    for claim in CLAIMS.glob("*"):
        try:
            owner = claim.read_text().strip()
        except OSError:
            continue
        if "/pytest-" not in owner and claim.name.isdigit():
            place = int(claim.name)
            marks = rf"sbx{place:x}-|/sebring/{place}(/|$)|sebring_{place}$|10\.{200 + place}\."
            if owner in thing or re.search(marks, thing):
                return True
    return False


def left_over(before):
    """What is there beyond `before`, once the kernel has finished what it does in the background."""
    end = time.monotonic() + 10
    while (left := inventory() - before) and time.monotonic() < end:
        time.sleep(0.1)
    return sorted(left)


def grown(before):
    """Kinds of which there are more now."""
    return {kind: count for kind, count in count_by_kind(inventory()).items() if count > before.get(kind, 0)}


def count_by_kind(things):
    """Pools are refilled by new things of the same kind, so only their number is the same."""
    kinds = {}
    for thing in things:
        kinds[thing.split()[0]] = kinds.get(thing.split()[0], 0) + 1
    return kinds
