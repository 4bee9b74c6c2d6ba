"""That what a server holds of its machine is exactly what its sandboxes need: nothing less, nothing more.

Pools are prepared ahead, so of interfaces, disks and loop devices there may be some more, of names that say so.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import loops

# A server's places and their addresses: compute/network/src/claim.rs, compute/runner/src/slots.rs.
CLAIMS = Path("/run/sebring")
FIRST_SUBNET, RANGES, RANGE = 200, 4096, 65536
# Prepared ahead, and the one that waits for room.
AHEAD = 17
FILES = [
    r"lock|sebring\.db(-wal|-shm)?|mounts(/[a-z-]+)?|life-\d+\.log|snapshots|sandboxes|blanks|agents|layers",
    r"pool\.img|pool|disks|templates",
    r"templates/ext4-\d+g\.img|disks/(ID|spare-\d+)",
    r"agents/[0-9a-f]{16}(/sebring-agent)?",
    r"layers/[0-9a-f]{16}(/[0-9a-f-]{36}(/.*)?)?",
    r"blanks/[0-9a-f-]{36}(/record\.(json|new)|/cgroup(/cpu\.max)?)?",
    r"sandboxes/ID(/record\.(json|new)|/cgroup(/[a-z.]+)?)?",
]


def assert_exact(server):
    """What there is beyond or short of the live set, once the background has done its work."""
    end = time.monotonic() + 15
    while (wrong := differences(server)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not wrong, "\n".join(wrong)


def differences(server):
    sandboxes = listed(server)
    states = {id: item["state"] for id, item in sandboxes.items()}
    moving = [f"{id} is {state}" for id, state in states.items() if state not in ("started", "stopped", "error")]
    if moving:
        return moving
    running = {id for id, item in sandboxes.items() if item["state"] == "started"}
    place = place_of(server)
    cgroups = cgroups_of(place)
    slots = {int(name.rsplit(".", 1)[1]) for names in cgroups.values() for name in names}
    # Lists leave out whom a sandbox is linked to.
    whole = {id: server.client.get(f"/api/sandbox/{id}").json() for id in running}
    if any("id" not in item for item in whole.values()):
        return ["one was deleted meanwhile"]
    confined = {slot_of(cgroups, id): item for id, item in whole.items()}
    # What is cheap to look at comes first: the rest is not looked at while that is wrong.
    checks = [
        lambda: members(cgroups, running),
        lambda: files(server, sandboxes.keys()),
        lambda: records(server, sandboxes),
        lambda: disks(server, sandboxes.keys(), running),
        lambda: interfaces(place, slots),
        lambda: rules(place, confined),
        lambda: processes(place, cgroups, running),
    ]
    return next((wrong for check in checks if (wrong := check())), [])


def made_ahead(server, count):
    """The ids of sandboxes that wait for a create, once there are as many."""
    end = time.monotonic() + 15
    while True:
        names = {name for names in cgroups_of(place_of(server)).values() for name in names if awake(server, name)}
        ids = {name.rsplit(".", 1)[0] for name in names} - listed(server).keys()
        if len(ids) == count:
            return ids
        assert time.monotonic() < end, f"{ids} were made ahead, not {count}\n{server.log()}"
        time.sleep(0.02)


def awake(server, name):
    """Whether the agent of that cgroup is there."""
    for parent in cgroups_of(place_of(server)):
        try:
            if Path(parent, name, "cgroup.procs").read_text():
                return True
        except OSError:
            continue
    return False


def members(cgroups, running):
    wrong = []
    for hierarchy, names in cgroups.items():
        compare(wrong, f"cgroups in {hierarchy}", sorted(name.rsplit(".", 1)[0] for name in names), sorted(running))
    return wrong


def compare(wrong, what, found, wanted):
    if found != wanted:
        wrong.append(f"{what}: {found}, wanted {wanted}")


def listed(server):
    items, cursor = {}, ""
    while cursor is not None:
        page = server.client.get("/api/sandbox", params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        items.update({item["id"]: item for item in page["items"]})
        cursor = page["nextCursor"]
    return items


def place_of(server):
    for claim in CLAIMS.glob("[0-9]*"):
        if claim.read_text() == str(server.data_dir):
            return int(claim.name)
    raise AssertionError("the server has no place")


def cgroups_of(place):
    """The names in each hierarchy that manages something for sandboxes."""
    found = {}
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for parent in (Path(mount[1], f"sebring/{place}") for mount in mounts if mount[2].startswith("cgroup")):
        if parent.is_dir():
            found[str(parent)] = sorted(path.name for path in parent.iterdir() if path.is_dir())
    return found


def slot_of(cgroups, id):
    for names in cgroups.values():
        for name in names:
            if name.startswith(f"{id}."):
                return int(name.rsplit(".", 1)[1])
    return None


def interfaces(place, slots):
    names = {path.name for path in Path("/sys/class/net").glob(f"sbx{place:x}-*")}
    wanted = {f"sbx{place:x}-{slot}" for slot in slots}
    wrong = []
    if wanted - names or len(names) > len(wanted) + AHEAD:
        wrong.append(f"interfaces: {sorted(names)}, wanted {sorted(wanted)} and {AHEAD} more")
    routes = subprocess.run(["ip", "-4", "-o", "route"], capture_output=True, text=True, check=True).stdout
    for line in routes.splitlines():
        if (match := re.search(rf"dev (sbx{place:x}-\d+)", line)) and match[1] not in names:
            wrong.append(f"route: {line}")
    return wrong


def processes(place, cgroups, running):
    """Every process with user ids of the place is in a cgroup of a running sandbox, one pid namespace each."""
    first, wrong, namespaces = place * RANGES * RANGE, [], set()
    members = {}
    for parent, names in cgroups.items():
        for name in names:
            try:
                for pid in Path(parent, name, "cgroup.procs").read_text().split():
                    members[pid] = name.rsplit(".", 1)[0]
            except OSError:
                continue
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "status").read_text()
            uid = int(re.search(r"^Uid:\t(\d+)", status, re.M)[1])
            if place == 0 and uid < 16 * RANGE or not first <= uid < first + RANGES * RANGE:
                continue
            namespaces.add((path / "ns/pid").readlink())
            if members.get(path.name) not in running and path.exists():
                wrong.append(f"process {path.name} of nobody: {status.splitlines()[0]}")
        except OSError:
            continue
    if len(namespaces) != len(running):
        wrong.append(f"{len(namespaces)} pid namespaces for {len(running)} sandboxes")
    return wrong


def disks(server, sandboxes, running):
    """The pool is mounted where only the server sees it."""
    seen = Path(f"/proc/{server.process.pid}/root{server.data_dir}")
    root = seen / "pool" if (seen / "pool").is_dir() else seen
    names = sorted(path.name for path in (root / "disks").iterdir())
    wrong = []
    compare(wrong, "disks", [name for name in names if not name.startswith("spare-")], sorted(sandboxes))
    if (spares := len(names) - len(sandboxes)) > AHEAD:
        wrong.append(f"{spares} spare disks")
    odd = [path.name for path in (root / "templates").iterdir() if not re.fullmatch(r"ext4-\d+g\.img", path.name)]
    compare(wrong, "half-made templates", odd, [])
    # Without a pool other files of the host's file system may be attached as well.
    known = {*sandboxes, *names} if root == seen else None
    attached = [name for name in loops.images(root / "disks") if known is None or name in known]
    attached = [name for name in attached if not name.startswith("spare-")]
    if (server.data_dir / "pool.img").exists() and loops.is_attached(server.data_dir / "pool.img"):
        attached.append("pool")
    wanted = sorted([*running, *(["pool"] if (server.data_dir / "pool.img").exists() else [])])
    compare(wrong, "loop devices", sorted(attached), wanted)
    return wrong


def rules(place, running):
    """Elements name only addresses of running sandboxes that are confined or linked, and all of those."""
    command = ["nft", "-j", "list", "table", "inet", f"sebring_{place}"]
    listing = subprocess.run(command, capture_output=True, check=True)
    sources = set()
    for entry in json.loads(listing.stdout)["nftables"]:
        if entry.get("set", {}).get("name") not in ("closed", "confined", "allowed", "opened", "linked"):
            # The kernel fills the others as packets pass.
            continue
        for element in entry["set"].get("elem", []):
            while isinstance(element, dict):
                element = element["concat"][0] if "concat" in element else element["elem"]["val"]
            sources.add(element)
    wanted = set()
    groups = [item.get("linkedSandboxId") or item["id"] for item in running.values()]
    for slot, item in running.items():
        linked = groups.count(item.get("linkedSandboxId") or item["id"]) > 1
        if linked or item["networkBlockAll"] or item.get("networkAllowList") or item.get("domainAllowList"):
            wanted.add(f"10.{FIRST_SUBNET + place}.{slot >> 8}.{slot & 255}")
    wrong = []
    compare(wrong, "rules", sorted(sources), sorted(wanted))
    return wrong


def files(server, sandboxes):
    patterns = [re.compile(pattern.replace("ID", f"({'|'.join(sandboxes) or '-'})")) for pattern in FILES]
    wrong = []
    for directory, folders, names in os.walk(server.data_dir):
        inside = Path(directory).relative_to(server.data_dir)
        if inside == Path("pool"):
            folders.clear()
        for name in folders + names:
            path = str(inside / name)
            if not any(pattern.fullmatch(path) for pattern in patterns) and (server.data_dir / path).exists():
                wrong.append(f"file {path}")
    wrong += [f"file {path}" for path in CLAIMS.glob(".*") if str(server.data_dir) in path.read_text()]
    return wrong


def records(server, sandboxes):
    """The runner has written down what the API says."""
    wrong = []
    for id, item in sandboxes.items():
        record = json.loads((server.data_dir / "sandboxes" / id / "record.json").read_text())
        phase = record["phase"] if isinstance(record["phase"], str) else next(iter(record["phase"]))
        compare(wrong, f"phase of {id}", phase, "running" if item["state"] == "started" else "stopped")
        sizes = {key: item[key] for key in ("cpu", "memory", "disk")}
        compare(wrong, f"sizes of {id}", record["spec"]["resources"], sizes)
        closed = record["spec"]["egress"] == "closed"
        compare(wrong, f"egress of {id}", closed, bool(item["networkBlockAll"]))
    return wrong
