"""Resources: what a sandbox may not take, and that it goes on afterwards."""

import socket
import time

import pytest

from errors import check_toolbox_error


def run(box, command, timeout=100):
    response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert response.status_code == 200, response.text
    return response.json()


GIB = 1 << 30


def test_two_gib_into_a_one_gib_disk(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox(disk=1))
    chunk = bytes(1 << 20)
    response = box.post("/files/upload-v2?path=big", content=(chunk for _ in range(2048)), timeout=100)
    assert 400 <= response.status_code < 600
    check_toolbox_error(response, response.status_code, None, "disk")
    assert run(box, "echo usable")["result"] == "usable\n"
    assert box.get("/files/info?path=big").status_code == 404, "the half of a file is gone"
    response = box.post("/files/upload-v2?path=small", content=b"fits")
    assert response.status_code == 200, response.text
    assert run(box, "cat small")["result"] == "fits"


def test_two_gib_in_bulk_into_a_one_gib_disk(raw_sandbox, toolbox):
    """The way of the SDKs: the error names the file and says that the disk is full."""
    box = toolbox(raw_sandbox(disk=1))
    chunk = bytes(1 << 20)

    def body():
        yield b'--XX\r\nContent-Disposition: form-data; name="files[0].path"\r\n\r\nbig\r\n'
        yield b'--XX\r\nContent-Disposition: form-data; name="files[0].file"; filename="big"\r\n\r\n'
        for _ in range(2048):
            yield chunk
        yield b"\r\n--XX--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    response = box.post("/files/bulk-upload", content=body(), headers=headers, timeout=100)
    assert response.status_code == 400, response.text
    (error,) = response.json()["errors"]
    assert "big" in error and "disk" in error
    assert run(box, "echo usable > f; cat f")["result"] == "usable\n"


def test_disk_is_a_hard_limit_from_inside(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox(disk=1))
    answer = run(box, "dd if=/dev/zero of=fill bs=1M count=2000 2>&1; stat -c %s fill")
    assert "No space left" in answer["result"]
    assert int(answer["result"].split()[-1]) < 1.05 * GIB
    assert run(box, "rm fill; echo x > f; cat f")["result"] == "x\n"
    assert run(box, "sudo sh -c 'dd if=/dev/zero of=/fill bs=1M count=2000' 2>&1")["exitCode"] == 1, "root too"


def test_disk_size_is_shown(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox(disk=1))
    total = int(run(box, "df --output=size -B1 / | tail -1")["result"])
    assert 0.9 * GIB < total <= 1.01 * GIB


