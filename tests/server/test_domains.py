"""Egress by name: which names resolve, what their addresses open and for how long, and who is told of refusals."""

import concurrent.futures
import contextlib
import http.server
import json
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from conftest import Server
from internet import DNS, HOST, OFFICE, OTHER, SHARED, SITE

METADATA = "169.254.169.254"


@pytest.fixture(scope="module")
def server(internet, tmp_path_factory):
    for name in ("site.test", "wild.test", "deep.wild.test"):
        internet.name(name, ["A", SITE, 300])
    # Two names of one address, as on a shared server.
    for name in ("good.test", "bad.test", "edge.cdn.test"):
        internet.name(name, ["A", SHARED, 300])
    internet.name("alias.test", ["CNAME", "edge.cdn.test", 300])
    internet.name("other.test", ["A", OTHER, 300])
    made = Server(tmp_path_factory.mktemp("domains") / "data", "--resolver", DNS, "--protect-network", "198.19.7.0/24")
    yield made.start()
    made.purge()


class Box:
    """A sandbox, and what it reaches."""

    def __init__(self, server, **settings):
        self.server = server
        self.id = server.create(**settings)

    def run(self, command):
        return self.server.run(self.id, command)

    def change(self, **settings):
        answer = self.server.client.post(f"/api/sandbox/{self.id}/network-settings", json=settings)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def curl(self, url, *options):
        """What a web server of the tests says it was asked for; else status, exit code and what was said."""
        quoted = " ".join(f"'{option}'" for option in options)
        said = self.run(
            f"rm -f body; curl -sSk -m 8 {quoted} -o body -w '%{{http_code}}' {url} 2>said; echo ' '$?; cat body said"
        )
        result, _, rest = said.partition("\n")
        return json.loads(rest) if result == "200 0" else f"{result}: {rest}"

    def reaches(self, url, *options):
        return isinstance(self.curl(url, *options), dict)

    def resolve(self, name):
        """The addresses, or how it failed."""
        program = (
            "import socket,sys\n"
            "try: print(*sorted({a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET)}))\n"
            "except socket.gaierror as error: print(error.errno)"
        )
        return self.run(f"python3 -c '{program}' {name}").strip()

    def denials(self, **expected):
        """The refusals that have these fields."""
        answer = self.server.client.get(f"/api/sandbox/{self.id}/network-log")
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        return [item for item in items if all(item.get(key) == value for key, value in expected.items())]


@pytest.fixture
def box(server):
    made = []

    def make(domains=None, **settings):
        if domains is not None:
            settings["domainAllowList"] = domains
        made.append(Box(server, **settings))
        return made[-1]

    yield make
    for box in made:
        server.client.delete(f"/api/sandbox/{box.id}")


NOT_FOUND = "-2"


def test_exact_names_and_wildcards(box, internet, server):
    box = box("Site.test, *.wild.test")
    listed = server.client.get(f"/api/sandbox/{box.id}").json()
    assert listed["domainAllowList"] == "site.test,*.wild.test"
    items = {item["id"]: item for item in server.client.get("/api/sandbox").json()["items"]}
    assert items[box.id]["domainAllowList"] == "site.test,*.wild.test"
    internet.asked()
    for name in ("site.test", "wild.test", "deep.wild.test", "SITE.test"):
        assert box.resolve(name) == SITE, name
        assert box.curl(f"http://{name}/")["host"].lower() == name.lower()
        assert box.curl(f"https://{name}/")["sni"].lower() == name.lower()
    internet.asked()
    for name in ("other.test", "sub.site.test", "notwild.test", "test"):
        begun = time.monotonic()
        assert box.resolve(name) == NOT_FOUND, name
        assert time.monotonic() - begun < 2
        assert box.denials(name=name, protocol="dns", reason="name-not-allowed"), name
    assert internet.asked() == [], "a name that is not allowed is not even asked for"


def test_without_a_list_nothing_changes(box):
    box = box()
    assert box.reaches("http://other.test/") and box.reaches(f"http://{OTHER}:8080/")
    assert box.run(f"exec 3<>/dev/tcp/{OTHER}/5432; echo hello >&3; head -1 <&3") == "hello\n"
    assert box.denials() == []


