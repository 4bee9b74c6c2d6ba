"""What all sandboxes of a host share in the network: its table of connections, its resolver, its addresses."""

import contextlib
import json
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Server
from internet import DNS, HOST, OTHER, SITE

TABLE = Path("/proc/net/nf_conntrack")


@pytest.fixture
def start(tmp_path, internet):
    internet.name("site.test", ["A", SITE, 300])
    made = []

    def start(*options):
        made.append(Server(tmp_path / f"data{len(made)}", "--resolver", DNS, *options))
        return made[-1].start()

    yield start
    for server in made:
        server.purge()


def address_of(server, sandbox):
    return server.run(sandbox, "hostname -I").strip()


def gateway_of(server, sandbox):
    return server.run(sandbox, "sed -n 's/nameserver //p' /etc/resolv.conf").strip()


def python(server, sandbox, code, *arguments):
    server.run(sandbox, f"cat > program.py <<'END'\n{code}\nEND")
    return server.run(sandbox, f"timeout 60 python3 program.py {' '.join(map(str, arguments))} 2>&1")


def noted(address):
    """Entries of the kernel's table that name an address as a source, of either direction."""
    with TABLE.open() as table:
        return [line for line in table if f"src={address} " in line]


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


SEND = """
import socket, sys
senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for n in range(int(sys.argv[2])):
    try:
        senders[n % 2].sendto(b"x", (sys.argv[1], 1024 + n // 2))
    except OSError:
        pass
"""


@pytest.mark.skipif(not TABLE.exists(), reason="this kernel does not list its table")
def test_connections_have_a_bound(start):
    server = start()
    sandbox, other = server.create(), server.create()
    address = address_of(server, sandbox)
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    most = int(re.search(r"ct count over (\d+)", rules)[1])
    python(server, sandbox, SEND, OTHER, 2 * most)
    assert 1000 < len(noted(address)) <= most
    log = server.client.get(f"/api/sandbox/{sandbox}/network-log").json()["items"]
    told = [item for item in log if item["reason"] == "too-many-connections"]
    assert [(item["protocol"], item["address"]) for item in told] == [("udp", OTHER)], "told once"
    # Others connect as ever.
    fetch = f"curl -sS -m 5 -o /dev/null http://{SITE}/ && echo yes"
    assert server.run(other, fetch) == "yes\n"
    # And the next owner of the address begins without any.
    assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    assert until(lambda: not noted(address), 5), len(noted(address))


OPEN = """
import os, socket, sys
kept = [socket.create_connection((sys.argv[1], 5432), 3) for _ in range(20)]
os.system("ip link set eth0 down")
os.kill(1, 9) if len(sys.argv) > 2 else None
print(len(kept), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not TABLE.exists(), reason="this kernel does not list its table")
@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("ending", ["delete", "stop"])
def test_an_ended_sandbox_leaves_no_connection(start, ending, crash):
    server = start()
    sandbox = server.create(user="root")
    address = address_of(server, sandbox)
    assert "20" in python(server, sandbox, OPEN, OTHER)
    assert len(noted(address)) >= 20
    if crash:
        # A server that did not see them begin.
        server.kill()
        server.start()
    if ending == "stop":
        assert server.client.post(f"/api/sandbox/{sandbox}/stop", params={"force": True}).status_code == 200
    else:
        assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    assert until(lambda: not noted(address), 5), noted(address)


IDLE = """
import socket, sys, time
kept = []
for _ in range(600):
    try:
        kept.append(socket.create_connection((sys.argv[1], 53), 2))
    except OSError:
        pass
open("/tmp/held", "w").write(str(len(kept)))
time.sleep(60)
"""
ASK = """
import os, socket, sys
query = os.urandom(2) + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4site\\4test\\0\\0\\1\\0\\1"
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(2)
asked.sendto(query, (sys.argv[1], 53))
try:
    print(socket.inet_ntoa(asked.recv(512)[-4:]))
except OSError as error:
    print("none")