def test_a_full_disk_survives_stop_and_start(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox(disk=1)
    box = toolbox(sandbox)
    run(box, "sudo dd if=/dev/zero of=/fill bs=1M count=2000 2>/dev/null; dd if=/dev/zero of=rest 2>/dev/null")
    assert api.post(f"/sandbox/{sandbox['id']}/stop").status_code == 200
    while api.get(f"/sandbox/{sandbox['id']}").json()["state"] == "stopping":
        time.sleep(0.05)
    response = api.post(f"/sandbox/{sandbox['id']}/start")
    assert response.status_code == 200, response.text
    assert run(box, "sudo rm /fill; echo x > f; cat f")["result"] == "x\n"


def test_fork_bomb(raw_sandbox, toolbox):
    """Ended by the pids limit; the sandbox answers when it is killed, and others don't notice."""
    sandbox, other = raw_sandbox(), raw_sandbox()
    box = toolbox(sandbox)
    response = box.post(
        "/process/execute", json={"command": "bomb() { bomb | bomb & }; bomb; sleep 60", "timeout": 5}, timeout=60
    )
    assert response.status_code in (200, 408), response.text
    began = time.monotonic()
    assert run(toolbox(other), "echo calm")["result"] == "calm\n"
    assert time.monotonic() - began < 5
    assert box.get("/version").status_code == 200
    run(box, "sudo kill -9 -1 2>/dev/null; true")
    assert run(box, "echo back")["result"] == "back\n"


def test_processes_are_limited(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    answer = run(
        box,
        "python3 -c '\nimport os, time\nn = 0\ntry:\n  while n < 20000:\n    if os.fork() == 0: time.sleep(100)\n"
        "    n += 1\nexcept OSError as e: print(n, e.errno, flush=True)\nos.killpg(0, 9)'",
    )
    count, errno = answer["result"].split()[:2]
    assert int(errno) == 11
    assert 100 < int(count) < 10_000


def test_memory_hog(raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    answer = run(box, "python3 -c 'x = bytearray(3 << 30); print(len(x))'")
    assert answer["exitCode"] == 137, answer
    assert run(box, "echo still here")["result"] == "still here\n"
    assert run(box, "python3 -c 'x = bytearray(500 << 20); print(len(x) >> 20)'")["result"] == "500\n"


def test_memory_in_a_tmpfs(raw_sandbox, toolbox):
    """Memory that no process holds: the sandbox must still answer and be deletable."""
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    run(box, "dd if=/dev/zero of=/dev/shm/fill bs=1M count=3000 2>&1; true")
    assert box.get("/version").status_code == 200


def test_limits_are_shown_inside(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox(memory=2))
    assert run(box, "cat /sys/fs/cgroup/memory.max")["result"] == f"{2 * GIB}\n"
    assert run(box, "cat /sys/fs/cgroup/cpu.max")["result"] == "100000 100000\n"


def test_cpu_limit(raw_sandbox, toolbox):
    """Two busy processes share one CPU."""
    box = toolbox(raw_sandbox())
    code = (
        "import os, time\nfor _ in range(2):\n  if os.fork() == 0:\n    end = time.monotonic() + 2\n"
        "    while time.monotonic() < end: pass\n    os._exit(0)\nfor _ in range(2): os.wait()\n"
        "t = os.times(); print(t.children_user + t.children_system)"
    )
    used = float(run(box, f"python3 -c '{code}'")["result"])
    assert used < 2.6, "CPU seconds in 2 seconds on one CPU"


def test_open_files_and_threads_are_enough(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    code = 'fs = [open("/dev/null") for _ in range(1000)]; print(len(fs))'
    assert run(box, f"python3 -c '{code}'")["result"] == "1000\n"


def test_slow_client(shared, api_key):
    """Half a request must not hold anything up: others are served meanwhile."""
    from urllib.parse import urlsplit

    address = urlsplit(shared["toolboxProxyUrl"])
    with socket.create_connection((address.hostname, address.port)) as half:
        half.sendall(
            f"POST /toolbox/{shared['id']}/process/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
        )
        import httpx

        answer = httpx.post(
            f"{shared['toolboxProxyUrl']}/{shared['id']}/process/execute",
            json={"command": "echo meanwhile"},
            headers={"Authorization": f"Bearer {api_key}"},
            trust_env=False,
        )
        assert answer.json()["result"] == "meanwhile\n"


pytestmark = pytest.mark.timeout(200)


def test_each_sandbox_has_its_own_inotify_instances(raw_sandbox, toolbox):
    """The kernel counts them for the one who made the namespaces, too: one sandbox must not use up everybody's."""
    greedy, modest = toolbox(raw_sandbox()), toolbox(raw_sandbox())
    script = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
taken = 0
while libc.inotify_init1(0) >= 0:
    taken += 1
print(taken, flush=True)
input()
"""
    assert greedy.post("/files/upload-v2", params={"path": "take.py"}, content=script.encode()).status_code == 200
    assert greedy.post("/process/session", json={"sessionId": "s"}).status_code == 201
    exec_ = "/process/session/s/exec"
    command = greedy.post(exec_, json={"command": "python3 take.py | tee taken", "runAsync": True}).json()["cmdId"]
    taken = run(greedy, "until [ -s taken ]; do :; done; cat taken")["result"]
    assert 100 <= int(taken) <= 1100, taken
    one_more = "python3 -c 'import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)'"
    assert run(modest, one_more)["result"] == "True\n"
    assert greedy.post(f"/process/session/s/command/{command}/input", json={"data": "end"}).status_code == 204


QUEUES = """
import socket, sys, time
kind, held = sys.argv[1], 0
def counted():
    used = 0
    for name in ("memory.current", "memory/memory.kmem.tcp.usage_in_bytes"):
        try:
            with open("/sys/fs/cgroup/" + name) as file: used += int(file.read())
        except FileNotFoundError: pass
    return used
def waiting():
    fields = dict(line.split(": ") for line in open("/proc/net/sockstat").read().splitlines()[1:])
    words = fields[kind.upper()].split()
    return int(words[words.index("mem") + 1]) * 4096
before, others, kept = counted(), waiting(), []
for _ in range(60):
    if kind == "udp":
        to, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        to.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        to.bind(("127.0.0.1", 0))
        sender.connect(to.getsockname())
    else:
        to = socket.create_server(("127.0.0.1", 0))
        sender = socket.create_connection(to.getsockname())
    kept += [to, sender]
    sender.setblocking(False)
    try:
        for _ in range(400): sender.send(bytes(32000))
    except (BlockingIOError, OSError): pass
print((counted() - before) >> 20, (waiting() - others) >> 20)
"""


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_what_waits_in_sockets_is_counted(raw_sandbox, toolbox, kind):
    """On cgroup v1 in a limit of its own, on v2 as memory."""
    box = toolbox(raw_sandbox())
    assert box.post("/files/upload-v2", params={"path": "queues.py"}, content=QUEUES.encode()).status_code == 200
    counted, waiting = map(int, run(box, f"python3 queues.py {kind}")["result"].split())
    assert counted >= 8
    assert counted >= waiting * 3 // 4 - 8, f"{waiting} MiB wait, {counted} MiB are counted"
    assert counted <= 300, "a quarter of the memory, and a little"
    assert run(box, f"python3 queues.py {kind} >/dev/null; echo goes on")["result"] == "goes on\n"
