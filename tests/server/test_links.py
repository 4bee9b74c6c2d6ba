"""Links hold over the lives of a server, and no child is left without its parent."""

import os
import signal

from test_survival import init_of, wait_for

SERVE = "nohup python3 -m http.server 8000 >/dev/null 2>&1 & until curl -s localhost:8000 >/dev/null; do :; done"


def reaches(server, sandbox, host):
    answer = server.run(sandbox, f"curl -s -o /dev/null -m 5 http://{host}:8000/ && echo yes || echo no").strip()
    return answer == "yes"


def link(server, parent, **body):
    return server.create(linkedSandbox=parent, autoDeleteInterval=0, **body)


def test_links_outlive_the_server(server):
    parent, stranger = server.create(name="parent"), server.create()
    children = [link(server, "parent", name=f"child-{number}") for number in range(2)]
    for sandbox in (parent, stranger, *children):
        server.run(sandbox, SERVE)
    for end in ("kill", "terminate"):
        assert reaches(server, children[0], "parent") and reaches(server, parent, "child-1")
        getattr(server, end)()
        server.start()
        assert server.client.get(f"/api/sandbox/{children[0]}").json()["linkedSandboxId"] == parent
    for here in (parent, *children):
        for there in ("parent", "child-0", "child-1", children[1]):
            assert reaches(server, here, there), f"{here} -> {there}"
        address = server.run(here, "hostname -I").strip()
        assert reaches(server, here, address) and not reaches(server, stranger, address)
    late = link(server, parent, name="late")
    server.run(late, SERVE)
    assert reaches(server, late, "child-0") and reaches(server, children[1], "late")


def test_no_child_outlives_its_parent(server):
    """The server is killed as soon as it has accepted the end of a parent."""
    parents = [server.create() for _ in range(4)]
    children = [link(server, parent) for parent in parents for _ in range(3)]
    for parent in parents:
        assert server.client.delete(f"/api/sandbox/{parent}").status_code == 200
    server.kill()
    server.start()
    for sandbox in (*parents, *children):
        wait_for(server, sandbox, 404)
    assert server.client.get("/api/sandbox").json()["items"] == []


def test_a_child_that_ended_meanwhile_is_gone(server):
    parent = server.create()
    child = link(server, parent)
    pid = init_of(server, child)
    server.kill()
    os.kill(pid, signal.SIGKILL)
    server.start()
    wait_for(server, child, 404)
    assert server.state(parent) == "started"
