"""What must not be reachable from inside. Each check is first shown to succeed where it should."""

import socket
import subprocess
import threading

import pytest


def run(box, command, timeout=60):
    response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
    assert response.status_code == 200, response.text
    return response.json()


# Prints `open` when a TCP connection comes about and brings a byte, else the reason.
CONNECT = """python3 -c '
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    s.sendall(b"x")
    print("open" if s.recv(1) else "closed")
except OSError as e:
    print(type(e).__name__)
' {host} {port}"""


def connect(box, host, port):
    return run(box, CONNECT.format(host=host, port=port))["result"].strip()


def host_addresses():
    shown = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True, check=True).stdout
    return sorted({line.split()[3].split("/")[0] for line in shown.splitlines()})


@pytest.fixture(scope="module")
def host_service():
    """A server on every address of this machine that answers each connection with a byte."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=64)

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(b"y")

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    for address in host_addresses():
        with socket.create_connection((address, port), timeout=3) as client:
            assert client.recv(1) == b"y", "the check itself works from the host"
    yield port
    listener.close()


def test_the_check_works_inside(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    run(
        box,
        "python3 -m http.server 8000 >/dev/null 2>&1 & until ss -ltn 2>/dev/null | grep -q :8000 || "
        "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8000))' 2>/dev/null; do :; done",
    )
    assert run(box, "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/")["result"] == "200"


def test_host_services(raw_sandbox, toolbox, host_service, api_url):
    box = toolbox(raw_sandbox())
    server_port = int(api_url.rsplit(":", 1)[1].split("/")[0])
    gateway = run(
        box,
        "ip route show default 2>/dev/null | cut -d' ' -f3; "
        'python3 -c \'print(".".join(str(b) for b in bytes.fromhex([l.split()[2] for l in open("/proc/net/route") '
        'if l.split()[1] == "00000000"][0])[::-1]))\'',
    )["result"].split()[-1]
    for address in {*host_addresses(), gateway}:
        for port in (host_service, server_port, 22):
            assert connect(box, address, port) != "open", f"{address}:{port}"


def test_metadata_addresses(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200"):
        assert connect(box, address, 80) != "open"


def test_other_sandboxes(raw_sandbox, toolbox):
    first, second = toolbox(raw_sandbox()), toolbox(raw_sandbox())
    serve = (
        'nohup python3 -c \'import socket\ns = socket.create_server(("0.0.0.0", 9000))\n'
        'open("up", "w")\nwhile True: c, _ = s.accept(); c.sendall(b"y"); c.close()\' >/dev/null 2>&1 &'
        " until [ -e up ]; do :; done; hostname -I"
    )
    address = run(first, serve)["result"].split()[0]
    assert connect(first, address, 9000) == "open", "the check itself works"
    own = run(second, "hostname -I")["result"].split()[0]
    if own != address:
        assert connect(second, address, 9000) != "open"
    for host in host_addresses():
        assert connect(second, host, 9000) != "open"


def test_other_agents_and_servers_files(raw_sandbox, toolbox):
    """The control directory holds one socket, the sandbox's own; no path of the host is to be seen."""
    sandbox, other = raw_sandbox(), raw_sandbox()
    box = toolbox(sandbox)
    shown = run(
        box, "sudo find / -xdev -type s 2>/dev/null; sudo ls -la /.sbx /.sbx/ctl 2>&1; cat /proc/self/mountinfo"
    )["result"]
    assert other["id"] not in shown
    assert shown.count("agent.sock") <= 2


def test_processes_of_the_host_are_hidden(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    shown = run(box, "ps -eo pid,comm,args")["result"]
    assert "sebring serve" not in shown
    assert len(shown.splitlines()) < 10
    assert run(box, "sudo kill -9 1; sleep 0.2; echo alive")["result"] == "alive\n"


def test_root_inside_is_nobody_outside(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    first = run(box, "sudo cat /proc/self/uid_map")["result"].split()
    assert first[0] == "0" and int(first[1]) >= 65536 and int(first[2]) == 65536
    second = run(toolbox(raw_sandbox()), "cat /proc/self/uid_map")["result"].split()
    assert first[1] != second[1], "each sandbox has a range of its own"


@pytest.mark.parametrize(
    "command",
    [
        "echo b > /proc/sysrq-trigger",
        "echo core > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/kernel/panic",
        "mknod /tmp/disk b 8 0 && cat /tmp/disk",
        "cat /dev/kmsg",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "insmod /dev/null",
        "date -s 2001-01-01",
        "mount -o remount,rw,bind /.sbx/bin/agent && echo x >> /.sbx/bin/agent",
        "sh -c 'echo x >> /.sbx/bin/agent'",
        "cat /proc/1/root/etc/hostname /proc/1/mem",
        "nsenter -t 1 -m true",
        "ls /sys/kernel/security/x /sys/firmware/efi/x",
        "sh -c 'echo 1 > /sys/fs/cgroup/memory.max'",
        "swapon /dev/null",
        "dd if=/dev/vda of=/dev/null bs=1 count=1",
        "dmesg",
    ],
)
def test_root_inside_may_not(raw_sandbox, toolbox, command):
    box = toolbox(raw_sandbox())
    assert run(box, "sudo true")["exitCode"] == 0
    answer = run(box, f"sudo bash -c {command!r}" if "'" not in command else f'sudo bash -c "{command}"')
    assert answer["exitCode"] != 0, answer


def test_forbidden_socket_families(raw_sandbox, toolbox):
    """AF_VSOCK would reach the hypervisor, AF_ALG is a frequent source of kernel bugs."""
    box = toolbox(raw_sandbox())
    code = 'import socket\nfor f in (40, 38):\n  try:\n    socket.socket(f, socket.SOCK_STREAM); print(f, "open")\n  except OSError as e: print(f, "refused")'
    assert "open" not in run(box, f"sudo python3 -c '{code}'")["result"]


def test_names_are_resolved(raw_sandbox, toolbox):
    box = toolbox(raw_sandbox())
    assert "127.0.0.1" in run(box, "getent ahostsv4 localhost")["result"]
    assert run(box, "getent hosts $(hostname)")["exitCode"] == 0
    assert run(box, "getent hosts no-such-name.invalid", timeout=20)["exitCode"] == 2


@pytest.mark.internet
@pytest.mark.timeout(300)
def test_packages_from_the_internet(raw_sandbox, toolbox):
    """Name resolution, NAT and the extra certificate authorities, by what users do first."""
    box = toolbox(raw_sandbox())
    answer = run(
        box,
        "pip install --quiet --disable-pip-version-check --ignore-installed --no-deps requests 2>&1 &&"
        " pip show requests | grep -c ^Location.*home",
        200,
    )
    assert answer["exitCode"] == 0, answer["result"][-2000:]
    answer = run(
        box,
        "mkdir p && cd p && npm install --no-audit --no-fund left-pad 2>&1 && node -e \"console.log(require('left-pad')(1, 3, '0'))\"",
        200,
    )
    assert answer["result"].splitlines()[-1] == "001", answer["result"][-2000:]
