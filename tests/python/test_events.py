"""State changes reach the SDK by Socket.IO: no wait costs the second of its polling."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from daytona import Daytona, SandboxState

# The safety net of SDKs with events polls once per second: less than this is not the net.
FAST = 0.9


def fastest(action, turns=3):
    """The shortest of a few runs, seconds: the machine may be busy, a poll would cost its second each time."""
    spent = []
    for _ in range(turns):
        began = time.monotonic()
        action()
        spent.append(time.monotonic() - began)
    return min(spent)


def test_no_wait_costs_a_second(daytona):
    def once():
        sandbox = daytona.create()
        try:
            sandbox.stop()
            sandbox.start()
        finally:
            sandbox.delete()

    assert fastest(once) < FAST


def test_graceful_stop_of_a_busy_sandbox_is_fast(make_sandbox):
    sandbox = make_sandbox()

    def once():
        sandbox.process.exec("sleep 1000 >/dev/null 2>&1 &")
        sandbox.stop()
        sandbox.start()

    assert fastest(once) < FAST


def wait_for_what_another_does(daytona, sandbox):
    """Stops a sandbox behind the back of a handle that waits for it.

    Answers how long the handle waited, seconds, and whether one of its own polls saw the end.
    """
    polls, asked = [], threading.Event()

    def counted():
        type(sandbox).refresh_data(sandbox)
        polls.append(sandbox.state)
        asked.set()

    object.__setattr__(sandbox, "refresh_data", counted)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(sandbox.wait_for_sandbox_stop, timeout=20)
            assert asked.wait(10), "every wait begins with a poll"
            began = time.monotonic()
            daytona._sandbox_api.stop_sandbox(sandbox.id)
            waiting.result()
            return time.monotonic() - began, SandboxState.STOPPED in polls
    finally:
        object.__delattr__(sandbox, "refresh_data")


@pytest.mark.since("0.226")
def test_the_socket_tells_a_waiter(daytona, make_sandbox):
    """The event ends the wait, not the next poll; once in three is enough on a busy machine."""
    sandbox = make_sandbox()
    waits = []
    for _ in range(3):
        spent, polled = wait_for_what_another_does(daytona, sandbox)
        assert sandbox.state == SandboxState.STOPPED
        waits.append(spent)
        if spent < FAST and not polled:
            return
        sandbox.start()
    pytest.fail(f"no wait was ended by an event: {waits} s")


@pytest.mark.since("0.226")
class TestWire:
    """The protocol itself, by the client library that the SDK uses."""

    @pytest.fixture
    def listen(self, api_url):
        """`listen(token)` connects and collects `(name, data)`."""
        import socketio

        clients = []

        def connect(token):
            client = socketio.Client(reconnection=False)
            clients.append(client)
            events, arrived = [], threading.Condition()

            def collect(name, data):
                with arrived:
                    events.append((name, data))
                    arrived.notify_all()

            client.on("*", collect)
            host, path = api_url.rsplit("/", 1)
            client.connect(host, socketio_path=f"{path}/socket.io", transports=["websocket"], auth={"token": token})

            def until(condition, seconds=10):
                with arrived:
                    assert arrived.wait_for(lambda: condition(events), seconds), events
                    return list(events)

            return until

        yield connect
        for client in clients:
            client.disconnect()

    def test_the_whole_life(self, listen, api, api_key):
        until = listen(api_key)
        made = api.post("/sandbox", json={"labels": {"a": "b"}, "env": {"SECRET": "value"}}).json()

        def mine(events):
            return [
                (name, data.get("oldState"), data.get("newState"))
                for name, data in events
                if (data.get("sandbox") or data).get("id") == made["id"]
            ]

        api.post(f"/sandbox/{made['id']}/stop")
        until(lambda events: any(new == "stopped" for _, _, new in mine(events)))
        api.delete(f"/sandbox/{made['id']}")
        events = until(lambda events: any(new == "destroyed" for _, _, new in mine(events)))
        story = mine(events)
        assert ("sandbox.created", None, None) in story
        changes = [change for change in story if change[0] == "sandbox.state.updated"]
        for (_, _, reached), (_, left, _) in pairwise(changes):
            assert left == reached, f"each change begins where the last one ended: {changes}"
        whole = [
            data.get("sandbox") or data for _, data in events if (data.get("sandbox") or data).get("id") == made["id"]
        ]
        for sandbox in whole:
            for field in (
                "id",
                "organizationId",
                "name",
                "user",
                "env",
                "labels",
                "public",
                "target",
                "cpu",
                "toolboxProxyUrl",
            ):
                assert field in sandbox, f"a client drops an event without {field}"

    def test_the_new_state_is_readable(self, listen, api, api_key):
        until = listen(api_key)
        made = api.post("/sandbox", json={}).json()
        try:
            api.post(f"/sandbox/{made['id']}/stop")
            until(
                lambda events: any(
                    d.get("newState") == "stopped" and d["sandbox"]["id"] == made["id"] for _, d in events
                )
            )
            assert api.get(f"/sandbox/{made['id']}").json()["state"] == "stopped"
        finally:
            api.delete(f"/sandbox/{made['id']}")

    @pytest.mark.parametrize("token", ["wrong", "", None, 7])
    def test_wrong_token_is_refused(self, listen, token):
        import socketio

        with pytest.raises(socketio.exceptions.ConnectionError):
            listen(token)


@pytest.mark.since("0.226")
@pytest.mark.filterwarnings("ignore:Polling-only mode")
def test_polling_clients_work_too(monkeypatch, gone):
    """SDKs without events, or with them switched off, ask every 100 ms."""
    monkeypatch.setenv("DAYTONA_USE_DEPRECATED_POLLING", "true")
    client = Daytona()
    sandbox = client.create()
    sandbox.stop()
    sandbox.start()
    sandbox.delete()
    gone(sandbox)
