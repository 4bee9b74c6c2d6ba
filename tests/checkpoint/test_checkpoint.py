"""A running sandbox can be dumped with its memory and restored elsewhere: the rules for that (ARCHITECTURE.md) hold.

CRIU does it from outside. Pausing, snapshots with memory and forks are no features yet; when they come they must find the
agent, the mounts and the namespaces as these tests do.
"""

import pytest
from criu import EXTERNAL
from source import mounts, status
from toolbox import Toolbox, prepare

SECURITY = ("Seccomp", "Seccomp_filters", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# What root inside may try on what holds the sandbox.
WEAKEN = """
for change in dev:/ rw:/dev rw:/.sbx/bin/agent; do
    sudo mount -o remount,bind,${change%%:*} ${change#*:} 2>/dev/null && echo $change || echo no
done
sudo cat /proc/1/environ 2>/dev/null && echo traced || echo no
"""
LINES = "awk '$1 != NR { bad = 1 } END { print bad ? \"gap\" : NR }' journal"


@pytest.mark.parametrize("source_goes_on", [False, True], ids=["moved", "forked"])
def test_a_sandbox_goes_on_in_another_place(api, sandbox, checkpoint, restore, source_goes_on):
    made, inside = sandbox
    source = checkpoint.source
    before = inside.client.get("/process/session").json()
    web = inside.web()
    with inside.terminal("/process/pty/create-connect?id=one") as terminal:
        terminal.type("X=42; cd /tmp; echo en''d\n", "end\r\n")
        prepare(source.socket)
        assert terminal.is_closed()
    table, security = mounts(source.pid), status(source.pid, *SECURITY)

    checkpoint.take()
    source.freezer.thaw()
    if not source_goes_on:
        assert api.delete(f"/sandbox/{made['id']}").status_code == 200
    copy = restore()

    restored = Toolbox.at(copy.socket)
    copy.set_hostname("copy")
    restored.post("/.sbx/resumed", {"hostname": "copy", "address": copy.address, "env": {"WHO": "copy"}})
    assert restored.run("hostname; cat /etc/hostname; getent hosts copy; echo $WHO; id -un; sudo id -u").split() == [
        "copy", "copy", copy.address, "copy", "copy", "daytona", "0",
    ]  # fmt: skip
    goes_on(restored, web)
    assert restored.client.get("/process/session").json() == before
    assert web["secret"] in copy.from_outside(f"http://{copy.address}:8000")

    # Nothing of its isolation was lost.
    assert status(copy.pid, *SECURITY) == security
    assert options(mounts(copy.pid)) == options(table)
    assert copy.ids() == (copy.base, 65536)
    assert copy.base != source.base
    assert copy.groups() == copy.cgroups
    assert restored.run(WEAKEN) == "no\n" * 4

    prepare(copy.socket)
    copy.dump()
    goes_on(restored, web, remembered=43)

    if source_goes_on:
        assert inside.run("hostname; echo $WHO").split() == [made["id"], "source"]
        goes_on(inside, web)
        restored.run(f"touch only-here; kill {web['pid']}")
        assert inside.run("ls only-here 2>&1").endswith("No such file or directory\n")
        goes_on(inside, web, remembered=43)
        # Any number of copies, at the same time.
        goes_on(Toolbox.at(restore().socket), web)


def test_a_connection_from_outside_prevents_a_checkpoint(sandbox, checkpoint):
    """Which is what `prepare` is for. A dump that failed leaves the sandbox as it was."""
    _, inside = sandbox
    web = inside.web()
    with Toolbox.at(checkpoint.source.socket).terminal("/process/pty/create-connect?id=one") as terminal:
        terminal.type("X=42; cd /tmp; echo en''d\n", "end\r\n")
        with pytest.raises(AssertionError, match="Unix socket"):
            checkpoint.take()
        checkpoint.source.freezer.thaw()
        terminal.type("echo still$X\n", "still42\r\n")
    goes_on(inside, web)


def goes_on(inside, web, remembered=42):
    """The terminal, the interpreter and the web server are those of before, and what they wrote is on the disk."""
    with inside.terminal("/process/pty/one/connect") as terminal:
        # What it showed before comes first.
        terminal.type(f"echo {remembered}: x is $X in $PWD\n", f"{remembered}: x is 42 in /tmp\r\n")
    assert inside.python("remembered += 1\nremembered") == f"{remembered}\n"
    now = inside.web()
    assert (now["secret"], now["pid"]) == (web["secret"], web["pid"])
    assert now["count"] > web["count"]
    assert int(inside.run(LINES)) >= now["count"]


def options(table):
    """What does not differ between two places: all but where an external mount comes from."""
    return {point: (None if point in EXTERNAL else root, *rest) for point, (root, *rest) in table.items()}
