"""Kills the server at arbitrary moments of everything it does, and looks at what the next one makes of it."""

import os
import random
import threading
import time

import httpx
import pytest
from inventory import left_over

ROUNDS = int(os.environ.get("SEBRING_TEST_CRASHES", "12"))
# States that a server which has come back may show; all others would be of tasks that nobody does any more.
AT_REST = {"started", "stopped", "error"}


def churn(server, stop, made, forgotten):
    """One client that creates, stops, starts and deletes until the server is gone."""
    with httpx.Client(base_url=server.client.base_url, headers=server.client.headers, trust_env=False) as client:
        mine = []
        while not stop.is_set():
            try:
                action = random.choice(["create", "create", "stop", "start", "delete"])
                if action == "create" or not mine:
                    answer = client.post("/api/sandbox", json={})
                    if answer.status_code == 200:
                        mine.append(answer.json()["id"])
                        made.add(mine[-1])
                elif action == "delete":
                    sandbox = mine.pop(random.randrange(len(mine)))
                    forgotten.add(sandbox)
                    client.delete(f"/api/sandbox/{sandbox}")
                else:
                    client.post(f"/api/sandbox/{random.choice(mine)}/{action}")
            except httpx.HTTPError:
                return


@pytest.mark.timeout(300)
def test_killed_at_any_moment(before, server):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    random.seed(seed)
    made, forgotten = set(), set()
    for _ in range(ROUNDS):
        stop = threading.Event()
        clients = [threading.Thread(target=churn, args=(server, stop, made, forgotten)) for _ in range(3)]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.02, 0.4))
        server.kill()
        stop.set()
        for client in clients:
            client.join()
        server.start()
        settle(server, made, forgotten)
    assert server.run(server.create(), "echo works") == "works\n"
    for sandbox in listed(server):
        assert server.client.delete(f"/api/sandbox/{sandbox}").status_code in (200, 404)
    server.purge()
    assert left_over(before) == []


def listed(server):
    sandboxes, cursor = {}, ""
    while cursor is not None:
        page = server.client.get("/api/sandbox", params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        sandboxes.update({item["id"]: item["state"] for item in page["items"]})
        cursor = page["nextCursor"]
    return sandboxes


def settle(server, made, forgotten):
    """What a client was told exists is there and works; what it deleted goes; nothing is stuck on its way."""
    end = time.monotonic() + 20
    while True:
        found = listed(server)
        moving = {sandbox: state for sandbox, state in found.items() if state not in AT_REST}
        if not moving:
            break
        assert time.monotonic() < end, f"still on their way: {moving}"
        time.sleep(0.05)
    lost = made - forgotten - found.keys()
    assert not lost, f"created, never deleted, and gone: {lost}"
    for sandbox, state in found.items():
        assert state != "error", server.client.get(f"/api/sandbox/{sandbox}").json()
        if state == "started":
            assert server.run(sandbox, "echo works") == "works\n"
