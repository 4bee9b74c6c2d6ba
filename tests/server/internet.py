"""The internet of the tests: network namespaces with web servers, a DNS server and an office, reached by routes of this host.

`198.18.0.0/15` is kept free for tests by RFC 2544, so nobody's own network is hidden.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
#: In one namespace: servers that answer on each of these addresses, whatever name is asked for.
SITE, SHARED, OTHER = (f"198.18.1.{n}" for n in (10, 11, 12))
#: The host's end of the way there.
HOST = "198.18.1.1"
DNS = "198.18.2.53"
#: A private network that the host reaches, too.
OFFICE = "198.19.7.10"


def ip(*words, namespace=None):
    inside = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *inside, *words], check=True)


class Namespace:
    """A network namespace with one interface, and programs in it."""

    def __init__(self, name, host, addresses):
        self.name = f"sebring-net-{name}"
        self.programs = []
        subprocess.run(["ip", "netns", "del", self.name], stderr=subprocess.DEVNULL, check=False)
        ip("netns", "add", self.name)
        ip("link", "add", f"sbnet-{name}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{host}/24", "dev", f"sbnet-{name}")
        ip("link", "set", f"sbnet-{name}", "up")
        for address in addresses:
            ip("addr", "add", f"{address}/24", "dev", "eth0", namespace=self.name)
        for link in ("lo", "eth0"):
            ip("link", "set", link, "up", namespace=self.name)

    def run(self, script, *arguments):
        """A script of this folder; it reads a line of JSON and answers with one."""
        program = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, HERE / script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout.readline() == "ready\n"
        self.programs.append(program)
        return program

    def close(self):
        for program in self.programs:
            program.terminate()
            program.wait()
            program.stdin.close()
            program.stdout.close()
        ip("netns", "del", self.name)


class Internet:
    """All of them. `records` are what the DNS server says: name to lists of type, value, seconds."""

    def __init__(self):
        self.stack = ExitStack()

        def namespace(*arguments):
            made = Namespace(*arguments)
            self.stack.callback(made.close)
            return made

        self.web = namespace("web", HOST, [SITE, SHARED, OTHER])
        self.sites = self.web.run("internet_web.py")
        office = namespace("office", "198.19.7.1", [OFFICE])
        office.run("internet_web.py")
        self.dns = namespace("dns", "198.18.2.1", [DNS]).run("internet_dns.py")

    def ask_dns(self, **command):
        self.dns.stdin.write(json.dumps(command) + "\n")
        self.dns.stdin.flush()
        return json.loads(self.dns.stdout.readline())

    def name(self, name, *records):
        """Sets what the DNS server says of a name."""
        self.ask_dns(name=name, records=records)

    def asked(self):
        """The names that the DNS server was asked for since the last call, as `udp name`."""
        return self.ask_dns(asked=True)

    def close(self):
        self.stack.close()
