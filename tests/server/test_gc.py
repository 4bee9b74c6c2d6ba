"""`sebring runner gc`: shows exactly what was left over, removes it, and touches nothing that lives."""

import json
import os
import subprocess
import uuid
from pathlib import Path

from live import assert_exact, cgroups_of, place_of
from test_survival import wait_for


def gc(server, *flags):
    command = [server.binary, "runner", "gc", "--data-dir", server.data_dir, "--snapshot-dir", server.lender, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def found(server, *flags):
    answer = gc(server, "--json", *flags)
    assert answer.returncode == 0, answer.stderr
    items = json.loads(answer.stdout)
    assert all(item["reason"] for item in items)
    # Each server leaves the disks it had prepared.
    return sorted((item["kind"], item["name"]) for item in items if not item["name"].startswith("spare-"))


def plant(server):
    """One leftover of each kind; answers what gc should call them."""
    place, planted = place_of(server), []
    pool = Path(f"/proc/{server.process.pid}/root{server.data_dir}/pool")
    pool = pool if pool.is_dir() else server.data_dir
    stray = str(uuid.uuid4())
    (pool / "disks" / stray).write_bytes(b"x" * 4096)
    planted.append(("disk", stray))
    for name in ("new", "ext4-77g.img"):
        (pool / "templates" / name).write_bytes(b"x")
        planted.append(("template", name))
    server.terminate()

    cgroup = f"{uuid.uuid4()}.4000"
    sleeper = subprocess.Popen(["sleep", "600"])
    for hierarchy in cgroups_of(place):
        Path(hierarchy, cgroup).mkdir()
        Path(hierarchy, cgroup, "cgroup.procs").write_text(str(sleeper.pid))
    planted.append(("cgroup", cgroup))
    interface = f"sbx{place:x}-4001"
    subprocess.run(["ip", "link", "add", interface, "type", "veth", "peer", "name", f"gc{os.getpid()}"], check=True)
    planted.append(("interface", interface))
    address = f"10.{200 + place}.15.162"
    for name in (f"closed {{ {address} }}", f"allowed {{ {address} . 1.0.0.0/8 }}"):
        subprocess.run(["nft", f"add element inet sebring_{place} {name}"], check=True)
        planted.append(("rule", name))
    (server.data_dir / "sandboxes" / stray).mkdir()
    planted.append(("sandbox", stray))
    (server.data_dir / "agents" / "0123456789abcdef").mkdir()
    planted.append(("agent", "0123456789abcdef"))
    for name in (stray, ".half-made"):
        (server.data_dir / "layers" / "0123456789abcdef" / name).mkdir(parents=True)
        planted.append(("layer", f"0123456789abcdef/{name}"))
    return sorted(planted), sleeper


def test_finds_and_removes_exactly_what_is_left(server):
    sandbox = server.create(networkBlockAll=True, disk=4)
    stopped = server.create()
    server.client.post(f"/api/sandbox/{stopped}/stop")
    server.run(sandbox, "echo kept > file; nohup sleep 600 >/dev/null 2>&1 &")
    planted, sleeper = plant(server)
    try:
        assert found(server, "--dry-run") == planted
        assert sleeper.poll() is None
        table = gc(server, "--dry-run")
        assert all(name in table.stdout for _, name in planted), table.stdout
        assert found(server) == planted
        assert sleeper.wait(10) == -9
    finally:
        sleeper.kill()
    assert found(server, "--dry-run") == []
    assert gc(server).stdout == "nothing is left over\n"
    server.start()
    assert server.run(sandbox, "cat file; pgrep -c sleep") == "kept\n1\n"
    assert_exact(server)


def test_refuses_while_a_server_runs(server):
    sandbox = server.create()
    answer = gc(server)
    assert answer.returncode != 0
    assert "another server uses the data directory" in answer.stderr, answer.stderr
    assert server.run(sandbox, "echo fine") == "fine\n"


def test_an_upgrade_keeps_the_agents_that_run(server, tmp_path):
    """Sandboxes go on under a program with another agent; theirs is left over once none runs it."""
    old = server.create()
    pid = server.run(old, "nohup sleep 600 >/dev/null 2>&1 & echo $!").strip()
    server.terminate()
    before = {path.name for path in (server.data_dir / "agents").iterdir()}
    server.binary = with_another_agent(server, tmp_path / "sebring")
    server.start()
    assert server.run(old, f"kill -0 {pid} && echo here") == "here\n"
    new = server.create()
    assert server.run(new, "echo new") == "new\n"
    server.terminate()
    assert found(server, "--dry-run") == []
    server.start()
    assert server.client.delete(f"/api/sandbox/{old}").status_code == 200
    wait_for(server, old, 404)
    server.terminate()
    assert found(server) == [("agent", name) for name in before]
    server.start()
    assert server.run(new, "echo here") == "here\n"


def with_another_agent(server, path):
    """The same program, but for an unused byte in the header of the agent that it holds (`EI_PAD` of elf(5))."""
    agent = next((server.data_dir / "agents").glob("*/sebring-agent")).read_bytes()
    program = bytearray(server.binary.read_bytes())
    at = program.index(agent)
    program[at + 12] ^= 1
    path.write_bytes(program)
    path.chmod(0o755)
    return path
