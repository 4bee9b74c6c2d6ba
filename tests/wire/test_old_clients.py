"""What SDKs of former years send, and read otherwise than those of today."""

import pytest


@pytest.mark.parametrize("version", ["0.113.1", "0.161.0"])
def test_logs_come_framed(shared, toolbox, version):
    box = toolbox(shared)
    headers = {"X-Daytona-SDK-Version": version, "Accept": "text/plain"}
    session = f"old-{version}"
    assert box.post("/process/session", json={"sessionId": session}).status_code == 201
    command = {"command": "echo out; sleep 0.1; echo err >&2"}
    framed = "\x01\x01\x01out\n\x02\x02\x02err\n"
    answer = box.post(f"/process/session/{session}/exec", json=command, headers=headers).json()
    assert answer["output"] == framed
    logs = f"/process/session/{session}/command/{answer['cmdId']}/logs"
    assert box.get(logs, headers=headers).content == framed.encode()
    assert box.get(logs).json() == {"output": "out\nerr\n", "stdout": "out\n", "stderr": "err\n"}


def test_the_oldest_follow_one_text(shared, toolbox):
    box = toolbox(shared)
    headers = {"X-Daytona-SDK-Version": "0.21.5", "Accept": "text/plain"}
    assert box.post("/process/session", json={"sessionId": "oldest"}).status_code == 201
    command = {"command": "echo out; sleep 0.2; echo err >&2", "runAsync": True}
    started = box.post("/process/session/oldest/exec", json=command, headers=headers).json()
    logs = f"/process/session/oldest/command/{started['cmdId']}/logs"
    assert box.get(logs, params={"follow": "true"}, headers=headers).text == "out\nerr\n"
    assert box.get(logs, headers=headers).text == "out\nerr\n"


def test_the_oldest_ask_for_the_project(shared, toolbox):
    box = toolbox(shared)
    assert box.get("/project-dir").json() == box.get("/work-dir").json()
