"""What an answer says of a sandbox that has ended, of operations that don't exist, and of names."""

import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest
from errors import check_api_error, check_toolbox_error

STARTS = ("sandbox is not running", "is the sandbox started", "failed to resolve container IP")


@pytest.fixture
def in_flight(toolbox):
    """A command that runs until its sandbox ends, and how its caller fares."""

    def begin(sandbox):
        answers = []

        def call():
            box = toolbox(sandbox)
            answers.append(box.post("/process/execute", json={"command": "touch begun; sleep 100"}))

        thread = threading.Thread(target=call)
        thread.start()
        box = toolbox(sandbox)
        deadline = time.monotonic() + 10
        while box.get("/files/info", params={"path": "begun"}).status_code != 200:
            assert time.monotonic() < deadline

        def end():
            thread.join(30)
            (answer,) = answers
            return answer

        return end

    return begin


def test_calls_in_flight_when_it_stops(api, raw_sandbox, in_flight):
    made = raw_sandbox()
    answer = in_flight(made)
    assert api.post(f"/sandbox/{made['id']}/stop", params={"force": "true"}).status_code == 200
    check_toolbox_error(answer(), 409)


def test_calls_in_flight_when_it_is_deleted(api, raw_sandbox, in_flight):
    made = raw_sandbox()
    answer = in_flight(made)
    assert api.delete(f"/sandbox/{made['id']}").status_code == 200
    check_toolbox_error(answer(), 404)


def test_a_stopped_sandbox_says_so_in_words_that_clients_look_for(api, raw_sandbox, toolbox):
    made = raw_sandbox()
    api.post(f"/sandbox/{made['id']}/stop", params={"force": "true"})
    answer = toolbox(made).post("/process/execute", json={"command": "true"})
    check_toolbox_error(answer, 409)
    assert any(words in answer.json()["message"] for words in STARTS)


@pytest.mark.parametrize(
    "operation,feature",
    [
        ("POST /sandbox/{id}/fork", "fork"),
        ("POST /sandbox/{id}/snapshot", "snapshot"),
        ("POST /sandbox/{id}/ssh-access", "SSH"),
        ("GET /volumes", "volumes"),
        ("POST /snapshots", "snapshots"),
        ("GET /secret", "secrets"),
    ],
)
def test_what_does_not_exist_yet_says_so(api, shared, operation, feature):
    method, path = operation.format(id=shared["id"]).split(" ")
    answer = api.request(method, path)
    check_api_error(answer, 501, feature)


def test_names_that_look_like_ids_are_refused(api, shared):
    for name in (shared["id"], shared["id"].upper(), shared["id"].replace("-", "")):
        check_api_error(api.post("/sandbox", json={"name": name}), 400, "looks like the id")


@pytest.mark.parametrize("size", [10, 200_000, 2_000_000])
def test_a_refusal_before_the_body_was_read_does_not_break_the_next_call(api, api_url, api_key, raw_sandbox, size):
    made = raw_sandbox()
    api.post(f"/sandbox/{made['id']}/stop", params={"force": "true"})
    headers = {"Authorization": f"Bearer {api_key}"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as kept:
        for _ in range(30):
            stopped = kept.post(f"{made['toolboxProxyUrl']}/{made['id']}/process/execute", content=b"x" * size)
            assert stopped.status_code == 409
            assert kept.post(f"{api_url}/missing", content=b"x" * size).status_code == 404
            assert kept.get(f"{api_url}/health").status_code == 200


def test_a_refusal_ends_a_connection_in_words(api_url):
    """The body that was promised never comes: the answer does, and says whether the connection goes on."""
    at = urlsplit(api_url)
    with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
        connection.sendall(
            f"POST /api/missing HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Length: 100000000\r\n\r\n".encode() + b"x" * 1000
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = connection.recv(65536)
            assert received, answer
            answer += received
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"connection: close" in answer.lower()
