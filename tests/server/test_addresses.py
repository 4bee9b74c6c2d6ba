"""Addresses: where sandboxes get theirs from, which they can't reach whatever is allowed, and that they can't lie."""

import json
import re
import subprocess

import pytest
from conftest import Server
from internet import DNS, OFFICE, OTHER, SITE


@pytest.fixture
def start(tmp_path, internet):
    internet.name("site.test", ["A", SITE, 300])
    made = []

    def start(*options, name="data"):
        server = Server(tmp_path / name, "--resolver", DNS, *options)
        made.append(server)
        return server.start()

    yield start
    for server in made:
        server.purge()


def reaches(server, sandbox, address):
    return server.run(sandbox, f"curl -sS -m 5 -o /dev/null http://{address}/ && echo yes || echo no") == "yes\n"


def own_address(server, sandbox):
    return server.run(sandbox, "hostname -I").strip()


def test_protected_networks(start):
    open_to_all = start(name="open")
    assert reaches(open_to_all, open_to_all.create(), OFFICE), "the host routes there"
    server = start("--protect-network", "198.19.0.0/16,198.19.7.0/24", "--protect-network", "192.0.2.0/24")
    for settings in ({}, {"networkAllowList": f"{OFFICE}/32,{SITE}/32"}):
        sandbox = server.create(**settings)
        assert reaches(server, sandbox, SITE)
        assert not reaches(server, sandbox, OFFICE)
        log = server.client.get(f"/api/sandbox/{sandbox}/network-log").json()["items"]
        assert [(item["address"], item["port"], item["reason"]) for item in log] == [(OFFICE, 80, "protected")]


def test_the_chosen_network(start):
    server = start("--sandbox-network", "172.29.64.0/24")
    sandbox = server.create()
    address = own_address(server, sandbox)
    assert address.startswith("172.29.64.")
    assert reaches(server, sandbox, "site.test")
    # It stays when nobody says anything, and can't change under a running sandbox.
    server.options = ("--resolver", DNS)
    server.kill()
    server.start()
    assert own_address(server, sandbox) == address
    assert reaches(server, sandbox, "site.test")
    assert own_address(server, server.create()).startswith("172.29.64.")
    server.terminate()
    refused = serve(server, "--sandbox-network", "172.29.65.0/24")
    assert "sandboxes run with addresses of 172.29.64.0/24" in refused
    server.start()
    assert reaches(server, sandbox, "site.test")
    for item in server.client.get("/api/sandbox").json()["items"]:
        assert server.client.post(f"/api/sandbox/{item['id']}/stop", params={"force": True}).status_code == 200
    server.terminate()
    server.options = ("--resolver", DNS, "--sandbox-network", "172.29.65.0/24")
    server.start()
    assert server.client.post(f"/api/sandbox/{sandbox}/start").json()["state"] == "started"
    assert own_address(server, sandbox).startswith("172.29.65.")
    assert reaches(server, sandbox, "site.test")
    assert "172.29.64.1" not in subprocess.run(["ip", "addr", "show", "lo"], capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("192.0.2.0/24", "give a private network"),
        ("10.99.0.0/28", "/8 to /26"),
        ("100.100.0.0/16", "metadata"),
        ("nonsense", "invalid value"),
    ],
)
def test_networks_that_can_not_be(tmp_path, network, why):
    assert why in serve(Server(tmp_path / "data"), "--sandbox-network", network)


def test_networks_that_others_have(start, tmp_path):
    start("--sandbox-network", "172.29.64.0/24")
    refused = serve(Server(tmp_path / "second"), "--sandbox-network", "172.29.0.0/16")
    assert "172.29.0.0/16 overlaps with 172.29.64.0/24" in refused
    refused = serve(Server(tmp_path / "third"), "--sandbox-network", "10.0.0.0/8")
    assert "overlaps" in refused or "routed elsewhere" in refused


def serve(server, *options):
    """What a server says that does not come to serve."""
    command = [server.binary, "serve", "--data-dir", server.data_dir, "--snapshot-dir", server.lender,
               "--listen", "127.0.0.1:0", *options]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    return ended.stderr


SEND = "import socket,sys; s = socket.socket(type=socket.SOCK_DGRAM); s.bind((sys.argv[1], 0)); s.sendto(sys.argv[2].encode(), (sys.argv[3], 9))"


def test_source_addresses_are_checked(start):
    server = start()
    sandbox, other = server.create(), server.create()
    record = json.loads((server.data_dir / "sandboxes" / sandbox / "record.json").read_text())
    # Root of the host does in the sandbox's network what its own root has no capability for.
    inside = ["nsenter", "--target", str(record["phase"]["running"]["pid"]), "--net"]
    own, others = own_address(server, sandbox), own_address(server, other)
    for address in ("198.18.99.9", others):
        subprocess.run([*inside, "ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
        subprocess.run([*inside, "python3", "-c", SEND, address, f"as {address}", OTHER], check=True)
    subprocess.run([*inside, "python3", "-c", SEND, own, f"as {own}", OTHER], check=True)
    said = ""
    while f"as {own}" not in said:
        said = server.run(sandbox, f"curl -sS http://{OTHER}/")
    assert re.findall(r"as [\d.]+", said) == [f"as {own}"]
    # Nor can it ask our resolver as somebody else.
    gateway = server.run(sandbox, "sed -n 's/nameserver //p' /etc/resolv.conf").strip()
    connect = "import socket,sys; s = socket.create_connection((sys.argv[2], 53), 0.5, (sys.argv[1], 0))"
    for source, answered in ((own, True), (others, False)):
        asked = subprocess.run([*inside, "python3", "-c", connect, source, gateway], stderr=subprocess.DEVNULL)
        assert (asked.returncode == 0) is answered, source
