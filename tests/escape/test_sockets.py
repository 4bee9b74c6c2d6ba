"""Families, types and protocols of sockets: what there is in a sandbox of each profile, for an ordinary user and for root, is
what is listed here."""

import json
from pathlib import Path

import pytest
import sockets

PROGRAM = Path(sockets.__file__).read_text()
UNIX = {(1, kind): {0, 1} for kind in ("stream", "datagram", "raw", "seqpacket")}
INTERNET = {(family, kind): listed for family in (2, 10) for kind, listed in (("stream", {0, 6}), ("datagram", {0, 1, 17, 58}))}
RAW = {(family, "raw"): set(range(256)) for family in (2, 10)}
# Routes and sockets; packet filter, device events and what has names in *system*.
NETLINK = {"strict": {0, 4}, "system": {0, 4, 12, 15, 16}}
PACKET = {(17, kind): {0} for kind in ("datagram", "raw", "packet")}


def listed(profile, root):
    found = {**UNIX, **INTERNET, **{(16, kind): NETLINK[profile] for kind in ("datagram", "raw")}}
    if root:
        found |= RAW
    if root and profile == "system":
        found |= PACKET
    return found


@pytest.mark.parametrize("root", [False, True], ids=["user", "root"])
def test_only_what_is_listed(sandbox, profile, root):
    said = sandbox.run([*(["sudo"] if root else []), "python3", "-c", PROGRAM])
    assert "FOUND" in said, said
    found = {(family, kind): set(made) for family, kind, made in json.loads(said.split("FOUND", 1)[1])}
    assert {(1, "stream"), (2, "stream"), (16, "raw")} <= found.keys(), "what is needed is there"
    wanted = listed(profile, root)
    beyond = {key: sorted(extra) for key, made in found.items() if (extra := made - wanted.get(key, set()))}
    assert not beyond