def test_an_address_is_open_only_to_its_name(box):
    box = box("good.test")
    assert box.curl("https://good.test/")["sni"] == "good.test"
    assert box.curl("http://good.test/")["host"] == "good.test"
    # The same address, another name.
    pin = "--resolve"
    for port in (443, 8443):
        assert not box.reaches(f"https://bad.test:{port}/", pin, f"bad.test:{port}:{SHARED}")
        assert box.denials(name="bad.test", address=SHARED, port=port, protocol="tls", reason="name-not-allowed")
    for port in (80, 8080):
        refused = box.curl(f"http://bad.test:{port}/", pin, f"bad.test:{port}:{SHARED}")
        assert refused.startswith("403") and "domain allow list" in refused, refused
        assert box.denials(name="bad.test", address=SHARED, port=port, protocol="http", reason="name-not-allowed")
    # No name at all: curl sends none for an address.
    assert not box.reaches(f"https://{SHARED}/")
    assert box.denials(address=SHARED, protocol="tls", reason="no-name")
    assert box.curl(f"http://{SHARED}/").startswith("403")
    assert box.curl("https://good.test:8443/")["sni"] == "good.test"
    assert box.curl("http://good.test:8080/")["host"] == "good.test:8080"


def test_each_request_of_a_connection_is_judged(box):
    box = box("good.test")
    assert box.resolve("good.test") == SHARED

    def talk(*requests, port=80):
        text = "".join(request.replace("\n", "\\r\\n") for request in requests)
        return box.run(f"exec 3<>/dev/tcp/{SHARED}/{port}; printf '{text}' >&3; timeout 5 cat <&3")

    get = "GET {} HTTP/1.1\nHost: {}\n{}\n".format
    two = talk(get("/", "good.test", ""), get("/", "good.test", "Connection: close\n"))
    assert two.count("200 OK") == 2
    for second in (
        get("/", "bad.test", ""),
        get("http://bad.test/", "good.test", ""),
        get("/", "good.test", "Host: bad.test\n"),
        "GET / HTTP/1.0\n\n",
        "CONNECT bad.test:443 HTTP/1.1\nHost: good.test\n\n",
    ):
        said = talk(get("/", "good.test", ""), second)
        assert said.count("200 OK") == 1 and "403 Forbidden" in said, (second, said)
    # A body that looks like a request is none.
    hidden = get("/", "bad.test", "")
    length = len(hidden.replace("\n", "\r\n"))
    said = talk(f"POST / HTTP/1.1\nHost: good.test\nContent-Length: {length}\nConnection: close\n\n", hidden)
    assert said.count("HTTP/1.1 200") == 1 and "bad.test" in said
    # HTTP/2 would name hosts that nobody sees; without it the request is answered.
    said = talk(get("/", "good.test", "Connection: Upgrade, HTTP2-Settings, close\nUpgrade: h2c\nHTTP2-Settings: AA\n"))
    assert "200 OK" in said and '"upgrade": null' in said
    assert "200" not in talk("PRI * HTTP/2.0\n\nSM\n\n")
    upgrade = get("/", "good.test", "Connection: Upgrade\nUpgrade: websocket\n")
    assert talk(upgrade, "abcd").endswith("dcba")


def talk_first(box, port, text):
    """What comes back after this was said at once."""
    return box.run(f"exec 3<>/dev/tcp/{SHARED}/{port}; printf '{text}' >&3; timeout 5 cat <&3")


def test_other_protocols(box):
    box = box("good.test")
    assert box.resolve("good.test") == SHARED
    assert "hello" not in box.run(f"exec 3<>/dev/tcp/{SHARED}/5432; echo hello >&3; timeout 5 cat <&3")
    assert box.denials(address=SHARED, port=5432, protocol="tcp", reason="unknown-protocol")
    # Begun like a request.
    for said in ("EHLO me\\r\\nMAIL FROM:<a@b>\\r\\n", "PING\\r\\n", "*1\\r\\n$4\\r\\nPING\\r\\n"):
        before = len(box.denials(port=5432))
        assert "PING" not in (back := talk_first(box, 5432, said)) and "MAIL" not in back, back
        assert len(box.denials(port=5432)) > before, said
    # UDP names nothing either.
    box.run(f"echo x > /dev/udp/{SHARED}/443")
    assert until(lambda: box.denials(address=SHARED, port=443, protocol="udp", reason="unknown-protocol"))


