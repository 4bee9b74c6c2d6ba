"""What SDKs of former years send, and read otherwise than those of today."""

import json
import time
from urllib.parse import quote

import httpx
import pytest
import websocket


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


@pytest.fixture
def former(api_url, api_key):
    """The routes of a sandbox where SDKs up to 0.112 look for them."""
    clients = []

    def client(sandbox):
        opened = httpx.Client(
            base_url=f"{api_url}/toolbox/{sandbox['id']}/toolbox",
            headers={"Authorization": f"Bearer {api_key}", "X-Daytona-SDK-Version": "0.103.0"},
            timeout=60,
            trust_env=False,
        )
        clients.append(opened)
        return opened

    yield client
    for opened in clients:
        opened.close()


def test_routes_below_the_api(shared, former):
    box = former(shared)
    assert box.get("/work-dir").json() == box.get("/user-home-dir").json()
    assert box.post("/process/execute", json={"command": "echo hi"}).json()["result"] == "hi\n"
    assert box.post("/files/folder", params={"path": "former", "mode": "755"}).status_code == 201
    assert box.post("/files/upload", params={"path": "former/a"}, files={"file": b"text"}).status_code == 200
    assert box.request("HEAD", "/files/download", params={"path": "former/a"}).headers["content-length"] == "4"
    assert box.get("/files/download", params={"path": "former/a"}).content == b"text"
    assert [entry["name"] for entry in box.get("/files", params={"path": "former"}).json()] == ["a"]
    assert box.delete("/files", params={"path": "former", "recursive": "true"}).status_code == 204
    for method in ("PUT", "PATCH"):
        assert box.request(method, "/work-dir").status_code == 404
    # The daemon's route of today, and that of the API in front of it.
    for route in ("workspacesymbols", "workspace-symbols"):
        answer = box.get(f"/lsp/{route}", params={"languageId": "python", "pathToProject": "/tmp", "query": "a"})
        assert "no such route" not in answer.text


def test_web_sockets_below_the_api(shared, api_url, api_key):
    url = f"{api_url.replace('http', 'ws', 1)}/toolbox/{shared['id']}/toolbox/process/interpreter/execute"
    socket = websocket.create_connection(url, header=[f"Authorization: Bearer {api_key}"], timeout=30)
    try:
        socket.send(json.dumps({"code": "print(6 * 7)"}))
        frames = []
        while not frames or frames[-1]["type"] == "stdout":
            frames.append(json.loads(socket.recv()))
        # In how many parts output comes is not said.
        assert "".join(frame["text"] for frame in frames[:-1]) == "42\n"
        assert frames[-1] == {"type": "control", "text": "completed"}
    finally:
        socket.close()


def test_no_other_path_below_the_api_is_the_toolbox(shared, api, anonymous):
    for tail in ("", "/", "/files", "/toolboxes/files", "/toolbox/.sbx/prepare"):
        assert api.get(f"/toolbox/{shared['id']}{tail}").status_code == 404, tail
    assert anonymous.get(f"/toolbox/{shared['id']}/toolbox/work-dir").status_code == 401


@pytest.mark.parametrize("version", ["0.21.4", "0.103.0", "0.110.0"])
def test_deleted_sandboxes_are_read_again(api, raw_sandbox, unique, version):
    """`delete()` of these versions ends with a look at the sandbox, and fails when that does."""
    former = {"X-Daytona-SDK-Version": version}
    made = raw_sandbox(name=unique)
    path = f"/sandbox/{made['id']}"
    assert api.delete(path, params={"force": "true"}, headers=former).status_code == 200
    until_destroyed(lambda: api.get(path, headers=former))
    for gone in (
        api.get(f"/sandbox/{unique}", headers=former),
        api.delete(path, headers=former),
        api.post(f"{path}/start", headers=former),
        api.get(path),
        api.get(path, headers={"X-Daytona-SDK-Version": "0.111.0"}),
    ):
        assert gone.status_code == 404, gone.text
    assert api.get("/sandbox", params={"id": made["id"]}, headers=former).json() == []
    assert raw_sandbox(name=unique)["id"] != made["id"]


def until_destroyed(look):
    """The state passes from one to the other in a few milliseconds; each look is a request."""
    deadline = time.monotonic() + 10
    while (seen := look().json())["state"] == "destroying":
        assert time.monotonic() < deadline
    assert (seen["state"], seen["desiredState"]) == ("destroyed", "destroyed")


@pytest.mark.parametrize(("size", "memory"), [("small", 1), ("medium", 4)])
def test_sizes_have_names(api, raw_sandbox, size, memory):
    known = api.get(f"/snapshots/daytona-{size}").json()
    assert (known["name"], known["mem"]) == (f"daytona-{size}", memory)
    assert raw_sandbox(snapshot=f"daytona-{size}")["memory"] == memory
    assert raw_sandbox(**{"class": size})["memory"] == memory


@pytest.mark.parametrize("escaped", [False, True])
def test_names_of_snapshots_may_have_a_slash(api, escaped):
    snapshot = api.get("/snapshots").json()["items"][0]
    name = quote(snapshot["name"], safe="" if escaped else "/")
    for path in (f"/snapshots/{name}", f"/snapshots/{snapshot['id']}"):
        assert api.get(path).json()["id"] == snapshot["id"]


def test_no_labels_are_no_filter(api, shared):
    for labels in ("null", "", "{}"):
        found = api.get("/sandbox", params={"labels": labels, "id": shared["id"]}).json()["items"]
        assert [item["id"] for item in found] == [shared["id"]], labels


def test_previews_have_a_template_with_the_port(anonymous):
    assert "{{PORT}}" in anonymous.get("/config").json()["proxyTemplateUrl"]


@pytest.mark.parametrize("version", ["0.21.4", "0.25.6", "0.176.0"])
def test_lists_come_whole(api, raw_sandbox, unique, version):
    made = [raw_sandbox(labels={"old": unique}) for _ in range(3)]
    asked = {"labels": json.dumps({"old": unique}), "limit": 2}
    listed = api.get("/sandbox", params=asked, headers={"X-Daytona-SDK-Version": version}).json()
    assert sorted(sandbox["id"] for sandbox in listed) == sorted(sandbox["id"] for sandbox in made)
    assert all("env" in sandbox for sandbox in listed)
    assert len(api.get("/sandbox", params=asked, headers={"X-Daytona-SDK-Version": "0.190.0"}).json()["items"]) == 2
