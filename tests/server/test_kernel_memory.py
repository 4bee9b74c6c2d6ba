"""Memory of the kernel that no limit counts: while the host is short of it, whoever holds much is ended, and nobody else.

The host is short by configuration: the reserve is larger than all of its memory.
"""

import json
import time

import pytest
from conftest import Server

ROOM = """
import os, resource, socket, subprocess, sys, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept = []
def unread_packets():
    "Each gets a copy of what is sent on the loopback interface, and nobody reads it."
    for _ in range(1000):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        one.bind(("lo", 3))
        kept.append(one)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(10): sender.sendto(bytes(30000), ("127.0.0.1", 9))
def unread_datagrams():
    "The same with raw sockets, 1,000 of the protocol 253."
    for _ in range(1000):
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, 253))
    sender = kept[0]
    for _ in range(10): sender.sendto(bytes(30000), ("127.0.0.1", 0))
def unread_notices():
    "Sockets that hear of routes, and hear of many."
    for _ in range(1000):
        one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        one.bind((0, 0x40))
        kept.append(one)
    changes = "".join(f"route {what} 192.0.2.{n}/32 dev lo\\n" for n in range(250) for what in ("add", "del"))
    subprocess.run(["ip", "-batch", "-"], input=changes.encode(), check=True)
def waiting_packets():
    "In the queue of an interface, which hands on a bit a second; their sockets may be closed."
    subprocess.run("tc qdisc add dev lo root tbf rate 8bit burst 64kb limit 1gb", shell=True, check=True)
    while len(kept) < 900:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.connect(("127.0.0.1", 9))
        kept.append(one)
        try:
            while True: one.send(bytes(30000))
        except OSError: pass
def waiting_packets_of_closed_sockets():
    waiting_packets()
    kept.clear()
def elsewhere():
    "In a network of its own."
    libc.unshare(0x40000000)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    unread_packets()
def long_queues():
    "Places for packets, of which none comes: 150 MiB."
    pair = "ip link add v0 txqueuelen 6000000 type veth peer name v1; ip link set v0 up"
    subprocess.run(f"set -e; {pair}; tc qdisc add dev v0 root pfifo_fast", shell=True, check=True)
def within_the_limit():
    kept.append(bytearray(700 << 20))
    for place in range(0, 700 << 20, 4096): kept[0][place] = 1
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
globals()[sys.argv[1]]()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A server that always finds too little memory."""
    made = Server(tmp_path_factory.mktemp("short") / "data", "--memory-reserve", str(1 << 30))
    yield made.start()
    made.purge()


def begin(server, what):
    sandbox = server.create()
    response = server.client.post(f"/toolbox/{sandbox}/files/upload-v2?path=room.py", content=ROOM.encode())
    assert response.status_code == 200, response.text
    server.run(sandbox, f"sudo setsid python3 room.py {what} >said 2>&1 </dev/null &")
    return sandbox


def wait_until_said(server, sandbox):
    end = time.monotonic() + 30
    while "ready" not in (said := server.run(sandbox, "cat said")):
        assert time.monotonic() < end and "Error" not in said, said
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("unread_packets", "unread packets"),
        ("elsewhere", "unread packets"),
        ("unread_datagrams", "unread datagrams of raw sockets"),
        ("unread_notices", "unread netlink messages"),
        ("waiting_packets", "packets that nobody has taken"),
        ("long_queues", "interfaces"),
        ("waiting_packets_of_closed_sockets", "packets that nobody has taken"),
    ],
)
def test_who_holds_much_is_ended_with_the_reason(short, what, kind):
    neighbour = begin(short, "within_the_limit")
    wait_until_said(short, neighbour)
    culprit = begin(short, what)
    end = time.monotonic() + 40
    while (found := short.client.get(f"/api/sandbox/{culprit}").json())["state"] == "started":
        said = short.client.post(f"/toolbox/{culprit}/process/execute", json={"command": "cat said"}).text
        assert time.monotonic() < end, said + json.dumps(found)
        time.sleep(0.1)
    assert found["state"] == "error", found
    assert "MiB of the kernel's memory outside its limit" in found["errorReason"], found
    assert kind in found["errorReason"], found
    assert short.state(neighbour) == "started"
    assert short.run(neighbour, "pgrep -c -f 'room.py within'").strip() != "0"
    for sandbox in (culprit, neighbour):
        assert short.client.delete(f"/api/sandbox/{sandbox}").status_code == 200


def test_little_is_no_reason(short):
    """A packet that waits in a queue, an unread message: what programs do."""
    sandbox = short.create()
    slow = "sudo tc qdisc add dev lo root tbf rate 8bit burst 64kb limit 1gb"
    short.run(sandbox, f"{slow}; ping -c 3 -W 1 127.0.0.1; true")
    # Somebody else takes so much that everyone is measured.
    greedy = begin(short, "unread_packets")
    end = time.monotonic() + 40
    while short.state(greedy) == "started":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert short.state(sandbox) == "started"
