"""The file API against links that point at the host, also while they change between a look and a use.

It works inside, so a path means what it means there. One that opened the same files from outside would be led astray, as
the second test shows.
"""

from pathlib import Path

SECRET = "secret of the host"
# A folder that is at one moment real, at the next a link to the host's.
SWAP = """
import os
host = os.path.dirname(os.environ["MARKER"])
os.makedirs("/tmp/real", exist_ok=True)
open("/tmp/real/marker", "w").write("of the sandbox")
os.symlink(host, "/tmp/a-link")
os.symlink("/tmp/real", "/tmp/b-link")
for name in ("a", "b"):
    os.symlink(os.environ["MARKER"], f"/tmp/{name}-file")
os.symlink("/tmp/real", "/tmp/swap")
print("ready", flush=True)
if os.fork() == 0:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while not os.path.exists("/tmp/enough"):
        for target in ("/tmp/a-link", "/tmp/b-link"):
            os.symlink(target, "/tmp/next")
            os.rename("/tmp/next", "/tmp/swap")
"""
PATHS = (
    "/tmp/a-file",
    "/tmp/a-link/marker",
    "/tmp/swap/marker",
    "/proc/1/root{marker}",
    "/tmp/../../../../../..{marker}",
)


def test_a_link_leads_to_the_sandbox_itself(sandbox, host):
    assert "ready" in sandbox("python3", "-c", SWAP)
    before = Path(host["MARKER"]).read_text()
    try:
        for turn in range(40):
            for path in PATHS:
                path = path.format(marker=host["MARKER"])
                read = sandbox.toolbox("GET", "/files/download", params={"path": path})
                assert SECRET not in read.text, path
                sandbox.toolbox("POST", "/files/upload-v2", params={"path": path}, content=b"overwritten")
            listed = sandbox.toolbox("GET", "/files", params={"path": "/tmp/swap"})
            assert turn == 0 or listed.status_code in (200, 400, 404), listed.text
    finally:
        sandbox("touch", "/tmp/enough")
    assert Path(host["MARKER"]).read_text() == before


def test_a_link_leads_to_the_host_when_opened_from_outside(host, tmp_path):
    """As a file API does that opens `root + path` on the host."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/a-file").symlink_to(host["MARKER"])
    (tmp_path / "tmp/a-link").symlink_to(Path(host["MARKER"]).parent)
    for path in ("/tmp/a-file", "/tmp/a-link/marker"):
        assert SECRET in Path(f"{tmp_path}{path}").read_text()
