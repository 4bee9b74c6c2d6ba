"""What a sandbox calls itself leads to itself, and `localhost` is both loopback addresses."""

import pytest

ADDRESS = """
own=$(python3 -c 'import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.connect(("192.0.2.1", 9)); print(u.getsockname()[0])')
[ "$(getent hosts $(hostname))" = "$own$(printf '%*s' $((16 - ${#own})) '')$(hostname)" ] || getent hosts $(hostname)
[ $(python3 -c 'import socket; print(socket.gethostbyname(socket.gethostname()))') = $own ] || echo python
[ $(node -e 'require("dns").lookup(require("os").hostname(), (error, found) => console.log(found))') = $own ] || echo node
[ $(cat /etc/hostname) = $(hostname) ] || cat /etc/hostname
hostname
"""
SERVER = """
node -e '
    const http = require("http"), server = http.createServer((request, response) => response.end("answered"));
    server.listen(8099, "localhost", () => http.get("http://localhost:8099", (got) => got.on("data", (data) => {
        console.log(String(data), server.address().address); server.close(); server.closeAllConnections(); })));'
python3 -m http.server 8098 --bind :: >/dev/null 2>&1 &
until curl -s -o /dev/null 'http://[::1]:8098/'; do :; done
for at in localhost 127.0.0.1; do curl -s -o /dev/null -w '%{http_code} ' http://$at:8098/; done
kill $!
"""


@pytest.fixture
def run(toolbox):
    def run(sandbox, command):
        response = toolbox(sandbox).post("/process/execute", json={"command": command})
        assert response.status_code == 200, response.text
        return response.json()["result"]

    return run


@pytest.mark.parametrize(
    "name", ["4711", "127", "0x7f", "017", "10.0.0.1", "1.2", "localhost", "ip6-localhost", "broadcasthost", "Box_1.a"]
)
def test_every_name_leads_to_the_sandbox(raw_sandbox, run, name):
    shown = run(raw_sandbox(name=name), ADDRESS).split()
    assert len(shown) == 1, shown


def test_localhost_is_both_loopback_addresses(shared, run):
    assert run(shared, SERVER).split() == ["answered", "::1", "200", "200"]


def test_loopback_is_all_of_version_6(shared, run):
    shown = run(shared, """
        awk '{ print $1, $6 }' /proc/net/if_inet6
        for at in default eth0; do cat /proc/sys/net/ipv6/conf/$at/disable_ipv6; done
        curl -6 -sS -m 2 'http://[2001:db8::1]/' 2>&1 | grep -o 'Network is unreachable\\|Cannot assign.*\\|Could.*'""")
    loopback, *disabled, refused = shown.splitlines()
    assert loopback.split() == ["00000000000000000000000000000001", "lo"]
    assert disabled == ["1", "1"] and refused
