"""Linked sandboxes: a parent and its children reach each other by name, id and address; nobody else reaches them."""

import concurrent.futures
import textwrap
import time

import pytest
from errors import check_api_error

# Answers on TCP 80 and UDP 5353 with the word it is given; /slow goes on as long as somebody reads.
SERVER = textwrap.dedent("""
    import http.server, socket, sys, threading
    word = sys.argv[1].encode()
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(word)
            while self.path == "/slow":
                open("slow", "w").close()
                self.wfile.write(b"x" * 65536)
        def log_message(self, *_): pass
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("", 5353))
    def echo():
        while True:
            udp.sendto(word, udp.recvfrom(64)[1])
    threading.Thread(target=echo, daemon=True).start()
    server = http.server.ThreadingHTTPServer(("", 80), Answer)
    open("ready", "w").close()
    server.serve_forever()
""")
# Prints what a server says to a datagram, or whether the resolver answers a query on a stream with an address.
ASK = textwrap.dedent(r"""
    import re, socket, sys
    def udp(host):
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.settimeout(3)
        s.connect((host, 5353))
        s.send(b"?")
        return s.recv(64).decode()
    def stream(name, address):
        resolver = re.search(r"nameserver (\S+)", open("/etc/resolv.conf").read())[1]
        s = socket.create_connection((resolver, 53), timeout=10)
        ends = []
        for name, end in ((name, socket.inet_aton(address)), ("no-such-name.invalid", b"")):
            labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
            query = b"\1\2\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
            s.sendall(len(query).to_bytes(2, "big") + query)
            reply = s.recv(int.from_bytes(s.recv(2, socket.MSG_WAITALL), "big"), socket.MSG_WAITALL)
            ends.append(reply[:2] == query[:2] and reply.endswith(end))
        return ends
    try:
        print({"udp": udp, "stream": stream}[sys.argv[1]](*sys.argv[2:]))
    except OSError as error:
        print(type(error).__name__)
""")


def run(box, command, timeout=60):
    answer = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def serve(box, word):
    """Answers the sandbox's address."""
    put = box.post("/files/upload-v2?path=server.py", content=SERVER)
    assert put.status_code == 200, put.text
    assert box.post("/files/upload-v2?path=ask.py", content=ASK).status_code == 200
    command = f"nohup python3 server.py {word} >/dev/null 2>&1 & until [ -e ready ]; do :; done; hostname -I"
    return run(box, command)["result"].split()[0]


def get(box, host):
    """What the web server there says; none when it can't be reached, by address or because it has no name."""
    answer = run(box, f"curl -sS -m 5 http://{host}/")
    assert answer["exitCode"] in (0, 6, 7, 28), answer
    return answer["result"] if answer["exitCode"] == 0 else None


def resolve(box, name):
    return run(box, f"getent ahostsv4 {name} | cut -d' ' -f1 | sort -u")["result"].strip()


def wait_until_gone(api, sandbox):
    end = time.monotonic() + 20
    while (answer := api.get(f"/sandbox/{sandbox['id']}")).status_code != 404:
        assert time.monotonic() < end, answer.text


@pytest.fixture
def family(api, raw_sandbox, toolbox, unique):
    """A parent and two children that serve, and a stranger: `{name: (sandbox, client, address)}`."""
    made = {}
    for name in ("parent", "first", "second", "stranger"):
        link = {"linkedSandbox": made["parent"][0]["id"], "autoDeleteInterval": 0} if name.endswith("st") else {}
        link = {"linkedSandbox": f"{unique}-parent", "autoDeleteInterval": 0} if name == "second" else link
        sandbox = raw_sandbox(name=f"{unique}-{name}", **link)
        box = toolbox(sandbox)
        made[name] = (sandbox, box, serve(box, name))
    return made


def test_members_reach_each_other(family, unique):
    parent = family["parent"][0]
    members = ("parent", "first", "second")
    for name in members:
        sandbox, box, _ = family[name]
        assert sandbox.get("linkedSandboxId") == (None if name == "parent" else parent["id"])
        for other in members:
            there, _, address = family[other]
            for host in (there["name"], there["name"].upper(), there["id"], address):
                assert get(box, host) == other, f"{name} -> {other} at {host}"
            assert resolve(box, there["id"]) == address
            assert run(box, f"python3 ask.py udp {there['name']}")["result"].strip() == other
    reverse = run(family["first"][1], f"getent hosts {family['second'][2]}")["result"]
    assert reverse.split()[1] == f"{unique}-second"


