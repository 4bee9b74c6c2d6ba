"""A sandbox that runs out of memory: what is killed, what goes on, who is told."""

import json
import queue
import threading
from contextlib import closing, contextmanager, suppress

import websocket

GIB = 1 << 30
HOG = "python3 -c 'x = bytearray(3 << 30)'"
NOTE = "Killed: the sandbox ran out of memory (1024 MiB)"


def run(box, command, timeout=100):
    response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_command_says_why_it_was_killed(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    answer = run(box, f"echo before; {HOG}")
    assert answer == {"exitCode": 137, "result": f"before\n{NOTE}\n"}
    assert run(box, "sh -c 'kill -9 $$'") == {"exitCode": 137, "result": ""}, "killed, but not for memory"
    code = box.post("/process/code-run", json={"code": "x = bytearray(3 << 30)", "language": "python"}).json()
    assert (code["exitCode"], code["result"]) == (137, f"{NOTE}\n")


def test_a_session_goes_on(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    assert box.post("/process/session", json={"sessionId": "s"}).status_code == 201
    answer = box.post("/process/session/s/exec", json={"command": f"here=kept; {HOG}"}).json()
    assert answer["exitCode"] == 137
    assert NOTE in answer["stderr"]
    assert box.post("/process/session/s/exec", json={"command": "echo $here"}).json()["stdout"] == "kept\n"


def test_the_workload_is_killed_before_the_agent(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    # It is set when the program runs already.
    wait = "until grep -qx 500 /proc/$$/oom_score_adj; do :; done; "
    scores = run(box, f"{wait} cat /proc/self/oom_score_adj; sudo cat /proc/self/oom_score_adj /proc/1/oom_score_adj")
    assert scores["result"].split() == ["500", "500", "0"]


def test_memory_that_no_process_holds(api, raw_sandbox, toolbox):
    """Segments and files in memory stay when those who filled them are killed. The agent answers, the file can be deleted,
    and the sandbox can be stopped and started."""
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    fill = (
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\n"
        "while True:\n  part = libc.shmget(0, 64 << 20, 0o1666)\n  ctypes.memset(libc.shmat(part, None, 0), 1, 64 << 20)\n"
    )
    held = run(box, "head -c 400M /dev/zero > /dev/shm/held; stat -c %s /dev/shm/held")
    assert held["result"] == f"{400 << 20}\n"
    for _ in range(3):
        answer = box.post("/process/code-run", json={"code": fill, "language": "python"}).json()
        assert answer["exitCode"] in (137, -1), answer
        assert "memory" in answer["result"]
    assert box.get("/version").status_code == 200
    assert box.delete("/files", params={"path": "/dev/shm/held"}).status_code == 204
    assert run(box, "echo usable")["result"] == "usable\n"
    assert api.post(f"/sandbox/{sandbox['id']}/stop").json()["state"] in ("stopping", "stopped")
    assert api.post(f"/sandbox/{sandbox['id']}/start").json()["state"] == "started"
    assert run(box, "python3 -c 'print(len(bytearray(500 << 20)))'")["exitCode"] == 0, "and all of it is free again"


@contextmanager
def listening(api_url, api_key):
    """`next_event()` waits for the next of the organization's. Pings are answered meanwhile, however long a test takes."""
    address = api_url.replace("http", "ws", 1) + "/socket.io/?transport=websocket&EIO=4"
    with closing(websocket.create_connection(address, timeout=60, http_no_proxy=["*"])) as connection:
        connection.recv()
        connection.send("40" + json.dumps({"token": api_key}))
        while not connection.recv().startswith("40"):
            pass
        events = queue.Queue()

        def listen():
            # The test closes the connection when it has heard enough.
            with suppress(websocket.WebSocketException, OSError):
                while message := connection.recv():
                    if message == "2":
                        connection.send("3")
                    else:
                        events.put(message)

        threading.Thread(target=listen, daemon=True).start()
        yield lambda: events.get(timeout=60)


def test_an_event_tells_of_it(api_url, api_key, raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    with listening(api_url, api_key) as next_event:
        assert run(toolbox(sandbox), HOG)["exitCode"] == 137
        while not (message := next_event()).startswith('42["sandbox.out-of-memory"'):
            pass
    told = json.loads(message[2:])[1]["sandbox"]
    assert (told["id"], told["state"], told["memory"]) == (sandbox["id"], "started", 1)


def test_a_sandbox_whose_agent_is_killed_says_so(api, api_url, api_key, raw_sandbox, toolbox):
    """Root inside can fill the memory with files until nothing but the agent is left to kill. The state and its reason tell
    it, and so does the event; the files on the disk are kept."""
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    run(box, "echo kept > ~/kept; sync; mkdir /tmp/memory; sudo mount -t tmpfs -o size=8g none /tmp/memory")
    command = {"command": "sudo sh -c 'exec head -c 3G /dev/zero > /tmp/memory/$$'", "timeout": 60}
    with listening(api_url, api_key) as next_event:
        # What is killed meanwhile may be any of the command's processes; near the end the agent lacks memory itself.
        for _ in range(200):
            answer = box.post("/process/execute", json=command)
            assert answer.status_code != 200 or answer.json()["exitCode"] != 0, answer.text
            if api.get(f"/sandbox/{sandbox['id']}").json()["state"] != "started":
                break
        while True:
            message = next_event()
            if message.startswith('42["sandbox.state.updated"'):
                told = json.loads(message[2:])[1]
                if (told["sandbox"]["id"], told["newState"]) == (sandbox["id"], "error"):
                    break
    assert told["oldState"] == "started"
    assert told["sandbox"]["errorReason"].startswith("the sandbox ran out of memory (1 GiB)")
    found = api.get(f"/sandbox/{sandbox['id']}").json()
    assert (found["state"], found["errorReason"]) == ("error", told["sandbox"]["errorReason"])
    assert api.post(f"/sandbox/{sandbox['id']}/stop").json()["state"] in ("stopping", "stopped")
    started = api.post(f"/sandbox/{sandbox['id']}/start").json()
    assert (started["state"], started.get("errorReason")) == ("started", None)
    assert run(box, "cat ~/kept; python3 -c 'print(len(bytearray(500 << 20)))'")["result"] == f"kept\n{500 << 20}\n"


def test_use_is_shown_inside_as_it_is(raw_sandbox, toolbox):
    """Live values under the names of cgroup v2, also where the kernel has v1."""
    box = toolbox(raw_sandbox())
    shown = "cd /sys/fs/cgroup && cat memory.current pids.current pids.max"
    before = [int(word) for word in run(box, shown)["result"].split()]
    assert before[0] < 100 << 20 and 1 < before[1] < 20 and before[2] == 2048
    grown = run(box, f"head -c 200M /dev/zero > /dev/shm/held; sleep 60 & {shown}; kill $!")["result"].split()
    assert int(grown[0]) > before[0] + (199 << 20)
    run(box, HOG)
    assert run(box, "grep -w oom_kill /sys/fs/cgroup/memory.events")["result"] == "oom_kill 1\n"


def test_less_than_what_is_used_is_refused(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox(memory=2)
    box = toolbox(sandbox)
    code = "x = bytearray(1200 << 20); print(1, flush=True); input(); print(len(x))"
    assert box.post("/process/session", json={"sessionId": "s"}).status_code == 201
    exec_ = "/process/session/s/exec"
    holder = box.post(exec_, json={"command": f"python3 -c '{code}' | tee out", "runAsync": True}).json()["cmdId"]
    assert run(box, "until [ -s out ]; do sleep 0.05; done; cat out")["result"] == "1\n"
    refused = api.post(f"/sandbox/{sandbox['id']}/resize", json={"memory": 1})
    assert refused.status_code == 400, refused.text
    assert "more memory" in refused.json()["message"]
    assert api.get(f"/sandbox/{sandbox['id']}").json()["memory"] == 2
    assert run(box, "cat /sys/fs/cgroup/memory.max")["result"] == f"{2 * GIB}\n"
    assert box.post(f"/process/session/s/command/{holder}/input", json={"data": "go"}).status_code == 204
    assert run(box, "while pgrep -x python3; do sleep 0.05; done; cat out")["result"].endswith("\n1258291200\n"), "alive"
    assert api.post(f"/sandbox/{sandbox['id']}/resize", json={"memory": 1}).status_code == 200
