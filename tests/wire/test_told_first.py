"""Whoever listens to events hears of the end of a sandbox before whoever asked for it."""

import json

import pytest
import websocket

DELETIONS = 50


@pytest.fixture
def listener(api_url, api_key):
    """A Socket.IO client that reads when it is asked to, so that it can tell what has come by then."""
    socket = websocket.create_connection(
        f"{api_url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket", timeout=10
    )
    assert socket.recv().startswith("0{")
    socket.send("40" + json.dumps({"token": api_key}))
    while not (packet := socket.recv()).startswith("40"):
        assert packet == "2", packet
        socket.send("3")
    yield socket
    socket.close()


def what_has_come(listener):
    """New states by sandbox, in order, without waiting."""
    listener.settimeout(0.001)
    states = {}
    try:
        while True:
            packet = listener.recv()
            if packet == "2":
                listener.send("3")
                continue
            name, data = json.loads(packet.removeprefix("42"))
            if name == "sandbox.state.updated":
                states.setdefault(data["sandbox"]["id"], []).append(data["newState"])
    except (websocket.WebSocketTimeoutException, BlockingIOError):
        return states


def test_both_states_are_there_before_the_answer(api, listener):
    late = []
    for _ in range(DELETIONS):
        made = api.post("/sandbox", json={}).json()
        what_has_come(listener)
        answer = api.delete(f"/sandbox/{made['id']}")
        told = what_has_come(listener).get(made["id"])
        assert answer.status_code == 200
        # An answer that tells of the end also says so itself.
        if (answer.json()["state"], told) != ("destroyed", ["destroying", "destroyed"]):
            late.append((answer.json()["state"], told))
    assert late == []
