"""The network of an ended sandbox is gone at once, whatever its root user left in it: nothing counts its memory any more, and
its address is to be another's."""

import json
import re
import time

import pytest
from inventory import shown

SENDER = """
import socket, sys
kept, held = [], 0
for _ in range(100):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.connect((sys.argv[1], 9))
    kept.append(one)
    try:
        for _ in range(100): held += one.send(bytes(1400))
    except OSError: pass
print(held >> 10)
"""

#: The other end hears nothing more, so what was sent stays; its retries take hours.
CONNECTION = """
import socket, subprocess
listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
one.setblocking(False)
print(one.send(bytes(100000)) >> 10)
"""

SLOW = "tbf rate 8bit burst 64kb limit 1gb"
PAIR = (
    "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip addr add 10.99.0.1/24 dev v0; "
    "sysctl -qw net.ipv4.neigh.v0.mcast_solicit=1000000;"
)
HOLDERS = {
    "queue of eth0": f"tc qdisc add dev eth0 root {SLOW}; python3 send.py 192.0.2.1",
    "queue of lo": f"tc qdisc add dev lo root {SLOW}; python3 send.py 127.0.0.1",
    "queue of another": f"{PAIR} ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:01 dev v0 nud permanent; "
    f"tc qdisc add dev v0 root {SLOW}; python3 send.py 10.99.0.2",
    "neighbour who never answers": f"{PAIR} python3 send.py 10.99.0.2",
    "connection": "sysctl -qw net.ipv4.tcp_orphan_retries=255; python3 connection.py",
}


def namespaces():
    """The host's numbers of network namespaces that it has to do with: a number is free as soon as its namespace is."""
    return {int(number) for line in shown("ip", "netns", "list-id") for number in re.findall(r"nsid (\d+)", line)}


def links():
    return {link["ifname"]: link.get("link_netnsid") for link in json.loads("".join(shown("ip", "-j", "link")))}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("end", ["delete", "stop"])
def test_a_network_ends_with_its_sandbox(server, holder, end):
    sandbox = server.create()
    for name, content in {"send.py": SENDER, "connection.py": CONNECTION}.items():
        response = server.client.post(f"/toolbox/{sandbox}/files/upload-v2?path={name}", content=content.encode())
        assert response.status_code == 200, response.text
    address = server.run(sandbox, "hostname -I").split()[0]
    interface = re.search(r" dev (\S+)", shown("ip", "route", "get", address)[0]).group(1)
    number = links()[interface]
    assert number is not None
    held = server.run(sandbox, f"sudo sh -ec '{HOLDERS[holder]}' 2>&1").strip()
    assert held.isdigit() and int(held) > 0, held
    if end == "delete":
        assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    else:
        assert server.client.post(f"/api/sandbox/{sandbox}/stop?force=true").status_code == 200
    deadline = time.monotonic() + 5
    while interface in (there := links()) or (number in namespaces() and number not in there.values()):
        assert time.monotonic() < deadline, f"{interface} there: {interface in there}"
        time.sleep(0.02)
    took = time.monotonic() - deadline + 5
    assert took < 2, f"{took:.1f} s"
