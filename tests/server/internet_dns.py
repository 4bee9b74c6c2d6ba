"""The DNS server of the tests, on all addresses, by UDP and TCP. Knows what it is told on standard input."""

import json
import sys

from dnslib import AAAA, CNAME, HTTPS, QTYPE, RCODE, RR, TXT, A
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

DATA = {"A": A, "AAAA": AAAA, "CNAME": CNAME, "HTTPS": HTTPS, "TXT": TXT}


class Names(BaseResolver):
    def __init__(self):
        self.records = {}
        self.asked = []

    def resolve(self, request, handler):
        name = str(request.q.qname).rstrip(".").lower()
        self.asked.append(f"{handler.protocol} {name}")
        reply = request.reply()
        if name not in self.records:
            reply.header.rcode = RCODE.NXDOMAIN
        seen = set()
        # As a resolver does: the whole chain of aliases, and what is at its end.
        while name in self.records and name not in seen:
            seen.add(name)
            alias = None
            for kind, value, ttl in self.records[name]:
                if kind in (QTYPE[request.q.qtype], "CNAME"):
                    reply.add_answer(RR(name, getattr(QTYPE, kind), rdata=DATA[kind](value), ttl=ttl))
                if kind == "CNAME":
                    alias = value
            name = alias
        return reply


# Longer answers by UDP are cut.
DNSHandler.udplen = 1232
names = Names()
silent = DNSLogger(log="-recv,-send,-request,-reply,-truncated,-error,-data")
for tcp in (False, True):
    DNSServer(names, address="0.0.0.0", port=53, tcp=tcp, logger=silent).start_thread()
print("ready", flush=True)
for line in sys.stdin:
    command = json.loads(line)
    if "name" in command:
        names.records[command["name"]] = command["records"]
    answer, names.asked = names.asked, []
    print(json.dumps(answer), flush=True)
