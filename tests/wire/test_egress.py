"""What single sandboxes may reach: everything, listed ranges, nothing; also changed while they run.

The internet is a network namespace of our own with three addresses, each answered by a web server.
"""

import concurrent.futures
import subprocess
import textwrap

import pytest
from errors import check_api_error

NAMESPACE = "sebring-test-web"
HOST, WEB, OTHER, THIRD = (f"198.51.100.{n}" for n in (1, 2, 3, 130))
SERVER = textwrap.dedent("""
    import http.server, sys
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")
            if self.path == "/slow":
                print("slow", flush=True)
                # Goes on as long as somebody reads: a connection that stays open.
                while True:
                    self.wfile.write(b"x" * 65536)
        def log_message(self, *_): pass
    server = http.server.ThreadingHTTPServer(("", 80), Answer)
    print("ready", flush=True)
    server.serve_forever()
""")


def run(*command):
    subprocess.run(command, check=True)


@pytest.fixture(scope="module", autouse=True)
def internet():
    subprocess.run(["ip", "netns", "del", NAMESPACE], stderr=subprocess.DEVNULL, check=False)
    run("ip", "netns", "add", NAMESPACE)
    run("ip", "link", "add", "sbtest-web", "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
    run("ip", "addr", "add", f"{HOST}/24", "dev", "sbtest-web")
    run("ip", "link", "set", "sbtest-web", "up")
    inside = ["ip", "-n", NAMESPACE]
    for address in (WEB, OTHER, THIRD):
        run(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "set", "eth0", "up")
    server = subprocess.Popen(
        ["ip", "netns", "exec", NAMESPACE, "python3", "-c", SERVER], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == "ready\n"
    yield server
    server.terminate()
    server.wait()
    run("ip", "netns", "del", NAMESPACE)


def reaches(box, address):
    answer = box.post("/process/execute", json={"command": f"curl -sS -m 5 http://{address}/", "timeout": 20}).json()
    assert answer["exitCode"] in (0, 7, 28), answer
    return answer["exitCode"] == 0


ASK = """
import re, socket
resolver = re.search(r"nameserver (\\S+)", open("/etc/resolv.conf").read())[1]
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(20)
asked.connect((resolver, 53))
asked.send(b"\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7invalid\\0\\0\\1\\0\\1")
print(len(asked.recv(512)) > 12)
"""


def resolves(box):
    """Whether the resolver answers, whatever it says: a refused query is told by an error of the socket."""
    answer = box.post("/process/code-run", json={"code": ASK, "language": "python"}).json()
    assert answer["result"] == "True\n" or "Error" in answer["result"], answer
    return answer["exitCode"] == 0


def change(api, sandbox, **settings):
    answer = api.post(f"/sandbox/{sandbox['id']}/network-settings", json=settings)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_open(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    assert reaches(box, WEB) and reaches(box, OTHER) and reaches(box, THIRD)


def test_closed(raw_sandbox, toolbox):
    sandbox = raw_sandbox(networkBlockAll=True, networkAllowList=f"{WEB}/32")
    assert sandbox["networkBlockAll"] is True and sandbox["networkAllowList"] == f"{WEB}/32"
    box = toolbox(sandbox)
    assert not reaches(box, WEB)
    assert not resolves(box)


def test_listed_ranges_only(raw_sandbox, toolbox):
    sandbox = raw_sandbox(networkAllowList=f"{WEB},198.51.100.128/25,198.51.100.129")
    box = toolbox(sandbox)
    assert reaches(box, WEB) and reaches(box, THIRD)
    assert not reaches(box, OTHER)
    assert resolves(box)


def test_changed_while_it_runs(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    changed = change(api, sandbox, networkAllowList=f"{OTHER}/32")
    assert changed["networkAllowList"] == f"{OTHER}/32" and changed["networkBlockAll"] is False
    assert reaches(box, OTHER) and not reaches(box, WEB)
    change(api, sandbox, networkBlockAll=True)
    assert not reaches(box, OTHER)
    # The list is as it was.
    change(api, sandbox, networkBlockAll=False)
    assert reaches(box, OTHER) and not reaches(box, WEB)
    change(api, sandbox, networkAllowList="")
    assert reaches(box, WEB)


def test_open_connections_end(api, raw_sandbox, toolbox, internet):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    # curl gives up when nothing comes for some seconds.
    command = f"curl -sS -o /dev/null --speed-time 3 --speed-limit 1 http://{WEB}/slow; echo ended $?"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        download = pool.submit(box.post, "/process/execute", json={"command": command, "timeout": 60})
        assert internet.stdout.readline() == "slow\n"
        change(api, sandbox, networkBlockAll=True)
        result = download.result().json()["result"]
    assert "ended" in result and "ended 0" not in result


def test_rules_follow_the_sandbox_through_a_stop(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox(networkAllowList=f"{WEB}/32")
    assert api.post(f"/sandbox/{sandbox['id']}/stop", params={"force": True}).status_code == 200
    # Others may get its address meanwhile: they must not inherit the rule.
    for _ in range(3):
        assert reaches(toolbox(raw_sandbox()), OTHER)
    change(api, sandbox, networkAllowList=f"{OTHER}/32")
    assert api.post(f"/sandbox/{sandbox['id']}/start").json()["state"] == "started"
    box = toolbox(sandbox)
    assert reaches(box, OTHER) and not reaches(box, WEB)


@pytest.mark.parametrize("ranges", ["10.0.0.0/33", "fd00::/8", "example.com", ",".join(["10.0.0.0/8"] * 11)])
def test_bad_lists(api, ranges):
    check_api_error(api.post("/sandbox", json={"networkAllowList": ranges}), 400)