"""


def test_idle_connections_keep_nobody_from_resolving(start):
    server = start()
    one, other = server.create(), server.create()
    gateway = gateway_of(server, one)
    server.run(one, f"cat > idle.py <<'END'\n{IDLE}\nEND")
    server.run(one, f"nohup python3 idle.py {gateway} > /dev/null 2>&1 & until test -s /tmp/held; do sleep 0.1; done")
    for sandbox in (other, one):
        assert python(server, sandbox, ASK, gateway) == f"{SITE}\n"
    by_tcp = f"import socket; s = socket.create_connection(('{gateway}', 53), 2); s.sendall(b'\\\\0\\\\1x'); print('open')"
    assert "open" in python(server, other, by_tcp)


def test_the_resolver_answers_sandboxes_only(start, internet):
    server = start()
    gateway = gateway_of(server, server.create())
    internet.asked()
    inside = ["ip", "netns", "exec", internet.web.name]
    # It reaches the host, and so all of its addresses.
    subprocess.run([*inside, "ip", "route", "add", f"{gateway}/32", "via", HOST], check=True)
    try:
        asked = subprocess.run([*inside, sys.executable, "-c", ASK, gateway], capture_output=True, text=True, check=True)
        assert asked.stdout == "none\n"
        connect = f"import socket; socket.create_connection(('{gateway}', 53), 1)"
        assert subprocess.run([*inside, sys.executable, "-c", connect], stderr=subprocess.DEVNULL).returncode != 0
    finally:
        subprocess.run([*inside, "ip", "route", "del", f"{gateway}/32"], check=True)
    assert internet.asked() == []


@contextlib.contextmanager
def translated(what, to):
    """Sends packets elsewhere, as container engines do with those for the host's addresses."""
    table = f"sebring_test_{secrets.token_hex(3)}"
    rules = f"""table ip {table} {{
        chain published {{
            type nat hook prerouting priority dstnat
            {what} dnat to {to}
        }}
    }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", table], check=True)


def test_published_ports_are_as_closed_as_others(start):
    server = start("--protect-network", "198.19.0.0/16")
    sandbox, neighbour = server.create(), server.create()
    gateway, port = gateway_of(server, sandbox), 20000 + secrets.randbelow(10000)
    server.run(neighbour, "nohup python3 -m http.server 80 >/dev/null 2>&1 & until (</dev/tcp/127.0.0.1/80); do :; done")

    def reaches(address, port):
        return server.run(sandbox, f"curl -sS -m 5 -o /dev/null http://{address}:{port}/ && echo yes || echo no") == "yes\n"

    for to in (f"{SITE}:80", f"{address_of(server, neighbour)}:80"):
        with translated(f"fib daddr type local tcp dport {port}", to):
            for address in (HOST, gateway):
                begun = time.monotonic()
                assert not reaches(address, port), (address, to)
                assert time.monotonic() - begun < 4, "refused at once"
    log = server.client.get(f"/api/sandbox/{sandbox}/network-log").json()["items"]
    assert {(item["address"], item["port"], item["reason"]) for item in log} >= {(HOST, port, "forbidden")}
    assert reaches(SITE, 80)


def test_addresses_that_are_translated_count_as_well(start):
    """One that nobody may reach does not become one that somebody may."""
    server = start("--protect-network", "198.19.0.0/16")
    open_to_all, confined = server.create(), server.create(networkAllowList=f"{SITE}/32")
    for sandbox, address in ((open_to_all, "198.19.7.77"), (confined, "198.18.99.9")):
        with translated(f"ip daddr {address}", SITE):
            said = server.run(sandbox, f"curl -sS -m 5 -o /dev/null http://{address}/ && echo yes || echo no")
            assert said.endswith("no\n")
        assert server.run(sandbox, f"curl -sS -m 5 -o /dev/null http://{SITE}/ && echo yes") == "yes\n"


ARP = """
import socket, struct, sys
asked = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806))
asked.bind(("eth0", 0))
asked.settimeout(0.5)
own = bytes.fromhex("020000000002")
for claimed in (sys.argv[1], "198.18.99.9"):
    for wanted in sys.argv[2:]:
        asked.send(b"\\xff" * 6 + own + b"\\x08\\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1)
                   + own + socket.inet_aton(claimed) + bytes(6) + socket.inet_aton(wanted))
try:
    while asked.recv(100)[20:22] != b"\\0\\2":
        pass
    print("answered")
except OSError:
    print("silent")
"""


def test_the_host_speaks_no_arp(start):
    server = start()
    sandbox = server.create()
    record = json.loads((server.data_dir / "sandboxes" / sandbox / "record.json").read_text())
    # Root of the host, who may do what seccomp forbids inside.
    inside = ["nsenter", "--target", str(record["phase"]["running"]["pid"]), "--net", sys.executable, "-c", ARP]
    addresses = [address_of(server, sandbox), gateway_of(server, sandbox), HOST]
    asked = subprocess.run([*inside, *addresses], capture_output=True, text=True, check=True)
    assert asked.stdout == "silent\n"
    known = subprocess.run(["ip", "neigh", "show", "nud", "all"], capture_output=True, text=True, check=True).stdout
    assert "198.18.99.9" not in known
    assert server.run(sandbox, f"curl -sS -m 5 -o /dev/null http://{SITE}/ && echo yes") == "yes\n"
