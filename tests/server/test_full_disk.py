"""A full disk below the pool: creates are refused in time, sandboxes see ENOSPC, nothing is damaged, and what is freed
is used again."""

import os
import re
import subprocess
import time

import pytest
from conftest import Server
from test_survival import wait_for

SIZE = "700M"
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"], "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=0"]}


@pytest.fixture
def small(tmp_path, request):
    """A server whose data directory is on a small disk of its own."""
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("needs loop devices")
    image, mount = tmp_path / "small.img", tmp_path / "small"
    mount.mkdir()
    subprocess.run(["truncate", "-s", SIZE, image], check=True)
    subprocess.run([*MAKE[getattr(request, "param", "ext4")], image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    server = Server(mount / "data")
    try:
        yield server.start()
    finally:
        server.purge()
        # Refused while anything of it is in use.
        subprocess.run(["umount", mount], check=True)
        image.unlink()


FILL = r"""
import hashlib, itertools, os
kept, count = hashlib.sha256(), itertools.count()
with open('big', 'wb', buffering=0) as big:
    try:
        while True:
            block = (b"%16d" % next(count)) * (1 << 16)
            written = big.write(block)
            kept.update(block[:written])
    except OSError as error:
        print(error.errno, end=' ')
    try:
        os.fsync(big.fileno())
    except OSError as error:
        print('fsync', error.errno, end=' ')
print(os.path.getsize('big'), kept.hexdigest())
"""
CHECK = "python3 -c \"import hashlib; print(hashlib.file_digest(open('big', 'rb'), 'sha256').hexdigest())\""


def put(server, sandbox, name, text):
    response = server.client.post(f"/toolbox/{sandbox}/files/upload-v2?path={name}", content=text.encode())
    assert response.status_code == 200, response.text


@pytest.mark.timeout(240)
def test_full_and_free_again(small):
    server = small
    first, second = server.create(), server.create()
    server.run(first, "echo before > small; sync")
    put(server, first, "fill.py", FILL)
    put(server, second, "fill.py", FILL)
    errno, length, digest = server.run(first, "python3 fill.py").split()
    assert errno == "28", "ENOSPC, and what was accepted was written"
    assert int(length) > 200 << 20

    # The other one hits the same wall; what is small still works in both.
    assert server.run(second, "python3 fill.py").split()[0] == "28"
    assert server.run(first, "cat small; rm small; ls | wc -l").split()[0] == "before"

    refused = server.client.post("/api/sandbox", json={})
    assert refused.status_code == 503, refused.text
    assert re.search(r"disk is nearly full.*MiB.*delete sandboxes", refused.json()["message"]), refused.text

    # Past the kernel's memory: from the disk itself.
    server.run(first, "sync")
    subprocess.run(["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"], check=True)
    assert server.run(first, CHECK).strip() == digest

    assert server.client.delete(f"/api/sandbox/{second}").status_code == 200
    assert server.client.delete(f"/api/sandbox/{first}").status_code == 200
    third = created_again(server)
    assert server.run(third, "head -c 100M /dev/urandom > file && sync && stat -c %s file").strip() == str(100 << 20)


def created_again(server):
    end = time.monotonic() + 30
    while (answer := server.client.post("/api/sandbox", json={})).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)
    return answer.json()["id"]


@pytest.mark.timeout(240)
def test_what_a_sandbox_deletes_is_room_again(small):
    """Also for itself, and for others; its file system is whole."""
    server = small
    sandbox = server.create()
    put(server, sandbox, "fill.py", FILL)
    assert server.run(sandbox, "python3 fill.py").split()[0] == "28"
    server.run(sandbox, "rm big; sync")
    created_again(server)
    length = server.run(sandbox, "head -c 100M /dev/urandom > other && sync && stat -c %s other")
    assert int(length) == 100 << 20
    assert server.client.post(f"/api/sandbox/{sandbox}/stop").status_code == 200
    wait_for(server, sandbox, "stopped")
    image = f"/proc/{server.process.pid}/root{server.data_dir}/pool/disks/{sandbox}"
    checked = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_what_is_deleted_leaves_the_pool(server):
    """Also while there is plenty of room, a few seconds later."""
    pool = server.data_dir / "pool.img"
    if not pool.exists():
        pytest.skip("the data directory needs no pool")
    sandbox = server.create()
    server.run(sandbox, "head -c 600M /dev/urandom > big && sync")
    taken = pool.stat().st_blocks * 512
    assert taken > 600 << 20
    assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    end = time.monotonic() + 60
    while pool.stat().st_blocks * 512 > taken - (550 << 20):
        assert time.monotonic() < end, server.log()
        time.sleep(0.1)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("small", ["xfs"], indirect=True)
def test_the_pool_follows_its_disk(small):
    """A larger disk is used while the server runs, or when it starts again; sandboxes run meanwhile. It is an xfs, which
    may grow without more capabilities than the server needs."""
    server = small
    sandbox = server.create()
    server.run(sandbox, "echo kept > file")
    disk = server.data_dir.parent
    source = subprocess.run(["findmnt", "-no", "SOURCE", disk], capture_output=True, text=True, check=True)
    device = source.stdout.strip()

    def grow(gib):
        subprocess.run(["truncate", "-s", f"{gib}G", disk.with_suffix(".img")], check=True)
        subprocess.run(["losetup", "--set-capacity", device], check=True)
        subprocess.run(["xfs_growfs", "-d", disk], check=True, capture_output=True)

    def pool_gib():
        pool = os.statvfs(f"/proc/{server.process.pid}/root{server.data_dir}/pool")
        return pool.f_blocks * pool.f_frsize / (1 << 30)

    grow(3)
    end = time.monotonic() + 30
    while pool_gib() < 2.5:
        assert time.monotonic() < end, server.log()
        time.sleep(0.1)
    server.kill()
    grow(4)
    # As a server leaves it that ends in the middle of a growth.
    os.truncate(server.data_dir / "pool.img", 4 << 30)
    server.start()
    assert pool_gib() > 3.5
    assert server.run(sandbox, "cat file") == "kept\n"
    assert server.run(server.create(), "echo new") == "new\n"
