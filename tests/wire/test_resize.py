"""Changes of size: CPU and memory while a sandbox runs, the disk while it is stopped."""

import pytest
from errors import check_api_error

GIB = 1 << 30


def shown(box, command):
    answer = box.post("/process/execute", json={"command": command, "timeout": 60}).json()
    assert answer["exitCode"] == 0, answer
    return answer["result"].strip()


def disk_gib(box):
    return round(int(shown(box, "df --output=size -B1 / | tail -n 1")) / GIB)


def test_memory_and_cpu_of_a_running_sandbox(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    answer = api.post(f"/sandbox/{sandbox['id']}/resize", json={"cpu": 2, "memory": 2})
    assert answer.status_code == 200, answer.text
    resized = answer.json()
    assert (resized["cpu"], resized["memory"], resized["disk"], resized["state"]) == (2, 2, 3, "started")
    # The limits are those that were asked for, and they hold.
    assert shown(box, "cat /sys/fs/cgroup/memory.max") == str(2 * GIB)
    assert shown(box, "cat /sys/fs/cgroup/cpu.max") == "200000 100000"
    assert shown(box, "python3 -c 'x = bytearray(3 << 29); print(len(x) >> 20)'") == "1536"
    # Smaller again: what is not used can be taken away.
    smaller = api.post(f"/sandbox/{sandbox['id']}/resize", json={"cpu": 1, "memory": 1}).json()
    assert (smaller["cpu"], smaller["memory"]) == (1, 1)
    assert shown(box, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max") == f"{GIB}\n100000 100000"
    killed = box.post("/process/execute", json={"command": "python3 -c 'x = bytearray(3 << 29)'"}).json()
    assert killed["exitCode"] == 137


def test_the_disk_of_a_stopped_sandbox(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    shown(box, "echo kept > file")
    check_api_error(api.post(f"/sandbox/{sandbox['id']}/resize", json={"disk": 5}), 400, "stop it first")
    assert api.post(f"/sandbox/{sandbox['id']}/stop", params={"force": True}).json()["state"] in ("stopping", "stopped")
    answer = api.post(f"/sandbox/{sandbox['id']}/resize", json={"disk": 5, "memory": 2})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["disk"], answer.json()["memory"], answer.json()["state"]) == (5, 2, "stopped")
    assert api.post(f"/sandbox/{sandbox['id']}/start").json()["state"] == "started"
    assert disk_gib(box) == 5
    assert shown(box, "cat file") == "kept"
    assert shown(box, "cat /sys/fs/cgroup/memory.max") == str(2 * GIB)
    shown(box, "fallocate -l 4G large")
    # It never shrinks.
    api.post(f"/sandbox/{sandbox['id']}/stop", params={"force": True})
    check_api_error(api.post(f"/sandbox/{sandbox['id']}/resize", json={"disk": 3}), 400, "only grow")


@pytest.mark.parametrize("body", [{}, {"cpu": 0}, {"memory": -1}, {"disk": 10**9}, {"cpu": "two"}])
def test_bad_sizes(api, raw_sandbox, body):
    sandbox = raw_sandbox()
    check_api_error(api.post(f"/sandbox/{sandbox['id']}/resize", json=body), 400)
