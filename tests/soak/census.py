"""What a server and its sandboxes hold at a moment, in numbers that can be compared."""

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loops

# Connections to an agent that the server keeps.
KEPT_CONNECTIONS = 16

PROCESSES = r"""
import os
zombies, others = 0, []
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        state = open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]
        name = open(f'/proc/{pid}/cmdline').read().replace('\0', ' ')
    except OSError:
        continue
    if state == 'Z':
        zombies += 1
    elif int(pid) not in (1, os.getpid()):
        others.append(name)
print(zombies, others)
"""


def shown(*command):
    """Also of a search through what goes away meanwhile."""
    return subprocess.run(command, capture_output=True, text=True).stdout


class Server:
    def __init__(self, pid, data_dir):
        self.proc = Path(f"/proc/{pid}")
        self.data_dir = Path(data_dir).resolve()

    def kib(self):
        return int(re.search(r"^VmRSS:\s+(\d+)", (self.proc / "status").read_text(), re.M).group(1))

    def holdings(self):
        """Descriptors, and what it has of the machine: disks, interfaces and control groups."""
        claims = (path for path in Path("/run/sebring").glob("*") if path.name.isdigit())
        place = next(int(path.name) for path in claims if path.read_text().strip() == str(self.data_dir))
        pool = Path(f"{self.proc}/root{self.data_dir}/pool/disks")
        groups = shown("find", "/sys/fs/cgroup", "-type", "d", "-path", f"*/sebring/{place}/*")
        return {
            "descriptors": len(list((self.proc / "fd").iterdir())) - self.callers(),
            "disks": len(loops.images(pool)) if pool.is_dir() else 0,
            "interfaces": shown("ip", "-o", "link").count(f" sbx{place:x}-"),
            "groups": groups.count("\n"),
        }

    def callers(self):
        """Connections of clients, which keep as many as they like."""
        tables = ((self.proc / "net" / name).read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
        rows = [line.split() for table in tables for line in table]
        # proc_net_tcp(5): the state is the fourth field, 0A for a listener; the inode is the tenth.
        accepted = {f"socket:[{row[9]}]" for row in rows if row[3] != "0A"}
        held = 0
        for descriptor in (self.proc / "fd").iterdir():
            try:
                held += os.readlink(descriptor) in accepted
            except FileNotFoundError:
                continue
        return held

    def of_sandbox(self, sandbox):
        """Memory, descriptors and processes of a sandbox that nobody uses now."""
        # At the end of a session the agent gives back what its allocator keeps of earlier work.
        sandbox.process.create_session("census")
        sandbox.process.delete_session("census")
        with ThreadPoolExecutor(KEPT_CONNECTIONS) as pool:
            # As many connections as there ever are, for how many are open is chance.
            list(pool.map(lambda _: sandbox.process.exec("sleep 1"), range(KEPT_CONNECTIONS)))
        record = json.loads((self.data_dir / "sandboxes" / sandbox.id / "record.json").read_text())
        return {
            "kib": int(sandbox.process.exec("grep ^RssAnon: /proc/1/status").result.split()[1]),
            "processes": sandbox.process.code_run(PROCESSES).result.strip(),
            "descriptors": len(os.listdir(f"/proc/{record['phase']['running']['pid']}/fd")),
        }

    def settled(self, wanted=None, seconds=60):
        """Holdings once they no longer change, or are those wanted: the server prepares sandboxes ahead, and clears
        away behind.
        """
        end, before = time.monotonic() + seconds, None
        while (now := self.holdings()) != (wanted or before) and time.monotonic() < end:
            before = now
            time.sleep(1)
        return now
