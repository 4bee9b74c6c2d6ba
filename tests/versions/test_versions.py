"""The official SDKs of every age, each installed by itself and unchanged: needs the package indexes.

`tests/run versions` runs it. What is installed stays in target/versions for the next run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / "target/versions"
GIT_SERVER = HERE.parent / "python/git_server.py"
# The first that works, the last of each half year since then, those on both sides of what changed in between (routes
# in 0.113, logs in 0.27 and 0.167), and the newest.
PYTHON = (
    ("0.21.0", "daytona-sdk==0.21.0"),
    ("0.21.5", "daytona-sdk==0.21.5"),
    ("0.25.6", "daytona-sdk==0.25.6"),
    ("0.112.3", "daytona-sdk==0.112.3"),
    ("0.128.1", "daytona-sdk==0.128.1"),
    ("0.161.0", "daytona-sdk==0.161.0"),
    ("0.192.0", "daytona-sdk==0.192.0"),
    ("0.226.1", "daytona==0.226.1"),
    ("2.0.0a3 `.v0`", "daytona[v0-sdk]==2.0.0a3"),
)
NPM = (
    ("0.21.4", "@daytonaio/sdk"),
    ("0.25.6", "@daytonaio/sdk"),
    ("0.111.1", "@daytonaio/sdk"),
    ("0.128.1", "@daytonaio/sdk"),
    ("0.161.0", "@daytonaio/sdk"),
    ("0.192.0", "@daytonaio/sdk"),
    ("0.216.0", "@daytona/sdk"),
    ("0.218.0", "@daytonaio/sdk"),
)
# What the server does not have yet: each version says so in these words.
MISSING = {"preview_link": "previews: not available in this version yet"}
# Up to 0.112 what is followed goes by a preview's URL.
BY_PREVIEW = MISSING | {"session_follow": MISSING["preview_link"], "terminal": MISSING["preview_link"]}

# These tell of a failed download by the bytes of its answer.
BYTES = {"errors": '{"type":"Buffer"'}
EXPECTED = {
    "daytona-sdk==0.112.3": BY_PREVIEW,
    "@daytonaio/sdk@0.21.4": MISSING | BYTES,
    "@daytonaio/sdk@0.25.6": MISSING | BYTES,
    "@daytonaio/sdk@0.111.1": BY_PREVIEW,
}
# What these versions don't have.
NEITHER = {"terminal", "interpreter"}
ABSENT = {
    "daytona-sdk==0.21.0": NEITHER,
    "daytona-sdk==0.21.5": NEITHER,
    "daytona-sdk==0.25.6": NEITHER,
    "daytona-sdk==0.112.3": {"interpreter"},
    "@daytonaio/sdk@0.21.4": NEITHER,
    "@daytonaio/sdk@0.25.6": NEITHER,
    "@daytonaio/sdk@0.111.1": {"interpreter"},
}


def run(command, cwd=None):
    """With the variables that `dev/up` prints, and no other ones that an SDK knows."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DAYTONA_"))}
    server = {"url": os.environ["DAYTONA_API_URL"], "SEBRING_API_KEY": os.environ["DAYTONA_API_KEY"]}
    shell = ["bash", "-c", f"{printed('export ')}exec \"$@\"", "bash", *command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=110, cwd=cwd, env=environment | server)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def printed(beginning):
    """The paragraph of that beginning among what `dev/up` says at its end."""
    said = (HERE.parents[1] / "dev/up").read_text().rpartition("<<TEXT\n")[2].partition("TEXT\n")[0]
    return next(part for part in said.split("\n\n") if part.startswith(beginning)) + "\n"


@pytest.fixture
def walk(api, unique):
    """`walk(command, cwd)` is what a walk reports; what it leaves is deleted."""
    yield lambda command, cwd=None: json.loads(run([*command, GIT_SERVER, unique], cwd).strip().splitlines()[-1])
    for left in api.get("/sandbox", params={"labels": json.dumps({"walk": unique})}).json()["items"]:
        api.delete(f"/sandbox/{left['id']}")


def check(sdk, report):
    expected = EXPECTED.get(sdk, MISSING)
    assert {method for method, result in report.items() if result == "absent"} == ABSENT.get(sdk, set())
    broken = {method: result for method, result in report.items() if result not in ("ok", "absent")}
    assert {method: result for method, result in broken.items() if expected.get(method, "\0") not in result} == {}
    assert [method for method in expected if report[method] == "ok"] == [], "works now: say so"


def python_of(name, requirement):
    venv = KEPT / f"python-{name}"
    if not (venv / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", requirement], check=True)
        (venv / "installed").touch()
    return venv / "bin/python"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("version", "requirement"), PYTHON, ids=[version for version, _ in PYTHON])
def test_python(version, requirement, walk, tell):
    python = python_of(version.split()[0], requirement)
    report = walk([python, HERE / "walk.py"])
    tell("Python", version, report)
    check(requirement, report)


def test_what_is_printed_works_when_it_is_copied():
    program = printed("from daytona ")
    assert "pip install 'daytona<2'" in program
    assert run([sys.executable, "-c", program]) == "hello\n\n"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("version", "package"), NPM, ids=[f"{package}@{version}" for version, package in NPM])
def test_npm(version, package, walk, tell):
    folder = KEPT / f"npm-{version}"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "install", *options, f"{package}@{version}"], check=True, cwd=folder)
        (folder / "installed").touch()
    # Packages are looked for beside the program.
    (folder / "walk.mjs").write_bytes((HERE / "walk.mjs").read_bytes())
    report = walk(["node", "walk.mjs", package], folder)
    tell("npm", version, report)
    check(f"{package}@{version}", report)