def test_ssh_is_what_both_sides_speak(box):
    box = box("good.test")
    assert box.resolve("good.test") == SHARED
    assert talk_first(box, 22, "SSH-2.0-me\\r\\n") == "SSH-2.0-test\r\nafter SSH-2.0-me\r\n"
    hidden = "SSH-2.0-X / HTTP/1.1\\r\\nHost: good.test\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: bad.test\\r\\n\\r\\n"
    for port, said in ((2222, "SSH-2.0-me\\r\\n"), (22, "SSH-X / HTTP/1.1\\r\\nHost: good.test\\r\\n\\r\\n"),
                       (80, hidden), (8080, hidden), (5432, hidden)):  # fmt: skip
        before = len(box.denials(port=port, protocol="ssh", reason="unknown-protocol"))
        back = talk_first(box, port, said)
        assert "SSH-2.0" not in back and "200 OK" not in back, (port, said, back)
        assert len(box.denials(port=port, protocol="ssh", reason="unknown-protocol")) > before, (port, said)


def test_ranges_open_no_names(box, internet):
    box = box(networkAllowList=f"{OTHER}/32")
    internet.asked()
    for name in ("other.test", "secret.exfil.test"):
        assert box.resolve(name) == NOT_FOUND, name
        assert box.denials(name=name, protocol="dns", reason="name-not-allowed"), name
    assert internet.asked() == []
    # Named, it resolves, and its addresses are open as well.
    box.change(networkAllowList=f"{OTHER}/32", domainAllowList="site.test")
    assert box.resolve("site.test") == SITE and box.resolve("other.test") == NOT_FOUND


def test_an_operator_may_have_all_names_resolved_and_other_ports_speak_ssh(internet, tmp_path):
    internet.name("other.test", ["A", OTHER, 300])
    internet.name("good.test", ["A", SHARED, 300])
    server = Server(tmp_path / "data", "--resolver", DNS, "--resolve-for-ranges", "--ssh-port", "2222").start()
    try:
        assert Box(server, networkAllowList=f"{OTHER}/32").resolve("other.test") == OTHER
        named = Box(server, domainAllowList="good.test")
        assert named.resolve("good.test") == SHARED
        for port in (22, 2222):
            assert talk_first(named, port, "SSH-2.0-me\\r\\n").startswith("SSH-2.0-test"), port
    finally:
        server.purge()


def test_addresses_without_a_name_are_closed(box):
    box = box("site.test")
    begun = time.monotonic()
    assert not box.reaches(f"http://{OTHER}/", "-H", "Host: site.test")
    assert time.monotonic() - begun < 4, "refused at once"
    assert until(lambda: box.denials(address=OTHER, port=80, protocol="tcp", reason="address-not-allowed"))


def test_aliases(box):
    box = box("alias.test")
    assert box.resolve("alias.test") == SHARED
    assert box.curl("https://alias.test/")["sni"] == "alias.test"
    # What the alias stands for is not in the list itself.
    assert box.resolve("edge.cdn.test") == NOT_FOUND
    assert not box.reaches("https://edge.cdn.test/", "--resolve", f"edge.cdn.test:443:{SHARED}")


def test_addresses_close_when_their_time_is_over(box, internet):
    internet.name("short.test", ["A", OTHER, 1])
    box = box("short.test")
    assert box.curl("http://short.test/")["address"] == OTHER
    url, pin = "http://short.test/", ("--resolve", f"short.test:80:{OTHER}")
    assert box.reaches(url, *pin), "long enough to connect"
    assert until(lambda: not box.reaches(url, *pin), 20)
    assert until(lambda: box.denials(address=OTHER, reason="address-not-allowed"))
    assert box.reaches(url), "asked again"


