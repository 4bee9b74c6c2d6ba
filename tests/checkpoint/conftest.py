"""A sandbox of the server under test with programs in every state that a checkpoint must keep."""

import os
import subprocess
from pathlib import Path

import criu
import pytest
from restored import Checkpoint, Restored
from source import CGROUPS, Source
from toolbox import Toolbox

HERE = Path(__file__).parent
TIMES = pytest.StashKey()


def pytest_configure(config):
    config.stash[TIMES] = {}


def pytest_terminal_summary(terminalreporter, config):
    for name, times in config.stash[TIMES].items():
        if not times:
            continue
        parts = ", ".join(f"{part} {seconds * 1000:.0f} ms" for part, seconds in times.items())
        terminalreporter.write_line(f"{name}: {parts}")


@pytest.fixture(scope="session")
def program():
    """CRIU, where it can be used."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = criu.find()
    if not found:
        pytest.skip(criu.ADVICE)
    checked = subprocess.run([found, "check"], capture_output=True, text=True)
    if checked.returncode != 0:
        pytest.skip(f"{found} does not work with this kernel: {checked.stderr}")
    if not (CGROUPS / "freezer/cgroup.procs").exists():
        pytest.skip("needs the freezer of cgroup version 1 at /sys/fs/cgroup/freezer")
    return found


@pytest.fixture
def sandbox(raw_sandbox, toolbox, program):
    """Started by the real server: a terminal, an interpreter, a web server, all with something to remember."""
    made = raw_sandbox(env={"WHO": "source"})
    inside = Toolbox(toolbox(made))
    content = (HERE / "program.py").read_bytes()
    uploaded = inside.client.post("/files/upload-v2", params={"path": "program.py"}, content=content)
    assert uploaded.status_code == 200, uploaded.text
    inside.post("/process/session", {"sessionId": "web"})
    inside.post("/process/session/web/exec", {"command": "python3 program.py", "runAsync": True})
    inside.run("until curl -s localhost:8000; do :; done")
    inside.python("remembered = 41")
    return made, inside


@pytest.fixture
def checkpoint(request, sandbox, program, tmp_path):
    """Not taken yet. Whatever became of it, the source runs on afterwards."""
    source = Source(os.environ["SEBRING_DATA_DIR"], int(os.environ["SEBRING_PID"]), sandbox[0]["id"])
    made = Checkpoint(program, source, tmp_path / "checkpoint")
    request.config.stash[TIMES][request.node.name] = made.times
    yield made
    source.freezer.release()
    made.remove()


@pytest.fixture
def restore(checkpoint):
    """`restore()` makes one more sandbox from the checkpoint."""
    made = []

    def one():
        made.append(Restored(checkpoint, len(made) + 1))
        made[-1].start()
        return made[-1]

    yield one
    for sandbox in made:
        sandbox.remove()
