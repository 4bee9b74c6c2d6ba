"""Much of everything in one sandbox: what it leaves in the agent, and that much output is streamed, not kept."""

import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websocket

pytestmark = pytest.mark.timeout(200)

MIB = 1 << 20
GIB = 1 << 30
# As the agent documents them.
KEPT_OF_A_COMMAND = 8 * MIB
KEPT_OF_A_SESSION = 32 * MIB
KEPT_OF_AN_ANSWER = 16 * MIB
# Connections to an agent that the proxy keeps.
KEPT_CONNECTIONS = 16

# Without a further process: it counts itself out.
CENSUS = r"""
import os
zombies = others = 0
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        state = open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]
    except OSError:
        continue
    if state == 'Z':
        zombies += 1
    elif int(pid) not in (1, os.getpid()):
        others += 1
print('zombies', zombies, 'others', others)
"""


def run(box, command, timeout=100):
    response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert response.status_code == 200, response.text
    return response.json()


class Agent:
    """What the sandbox's pid 1 uses."""

    def __init__(self, box):
        self.box = box
        sandbox_id = str(box.base_url).rstrip("/").rsplit("/", 1)[1]
        record = Path(os.environ["SEBRING_DATA_DIR"]) / "sandboxes" / sandbox_id / "record.json"
        self.pid = json.loads(record.read_text())["phase"]["running"]["pid"]

    def connect(self):
        """Has the proxy open what it will ever need. A caller that is quicker than the return of its connection gets
        a further one, which is then kept: one more descriptor, at any time.
        """
        with ThreadPoolExecutor(KEPT_CONNECTIONS) as pool:
            list(pool.map(lambda _: run(self.box, "sleep 0.5"), range(KEPT_CONNECTIONS)))

    def kib(self, name):
        return int(run(self.box, f"grep ^{name}: /proc/1/status")["result"].split()[1])

    def descriptors(self):
        # From the host, for nobody inside may look.
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def processes(self):
        answer = self.box.post("/process/code-run", json={"code": CENSUS, "language": "python"}).json()
        return re.match(r"zombies (\d+) others (\d+)", answer["result"]).groups()


def follow(sandbox, api_key, session, command):
    """The bytes of a command's two outputs, as they come, without the marks between them."""
    url = f"{sandbox['toolboxProxyUrl']}/{sandbox['id']}/process/session/{session}/command/{command}/logs?follow=true"
    socket = websocket.create_connection(url.replace("http", "ws", 1), header=[f"Authorization: Bearer {api_key}"])
    while True:
        kind, message = socket.recv_data()
        if kind == websocket.ABNF.OPCODE_CLOSE:
            assert int.from_bytes(message[:2]) == websocket.STATUS_NORMAL
            return
        assert message[:3] in (b"\1\1\1", b"\2\2\2")
        yield message[3:]