def test_names_do_not_open_what_no_sandbox_may_reach(box, internet, server):
    neighbour = Box(server)
    try:
        gateway = box().run("sed -n 's/nameserver //p' /etc/resolv.conf").strip()
        address = neighbour.run("hostname -I").strip()
        neighbour.run("nohup python3 -m http.server 80 >/dev/null 2>&1 & until (</dev/tcp/127.0.0.1/80); do :; done")
        inside = box("rebind.test,office.test,host.test")
        for forbidden, reason in ((METADATA, "forbidden"), (address, "forbidden"), (gateway, "forbidden"),
                                  ("127.0.0.1", "forbidden"), (OFFICE, "protected")):  # fmt: skip
            internet.name("rebind.test", ["A", forbidden, 60])
            assert inside.resolve("rebind.test") == NOT_FOUND, forbidden
            assert inside.denials(name="rebind.test", address=forbidden, protocol="dns", reason=reason), forbidden
            assert not inside.reaches("http://rebind.test/", "--resolve", f"rebind.test:80:{forbidden}")
        # Beside a good one it is left out.
        internet.name("rebind.test", ["A", METADATA, 60], ["A", SITE, 60])
        assert inside.resolve("rebind.test") == SITE
        # Our resolver can't know the host's own addresses, the kernel does: here listens the test's own server.
        internet.name("host.test", ["A", HOST, 60])
        assert inside.resolve("host.test") == HOST
        with listener(HOST) as port:
            assert not inside.reaches(f"http://host.test:{port}/")
        assert until(lambda: inside.denials(address=HOST))
    finally:
        server.client.delete(f"/api/sandbox/{neighbour.id}")


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def listener(address):
    """A web server on this host."""
    with http.server.ThreadingHTTPServer((address, 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with contextlib.closing(httpx.Client(trust_env=False)) as client:
            assert client.get(f"http://{address}:{server.server_port}/").status_code == 200
        yield server.server_port
        server.shutdown()


DIG = """
import socket, struct, sys
name, kind, tcp = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tcp"
resolver = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")][0]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\\0"
query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((resolver, 53))
if tcp:
    s.sendall(struct.pack(">H", len(query)) + query)
    stream = s.makefile("rb")
    reply = stream.read(int.from_bytes(stream.read(2), "big"))
else:
    s.send(query)
    reply = s.recv(65535)
print(reply[3] & 15, int.from_bytes(reply[6:8], "big"), bool(reply[2] & 2))
"""


def dig(box, name, kind=1, transport="udp"):
    """Response code, number of answers, whether it was cut."""
    box.run(f"cat > dig.py <<'END'\n{DIG}\nEND")
    code, answers, cut = box.run(f"python3 dig.py {name} {kind} {transport}").split()
    return int(code), int(answers), cut == "True"


def test_dns_by_tcp_is_the_same(box, internet):
    box = box("site.test,many.test,text.test")
    internet.asked()
    assert dig(box, "site.test", transport="tcp") == (0, 1, False)
    assert dig(box, "other.test", transport="tcp") == (3, 0, False)
    assert "site.test" in " ".join(internet.asked())
    assert box.reaches("http://site.test/", "--resolve", f"site.test:80:{SITE}"), "opened by an answer by TCP"
    # An answer that is too long for UDP comes by TCP, to us and from us.
    internet.name("many.test", *(["A", f"198.18.1.{n}", 60] for n in range(100, 200)))
    assert dig(box, "many.test") == (0, 0, True)
    assert dig(box, "many.test", transport="tcp") == (0, 32, False)
    assert "tcp many.test" in internet.asked()
    # Other records of allowed names pass, addresses in forms that are not judged do not.
    internet.name("text.test", ["TXT", "hello", 60], ["AAAA", "2001:db8::1", 60])
    assert dig(box, "text.test", 16) == (0, 1, False)
    assert dig(box, "text.test", 28) == (0, 0, False)
    assert dig(box, "text.test", 65) == (0, 0, False)
    assert dig(box, "text.test", 255) == (0, 0, False)


def test_lists_of_both_kinds_add_up(box):
    box = box("good.test", networkAllowList=f"{OTHER}/32")
    assert box.reaches(f"http://{OTHER}/") and box.reaches("https://good.test/")
    assert box.run(f"exec 3<>/dev/tcp/{OTHER}/5432; echo hello >&3; head -1 <&3") == "hello\n", "as without names"
    assert not box.reaches(f"http://{SITE}/")
    assert box.resolve("other.test") == NOT_FOUND


def test_block_all_wins(box):
    box = box("site.test", networkAllowList=f"{OTHER}/32", networkBlockAll=True)
    assert not box.reaches(f"http://{OTHER}/")
    assert box.resolve("site.test") != SITE
    assert until(lambda: box.denials(address=OTHER, reason="block-all"))
    changed = box.change(networkBlockAll=False)
    assert changed["domainAllowList"] == "site.test"
    assert box.reaches("http://site.test/") and box.reaches(f"http://{OTHER}/")


@pytest.mark.parametrize("url", ["http://{}/slow", "https://{}/slow"])
def test_changes_cut_what_they_forbid(box, internet, url):
    box = box("good.test,site.test")

    def download(name):
        command = f"curl -sSk -o /dev/null --speed-time 4 --speed-limit 1 {url.format(name)} 2>&1; echo ended $?"
        # A process of its own, that is there whatever becomes of the request.
        begun = box.server.client.post(
            f"/toolbox/{box.id}/process/execute",
            json={"command": f"nohup bash -c '{command}' > {name}.log 2>&1 & echo $!"},
        )
        assert begun.status_code == 200
        assert internet.sites.stdout.readline() == "slow\n"

    download("good.test")
    download("site.test")
    changed = box.change(domainAllowList="good.test")
    assert changed["domainAllowList"] == "good.test"
    assert until(lambda: "ended" in box.run("cat site.test.log"))
    assert "ended 0" not in box.run("cat site.test.log")
    assert box.run("cat good.test.log") == "", "what is still allowed goes on"
    assert box.resolve("site.test") == NOT_FOUND
    assert not box.reaches("https://site.test/", "--resolve", f"site.test:443:{SITE}")
    assert box.reaches("https://good.test/")
    box.change(networkBlockAll=True)
    assert until(lambda: "ended" in box.run("cat good.test.log"))


DOWNLOAD = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 5)
s.sendall(b"GET /slow HTTP/1.1\\r\\nHost: good.test\\r\\n\\r\\n")
try:
    s.settimeout(1)
    while s.recv(65536):
        pass
    print("closed")
except OSError as error:
    print("ended", error)
"""


def test_confinement_cuts_what_was_open_before(box, internet):
    box = box()
    box.run(f"cat > download.py <<'END'\n{DOWNLOAD}\nEND")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(box.run, f"python3 download.py {SHARED}")
        assert internet.sites.stdout.readline() == "slow\n"
        box.change(domainAllowList="good.test")
        # Its name is allowed, but it was never asked about.
        assert box.resolve("good.test") == SHARED
        assert running.result().startswith("ended")
    box.change(domainAllowList="")
    assert box.reaches("http://other.test/"), "no list is no limit"


def test_rules_outlive_the_server_and_end_with_the_sandbox(server, box, internet):
    box = box("good.test", networkAllowList=f"{OTHER}/32")
    assert box.reaches("https://good.test/")
    assert not box.reaches(f"http://{SITE}/")
    assert until(lambda: box.denials(address=SITE))
    server.kill()
    server.start()
    assert not box.reaches("https://bad.test/", "--resolve", f"bad.test:443:{SHARED}")
    assert box.resolve("other.test") == NOT_FOUND
    assert box.reaches("https://good.test/") and box.reaches(f"http://{OTHER}/")
    assert box.denials(address=SITE, reason="address-not-allowed"), "also what was noted before"
    assert box.denials(name="other.test", reason="name-not-allowed")
    # Stopped, and started again: perhaps with another address, with the same rules.
    assert server.client.post(f"/api/sandbox/{box.id}/stop", params={"force": True}).status_code == 200
    assert box.denials(address=SITE), "the log stays with the files"
    assert server.client.post(f"/api/sandbox/{box.id}/start").json()["state"] == "started"
    assert box.reaches("https://good.test/") and box.resolve("other.test") == NOT_FOUND
    assert SHARED in rules_of(server) and OTHER in rules_of(server)
    assert server.client.delete(f"/api/sandbox/{box.id}").status_code == 200
    # The answer does not wait for the end.
    assert until(lambda: SHARED not in (rules := rules_of(server)) and OTHER not in rules)


def rules_of(server):
    owner = str(server.data_dir.resolve()).encode()
    places = [path for path in Path("/run/sebring").glob("[0-9]*") if path.read_bytes().split(b"\0")[0] == owner]
    table = ["inet", f"sebring_{places[0].name}"]
    return subprocess.run(["nft", "list", "table", *table], capture_output=True, text=True, check=True).stdout


def test_a_flood_of_refusals_is_noted_in_part(box):
    box = box("site.test")
    box.run(f"for i in $(seq 400); do echo x > /dev/udp/{OTHER}/$((1000 + i)); done 2>/dev/null")
    assert until(lambda: len(box.denials(address=OTHER)) > 10)
    assert len(box.denials(address=OTHER)) < 300


def test_only_the_owner_reads_the_log(server, box):
    box = box("site.test")
    url = f"http://127.0.0.1:{server.port}/api/sandbox/{box.id}/network-log"
    assert httpx.get(url, trust_env=False).status_code == 401
    unknown = server.client.get("/api/sandbox/nobody/network-log")
    assert unknown.status_code == 404 and unknown.json()["statusCode"] == 404


@pytest.mark.parametrize("domains", ["http://a.test", "a.test/x", "a.test:1", "192.0.2.1", "*", "a.*.test", "a..b",
                                     "b\u00fccher.test", ",".join(["a.test"] * 101)])  # fmt: skip
def test_bad_lists(server, domains):
    answer = server.client.post("/api/sandbox", json={"domainAllowList": domains})
    assert answer.status_code == 400 and "domainAllowList" in answer.json()["message"], answer.text


def until(condition, seconds=5):
    """What the condition is, once it is true, or when time is over."""
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return result