def test_nobody_else_does(family):
    _, stranger, own = family["stranger"]
    assert get(stranger, own) == "stranger", "the check itself works"
    for name in ("parent", "first"):
        there, box, address = family[name]
        for host in (address, there["name"], there["id"]):
            assert get(stranger, host) is None, f"stranger -> {name} at {host}"
        assert resolve(stranger, there["name"]) == ""
        assert run(stranger, f"python3 ask.py udp {address}")["result"].strip() != name
        assert get(box, own) is None, f"{name} -> stranger"


def test_streams_of_queries(family):
    there, _, address = family["first"]
    answer = run(family["parent"][1], f"python3 ask.py stream {there['name']} {address}")
    assert answer["result"].strip() == "[True, True]", answer


def test_connections_end_when_a_member_is_cut_off(api, family):
    first, second = family["first"], family["second"]
    # curl gives up when nothing comes for some seconds.
    command = f"curl -sS -o /dev/null --speed-time 3 --speed-limit 1 http://{second[0]['id']}/slow; echo ended $?"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        download = pool.submit(run, first[1], command)
        run(second[1], "until [ -e slow ]; do :; done")
        answer = api.post(f"/sandbox/{second[0]['id']}/network-settings", json={"networkBlockAll": True})
        assert answer.status_code == 200, answer.text
        result = download.result()["result"]
    assert "ended" in result and "ended 0" not in result


def test_a_member_leaves(api, family):
    first, second = family["first"], family["second"]
    assert api.delete(f"/sandbox/{second[0]['id']}").status_code == 200
    wait_until_gone(api, second[0])
    assert resolve(first[1], second[0]["name"]) == ""
    assert get(first[1], second[2]) is None
    assert get(first[1], family["parent"][0]["name"]) == "parent", "the others stay"


def test_limits_on_the_internet_do_not_limit_the_group_unless_nothing_may_be_reached(api, family):
    (parent, box, _), (first, other, _) = family["parent"], family["first"]

    def change(**settings):
        answer = api.post(f"/sandbox/{parent['id']}/network-settings", json=settings)
        assert answer.status_code == 200, answer.text

    change(networkAllowList="192.0.2.1/32")
    assert get(box, first["name"]) == "first" and get(other, parent["name"]) == "parent"
    change(networkBlockAll=True)
    assert get(box, family["first"][2]) is None and get(other, parent["name"]) is None
    assert run(other, f"python3 ask.py udp {parent['name']}")["result"].strip() != "parent"
    assert get(other, family["second"][0]["name"]) == "second"
    change(networkBlockAll=False, networkAllowList="")
    assert get(box, first["name"]) == "first" and get(other, parent["name"]) == "parent"


def test_a_parent_comes_back_and_a_child_does_not(api, family):
    (parent, box, _), (first, other, _) = family["parent"], family["first"]
    assert api.post(f"/sandbox/{parent['id']}/stop", params={"force": True}).status_code == 200
    assert resolve(other, parent["name"]) == ""
    assert api.post(f"/sandbox/{parent['id']}/start").json()["state"] == "started"
    run(box, "rm ready")
    address = serve(box, "parent")
    assert resolve(other, parent["name"]) == address
    assert get(other, parent["name"]) == "parent" and get(box, first["id"]) == "first"
    assert get(family["stranger"][1], address) is None
    api.post(f"/sandbox/{first['id']}/stop", params={"force": True})
    wait_until_gone(api, first)
    assert resolve(box, first["name"]) == ""


def test_deleting_the_parent_deletes_the_children(api, family):
    assert api.delete(f"/sandbox/{family['parent'][0]['id']}").status_code == 200
    for name in ("parent", "first", "second"):
        wait_until_gone(api, family[name][0])
    assert api.get(f"/sandbox/{family['stranger'][0]['id']}").json()["state"] == "started"


def test_what_may_not_be_linked(api, raw_sandbox):
    parent = raw_sandbox()
    child = raw_sandbox(linkedSandbox=parent["id"], autoDeleteInterval=0)
    for body, status, part in (
        ({"linkedSandbox": parent["id"]}, 400, "autoDeleteInterval"),
        ({"linkedSandbox": parent["id"], "autoDeleteInterval": -1}, 400, "autoDeleteInterval"),
        ({"linkedSandbox": parent["id"], "autoDeleteInterval": 1}, 400, "autoDeleteInterval"),
        ({"linkedSandbox": child["id"], "autoDeleteInterval": 0}, 400, "is itself linked"),
        ({"linkedSandbox": "no-such-sandbox", "autoDeleteInterval": 0}, 404, "not found"),
        ({"linkedSandbox": "a\0", "autoDeleteInterval": 0}, 400, "zero byte"),
    ):
        failure = check_api_error(api.post("/sandbox", json=body), status)
        assert part in failure["message"], failure
    check_api_error(api.post(f"/sandbox/{child['id']}/autodelete/60"), 400)
