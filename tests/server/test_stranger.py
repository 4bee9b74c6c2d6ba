"""What answers the server when a sandbox starts may be anybody: here a program of the test's own is in the agent's place."""

import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import Server
from live import assert_exact, listed

# `RunnerConfig::boot_deadline`, seconds.
DEADLINE = 20
SLOW = 16


@pytest.fixture
def strangers(tmp_path):
    """A server whose sandboxes all run the stranger."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler for the program in the agent's place")
    made = Server(tmp_path / "data")
    made.start().terminate()
    # The server takes the program that is there for the one that it put there.
    (agent,) = made.data_dir.glob("agents/*/sebring-agent")
    source = Path(__file__).with_name("stranger.c")
    subprocess.run([compiler, "-static", "-O1", "-o", agent, source], check=True)
    yield made.start()
    made.purge()


def create(server, conduct=None):
    began = time.monotonic()
    answer = server.client.post("/api/sandbox", json={"env": {"STRANGER": conduct}} if conduct else {})
    return answer, time.monotonic() - began


def median_of_creates(server):
    times = []
    for _ in range(15):
        answer, took = create(server)
        assert answer.status_code == 200, answer.text
        times.append(took)
        server.client.delete(f"/api/sandbox/{answer.json()['id']}")
    return statistics.median(times)


def test_who_is_slow_holds_nobody_up(strangers):
    alone = median_of_creates(strangers)
    ended = []
    threads = [threading.Thread(target=lambda: ended.append(create(strangers, "trickle"))) for _ in range(SLOW)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE / 2
    while len(listed(strangers)) < SLOW:
        assert time.monotonic() < end, listed(strangers)
        time.sleep(0.05)
    beside = median_of_creates(strangers)
    assert not ended, "they ended too early to hold anybody up"
    assert beside < max(3 * alone, 0.1), f"a create takes {beside * 1000:.0f} ms beside them, {alone * 1000:.0f} ms alone"
    for thread in threads:
        thread.join()
    for answer, took in ended:
        assert answer.status_code >= 400, answer.text
        assert DEADLINE <= took < DEADLINE + 10
    assert "did not start within" in strangers.log()
    assert_exact(strangers)


@pytest.mark.parametrize(("conduct", "told"), [("flood", "more than 4096 bytes"), ("binary", "no proper answer")])
def test_one_short_answer_is_taken(strangers, conduct, told):
    answer, took = create(strangers, conduct)
    assert answer.status_code >= 400 and told in strangers.log(), answer.text
    assert took < DEADLINE / 2
    assert_exact(strangers)
