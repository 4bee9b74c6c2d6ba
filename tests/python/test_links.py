"""Linked sandboxes, as in the SDK's documentation: a parent that serves, and a child that asks it by name."""

import pytest
from daytona import DaytonaError, DaytonaNotFoundError

SERVE = "nohup python3 -m http.server 3000 >/dev/null 2>&1 & until curl -s localhost:3000 >/dev/null; do :; done"


def serve(sandbox, word):
    sandbox.fs.upload_file(word.encode(), "word")
    assert sandbox.process.exec(SERVE).exit_code == 0


def ask(sandbox, host):
    return sandbox.process.exec(f"curl -sS -m 5 http://{host}:3000/word").result


def test_both_reach_each_other_by_name_and_id(make_sandbox, unique, gone):
    parent = make_sandbox(name=unique)
    child = make_sandbox(linked_sandbox=parent.id, ephemeral=True)
    assert child.linked_sandbox_id == parent.id and parent.linked_sandbox_id is None
    serve(parent, "from the parent")
    serve(child, "from the child")
    for host in (parent.name, parent.id):
        assert ask(child, host) == "from the parent"
    assert ask(parent, child.id) == "from the child"
    parent.delete()
    gone(child)


def test_a_link_by_name(make_sandbox, unique):
    parent = make_sandbox(name=unique)
    child = make_sandbox(linked_sandbox=unique, auto_delete_interval=0)
    assert child.linked_sandbox_id == parent.id


def test_what_may_not_be_linked(make_sandbox, unique):
    parent = make_sandbox()
    with pytest.raises(DaytonaError, match="autoDeleteInterval"):
        make_sandbox(linked_sandbox=parent.id)
    with pytest.raises(DaytonaNotFoundError):
        make_sandbox(linked_sandbox=unique, ephemeral=True)
    child = make_sandbox(linked_sandbox=parent.id, ephemeral=True)
    with pytest.raises(DaytonaError, match="is itself linked"):
        make_sandbox(linked_sandbox=child.id, ephemeral=True)
    with pytest.raises(DaytonaError, match="autoDeleteInterval"):
        child.set_auto_delete_interval(60)
