"""What the kernel counts for the whole host, or for nobody: a sandbox gets a share, or is refused."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

COUNTERS = Path(__file__).parent / "kernel_counters.py"


def run(box, command, timeout=60):
    response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def boxes(raw_sandbox, toolbox):
    """Two sandboxes that have the program."""

    def make():
        box = toolbox(raw_sandbox())
        upload = box.post("/files/upload-v2", params={"path": "/tmp/counters.py"}, content=COUNTERS.read_bytes())
        assert upload.status_code == 200, upload.text
        return box

    return make(), make()


def take(box, what):
    answer = run(box, f"python3 /tmp/counters.py {what}")
    assert answer["exitCode"] == 0, answer["result"]
    return json.loads(answer["result"])


@contextmanager
def held(box, what):
    """What one sandbox could take, while it has it."""
    script = f"rm -f /tmp/said; setsid python3 /tmp/counters.py {what} hold >/tmp/said 2>&1 </dev/null & echo $! >/tmp/pid"
    answer = run(box, f"{script}; until [ -s /tmp/said ]; do :; done; cat /tmp/said")
    try:
        yield json.loads(answer["result"])
    finally:
        run(box, "pid=$(cat /tmp/pid); kill $pid; while kill -0 $pid 2>/dev/null; do :; done")


def host(what):
    """The same for root of the host, who makes few."""
    done = subprocess.run([sys.executable, COUNTERS, what], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_message_queues(boxes):
    one, other = boxes
    with held(one, "queues") as (count, error):
        assert 2 <= count <= 10 and error == "EMFILE", "of the usual 800 KiB, a quarter at least"
        assert take(other, "two-queues") == [2, None]
        assert host("two-queues") == [2, None]
    assert take(one, "two-queues") == [2, None], "they are given back"


def pending():
    """Signals that are counted for root of the host."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("SigQ:")).split()[1].split("/")[0])


def test_pending_signals(boxes):
    one, other = boxes
    before = pending()
    with held(one, "signals") as (count, error):
        assert 1000 <= count <= 4096 and error == "EAGAIN"
        assert pending() - before < 100, "none is counted for root of the host"
        assert take(other, "timers") == [100, None]
        assert host("timers") == [100, None]


def test_terminals(boxes):
    one, other = boxes
    with held(one, "terminals") as (count, error):
        assert count <= 256 and error == "ENOSPC"
        assert take(other, "terminal") == [1, None]
        assert host("terminal") == [1, None]


def test_what_is_refused(boxes):
    """As by a kernel without it, so that programs do without it."""
    one, _ = boxes
    shown = run(one, "sudo python3 /tmp/counters.py sockets")
    assert shown["exitCode"] == 0, shown["result"]
    answers = json.loads(shown["result"])
    assert answers["netlink"] == [[0, 4, 12, 15, 16], ["EPROTONOSUPPORT", "ok"]]
    assert answers["families"] == {
        **dict.fromkeys(["tcp", "udp", "ping", "raw", "unix", "packet", "pair of unix"], "ok"),
        **dict.fromkeys(["mptcp", "sctp", "udplite", "l2tp"], "EPROTONOSUPPORT"),
        **dict.fromkeys(["sctp-packets", "dccp"], "ESOCKTNOSUPPORT"),
        **dict.fromkeys(["alg", "vsock", "pair of tcp"], "EAFNOSUPPORT"),
    }
    assert answers["options"] == {
        **dict.fromkeys(["buffer", "nodelay", "header included", "version", "extra data"], "ok"),
        **dict.fromkeys(["filter", "bpf", "filter of a group", "bpf of a group"], "ENOPROTOOPT"),
        **dict.fromkeys(["forced send buffer", "forced receive buffer"], "EPERM"),
        **dict.fromkeys(["ipsec", "multicast routing"], "ENOPROTOOPT"),
        **dict.fromkeys(["receive ring", "send ring", "ring of version 3", "fan-out"], "ENOPROTOOPT"),
        "tls": "ENOENT",
    }
    assert answers["others"] == {
        **dict.fromkeys(["file", "filter of calls"], "ok"),
        **{"io_setup": "ENOSYS", "huge pages": "ENOMEM", "huge file": "EINVAL"},
    }


def test_namespaces_come_and_go(boxes):
    """One sandbox has a few dozen at once; those that end are there for others soon."""
    one, _ = boxes
    several = run(one, "sudo sh -c 'for i in $(seq 40); do unshare --net sleep 20 & done; sleep 1; lsns -t net -n | wc -l'")
    assert int(several["result"].split()[-1]) >= 40, several["result"]
    run(one, "sudo pkill sleep")
    # The kernel takes them apart a little later, so one may have to wait.
    turn = "until unshare --net true 2>/dev/null; do :; done"
    turns = run(one, f"sudo sh -c 'for i in $(seq 60); do {turn}; done' && echo all")
    assert turns["result"] == "all\n", turns["result"]
    many = run(one, "sudo sh -c 'for i in $(seq 100); do unshare --net sleep 3 & done 2>&1; wait'")
    assert many["result"].count("No space left") >= 50, many["result"]


def test_programs_do_without(boxes):
    """What asks for what is refused goes on without it."""
    one, _ = boxes
    for command in [
        "sudo -n id -u",
        "sudo su -c 'id -u'",
        "ip -brief address show dev lo",
        "ip route show",
        "ss -tan",
        "ss -xl",
        "sudo ip link add probe0 type veth peer name probe1 && sudo ip link del probe0",
        "sudo useradd probe && sudo userdel probe",
        "python3 -c 'import ctypes.util, socket; print(socket.getaddrinfo(\"localhost\", 80))'",
        "node -e 'require(\"os\").networkInterfaces()'",
        "script -qec 'tty' /dev/null </dev/null",
    ]:
        answer = run(one, command)
        assert answer["exitCode"] == 0, f"{command}: {answer['result']}"


def test_any_user_sends_a_ping(boxes):
    one, _ = boxes
    ping = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); s.settimeout(5); "
        "s.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]) + b'ping', ('127.0.0.1', 0)); print(s.recv(100)[8:])"
    )
    assert run(one, f'id -u; python3 -c "{ping}"')["result"].split() == ["1000", "b'ping'"]


@pytest.mark.parametrize(
    ("setting", "least"),
    [
        ("kernel/pid_max", 1 << 22),
        ("kernel/threads-max", 1 << 22),
        ("fs/file-max", 1 << 40),
        ("net/ipv4/neigh/default/gc_thresh3", 1 << 16),
        ("net/netfilter/nf_conntrack_max", 1 << 18),
    ],
)
def test_settings_of_the_host(setting, least):
    """What all sandboxes share with the host is far more than one of them can have."""
    assert int((Path("/proc/sys") / setting).read_text()) >= least
