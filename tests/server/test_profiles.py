"""Who chooses the isolation of a sandbox: its snapshot, else the server."""

import json
from pathlib import Path

import pytest

from conftest import Server

COUNTERS = Path(__file__).parents[1] / "wire" / "kernel_counters.py"

# Root inside may do it in *system* only.
MOUNT = "sudo mount -t tmpfs none /mnt && echo mounted || true"


@pytest.fixture
def snapshots(tmp_path, server):
    """Makes a data directory whose only snapshot is the default one, said to have that isolation."""
    (lent,) = (path for path in (server.lender / "snapshots").iterdir() if (path / "manifest.json").exists())

    def make(isolation):
        found = json.loads((lent / "manifest.json").read_text())
        assert "isolation" not in found, "the default snapshot leaves it to the server"
        data_dir = tmp_path / f"of-{isolation}"
        folder = data_dir / "snapshots" / found["id"]
        folder.mkdir(parents=True)
        (folder / "rootfs").symlink_to(lent / "rootfs")
        (folder / "manifest.json").write_text(json.dumps({**found, "isolation": isolation}))
        return data_dir

    return make


@pytest.mark.parametrize(
    ("of_server", "of_snapshot", "may_mount"),
    [(None, None, True), ("strict", None, False), ("strict", "system", True), ("system", "strict", False)],
)
def test_isolation(tmp_path, snapshots, of_server, of_snapshot, may_mount):
    options = ["--isolation", of_server] if of_server else []
    made = Server(tmp_path / "chosen", *options)
    if of_snapshot:
        made.lender = snapshots(of_snapshot)
    made.start()
    try:
        shown = made.run(made.create(), MOUNT)
        assert ("mounted" in shown) == may_mount, shown
    finally:
        made.purge()


def test_what_strict_refuses(tmp_path):
    """Beyond what *system* refuses (tests/wire/test_kernel_counters.py)."""
    made = Server(tmp_path / "strict", "--isolation", "strict").start()
    try:
        sandbox = made.create()
        path = {"path": "/tmp/counters.py"}
        upload = made.client.post(f"/toolbox/{sandbox}/files/upload-v2", params=path, content=COUNTERS.read_bytes())
        assert upload.status_code == 200, upload.text
        answers = json.loads(made.run(sandbox, "sudo python3 /tmp/counters.py sockets"))
        assert answers["netlink"] == [[0, 4], ["EPROTONOSUPPORT", "ok"]]
        assert answers["families"]["packet"] == "EAFNOSUPPORT"
        assert [answers["families"][kind] for kind in ("tcp", "udp", "raw", "unix")] == ["ok"] * 4
        refused = [option for option, answer in answers["options"].items() if answer != "ok"]
        assert set(answers["options"]) - set(refused) == {"buffer", "nodelay", "header included"}
        assert answers["others"]["filter of calls"] == "EINVAL"
        assert answers["others"]["io_setup"] == "ENOSYS"
        for command in ["sudo -n id -u", "sudo su -c 'id -u'", "ip -brief address", "ss -tan", "sudo useradd probe"]:
            shown = made.run(sandbox, f"{command} >/tmp/said 2>&1 && echo done || cat /tmp/said")
            assert shown == "done\n", f"{command}: {shown}"
    finally:
        made.purge()


def test_unknown_isolation(tmp_path):
    made = Server(tmp_path / "wrong", "--isolation", "loose")
    with pytest.raises(AssertionError, match="an isolation is system or strict"):
        made.start()
