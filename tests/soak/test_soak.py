"""Everything at once on 20 sandboxes for SEBRING_SOAK_MINUTES (15): in the end nothing is left that was not there.

Needs root and a server of its own, which SEBRING_PID and SEBRING_DATA_DIR name: `tests/run soak`.
"""

import os
import random
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from census import Server
from daytona import Daytona
from work import MIX

MINUTES = float(os.environ.get("SEBRING_SOAK_MINUTES", "15"))
SANDBOXES = 20
# Of a sandbox's lives, one in so many pieces of work.
PIECES_OF_A_LIFE = 60
# KiB. The server's memory is what its allocator keeps of the busiest moment.
SERVER_MARGIN = 16 * 1024
AGENT_MARGIN = 1024

pytestmark = pytest.mark.timeout(60 * (2 * MINUTES + 20))


class Soak:
    def __init__(self, daytona, seed):
        self.daytona = daytona
        self.random = random.Random(seed)
        self.done = Counter()
        self.failures = []
        self.lock = threading.Lock()

    def everything(self, sandbox):
        """Each piece once: what a sandbox needs the first time is there then."""
        for piece in MIX:
            self.do(piece, sandbox)

    def do(self, piece, sandbox):
        try:
            piece(sandbox)
        except Exception:
            with self.lock:
                self.failures.append(f"{piece.__name__} in {sandbox.id}: {traceback.format_exc(-3)}")
        with self.lock:
            self.done[piece.__name__] += 1

    def live(self, sandbox, end):
        """Works until the end; the sandbox that it ends with."""
        while time.monotonic() < end and len(self.failures) < 10:
            with self.lock:
                (piece,) = self.random.choices(list(MIX), MIX.values())
                dies = self.random.randrange(PIECES_OF_A_LIFE) == 0
            self.do(piece, sandbox)
            if dies:
                sandbox.delete()
                sandbox = self.daytona.create()
        return sandbox


@pytest.fixture(scope="module")
def daytona():
    return Daytona()


def test_nothing_is_left(daytona):
    server = Server(os.environ["SEBRING_PID"], os.environ["SEBRING_DATA_DIR"])
    seed = random.randrange(1 << 32)
    soak = Soak(daytona, seed)
    with ThreadPoolExecutor(SANDBOXES) as pool:

        def in_each(work, sandboxes):
            return list(pool.map(work, sandboxes))

        # One generation that the server grows up with.
        first = in_each(lambda _: daytona.create(), range(SANDBOXES))
        in_each(soak.everything, first)
        in_each(lambda sandbox: sandbox.delete(), first)
        holdings, memory = server.settled(), server.kib()

        sandboxes = in_each(lambda _: daytona.create(), range(SANDBOXES))
        in_each(soak.everything, sandboxes)
        fresh = [server.of_sandbox(sandbox) for sandbox in sandboxes]
        soak.done.clear()
        end = time.monotonic() + 60 * MINUTES
        sandboxes = in_each(lambda sandbox: soak.live(sandbox, end), sandboxes)
        used = [server.of_sandbox(sandbox) for sandbox in sandboxes]
        in_each(lambda sandbox: sandbox.delete(), sandboxes)
    left, grown = server.settled(holdings), server.kib()

    agents = [max(sandbox["kib"] for sandbox in generation) for generation in (fresh, used)]
    print(f"\nseed {seed}, {MINUTES:g} min: {dict(soak.done)}")
    print(f"server: {memory} -> {grown} KiB, {holdings} -> {left}")
    print(f"agents: {agents[0]} -> {agents[1]} KiB, {fresh[0]['descriptors']} descriptors")
    assert soak.failures == []
    assert left == holdings
    assert grown <= memory + SERVER_MARGIN
    for sandbox in used:
        assert (sandbox["descriptors"], sandbox["processes"]) == (fresh[0]["descriptors"], "0 []"), sandbox
        assert sandbox["kib"] <= agents[0] + AGENT_MARGIN, sandbox