def test_ten_thousand_commands_leave_nothing(raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    boxes = [toolbox(sandbox) for _ in range(4)]
    agent = Agent(boxes[0])
    agent.connect()

    def commands(box, count):
        for number in range(count):
            # Every tenth leaves a process to pid 1, which has to reap it.
            background = "(true &) >/dev/null 2>&1; " if number % 10 == 0 else ""
            answer = run(box, f"{background}echo {number}; exit {number % 7}")
            assert (answer["result"], answer["exitCode"]) == (f"{number}\n", number % 7)

    with ThreadPoolExecutor(len(boxes)) as pool:
        list(pool.map(lambda box: commands(box, 250), boxes))
        before = agent.kib("VmRSS"), agent.descriptors(), agent.processes()
        list(pool.map(lambda box: commands(box, 2250), boxes))
    after = agent.kib("VmRSS"), agent.descriptors(), agent.processes()
    assert after[1:] == before[1:]
    assert after[2][0] == "0"
    assert after[0] <= before[0] + 256, f"the agent grew from {before[0]} to {after[0]} KiB"


def test_commands_of_one_session_leave_little(raw_sandbox, toolbox):
    """A session remembers its commands until it is deleted, and gives everything back then."""
    box = toolbox(raw_sandbox())
    agent = Agent(box)
    agent.connect()

    def session(name, count):
        assert box.post("/process/session", json={"sessionId": name}).status_code == 201
        for number in range(count):
            answer = box.post(f"/process/session/{name}/exec", json={"command": f"echo {number}"}).json()
            assert (answer["stdout"], answer["exitCode"]) == (f"{number}\n", 0), answer
        assert box.delete(f"/process/session/{name}").status_code == 204

    session("warm-up", 1000)
    before = agent.kib("VmRSS"), agent.descriptors(), agent.processes()
    session("measured", 2000)
    after = agent.kib("VmRSS"), agent.descriptors(), agent.processes()
    assert after[1:] == before[1:]
    assert after[0] <= before[0] + 1024, f"the agent grew from {before[0]} to {after[0]} KiB"


GIGABYTE = "head -c 1073741824 /dev/zero | tr '\\0' z; echo; echo the end"


def test_a_gigabyte_is_followed_in_constant_memory(raw_sandbox, toolbox, api_key):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    agent = Agent(box)
    assert box.post("/process/session", json={"sessionId": "s"}).status_code == 201
    # A program that waits for a line begins when we listen.
    answer = box.post("/process/session/s/exec", json={"command": f"read line; {GIGABYTE}", "runAsync": True})
    command = answer.json()["cmdId"]
    typed = threading.Timer(0.5, lambda: box.post(f"/process/session/s/command/{command}/input", json={"data": "go"}))
    typed.start()
    size, tail = 0, b""
    for piece in follow(sandbox, api_key, "s", command):
        size += len(piece)
        tail = (tail + piece)[-100:]
    typed.join()
    assert size == GIB + len("go\n\nthe end\n"), "the program waits for its reader: nothing is lost"
    assert tail.endswith(b"zzz\nthe end\n")
    assert agent.kib("VmHWM") < 24 * 1024, "KiB: the kept output, and little beside"
    # What is kept is bounded, and says what is not there.
    logs = box.get(f"/process/session/s/command/{command}/logs").json()
    told = re.match(r"\[(\d+) earlier bytes of output are not kept\]\n", logs["output"])
    assert logs["stdout"].startswith(told.group(0)), "in each stream"
    kept = logs["stdout"].removeprefix(told.group(0))
    assert len(kept) <= KEPT_OF_A_COMMAND
    assert int(told.group(1)) + len(kept) == GIB + len("go\n") + len("\nthe end\n")
    assert kept.endswith("zzz\nthe end\n")


def test_the_logs_of_a_session_are_bounded_together(raw_sandbox, toolbox):
    """The newest commands keep their output; what the others wrote is gone, and they say so."""
    box = toolbox(raw_sandbox())
    assert box.post("/process/session", json={"sessionId": "s"}).status_code == 201
    size = 6_000_000
    for _ in range(20):
        body = {"command": f"head -c {size} /dev/zero | tr '\\0' z"}
        assert len(box.post("/process/session/s/exec", json=body).json()["stdout"]) == size
    commands = [command["id"] for command in box.get("/process/session/s").json()["commands"]]
    assert len(commands) == 20
    first, last = (box.get(f"/process/session/s/command/{id}/logs").json() for id in (commands[0], commands[-1]))
    assert first["output"] == f"[{size} earlier bytes of output are not kept]\n"
    assert len(last["output"]) == size
    assert Agent(box).kib("RssAnon") < KEPT_OF_A_SESSION + 24 * MIB >> 10


def test_a_gigabyte_of_one_answer_is_bounded_and_says_so(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    answer = run(box, GIGABYTE)
    assert answer["exitCode"] == 0
    assert len(answer["result"]) < KEPT_OF_AN_ANSWER + 200
    told = re.search(r"\n\[output truncated: (\d+) more bytes; [^\n]*\]\n$", answer["result"])
    assert int(told.group(1)) + KEPT_OF_AN_ANSWER == GIB + len("\nthe end\n")
    agent = Agent(box)
    assert agent.kib("VmHWM") < 4 * KEPT_OF_AN_ANSWER >> 10
    assert run(box, "echo usable")["result"] == "usable\n"
    assert agent.kib("RssAnon") < 24 * 1024


def test_ten_sparse_gib(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox(disk=10))
    size = 10 * GIB
    answer = run(box, f"truncate -s {size - 4} sparse && printf tail >> sparse && du -k sparse")
    assert answer["exitCode"] == 0, answer
    assert int(answer["result"].split()[0]) < 1024, "KiB on the disk"
    assert box.get("/files/info?path=sparse").json()["size"] == size
    response = box.get("/files/download?path=sparse", headers={"Range": "bytes=-10"})
    assert (response.status_code, response.content) == (206, b"\0\0\0\0\0\0tail")
    assert response.headers["content-range"] == f"bytes {size - 10}-{size - 1}/{size}"
    response = box.get("/files/download?path=sparse", headers={"Range": f"bytes={5 * GIB}-{5 * GIB + 3}"})
    assert (response.status_code, response.content) == (206, bytes(4))
    assert box.post("/files/move?source=sparse&destination=moved").status_code == 200
    assert box.get("/files/info?path=moved").json()["size"] == size
    assert box.delete("/files?path=moved").status_code == 204
