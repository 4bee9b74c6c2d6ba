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
