"""Auto-stop, auto-delete and time to live. A minute is the smallest unit: the slow ones wait side by side."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from daytona import DaytonaNotFoundError, SandboxState

MINUTE = 60


def gone(daytona, sandbox):
    try:
        return daytona.get(sandbox.id).state == SandboxState.DESTROYED
    except DaytonaNotFoundError:
        return True


def wait_until(condition, seconds):
    """Seconds until it holds. What the public API offers for this is to ask."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came"
        time.sleep(0.25)
    return time.monotonic() - began


@pytest.mark.timeout(240)
def test_after_a_minute(daytona, make_sandbox, api):
    idle = make_sandbox(auto_stop_interval=1)
    ephemeral = make_sandbox(auto_stop_interval=1, auto_delete_interval=0)
    busy = make_sandbox(auto_stop_interval=1)
    active = make_sandbox(auto_stop_interval=1)
    never = make_sandbox(auto_stop_interval=0)
    stopped = make_sandbox(auto_delete_interval=1)
    started_again = make_sandbox(auto_delete_interval=1)
    short_lived = make_sandbox()

    def idle_stops():
        idle.refresh_activity()
        return wait_until(lambda: daytona.get(idle.id).state == SandboxState.STOPPED, 2 * MINUTE)

    def ephemeral_goes():
        ephemeral.refresh_activity()
        return wait_until(lambda: gone(daytona, ephemeral), 2 * MINUTE)

    def long_command_counts_as_activity():
        assert busy.process.exec(f"sleep {MINUTE + 15}; echo done", timeout=2 * MINUTE).result == "done\n"
        return daytona.get(busy.id).state

    def activity_postpones():
        end = time.monotonic() + MINUTE + 15
        while time.monotonic() < end:
            active.refresh_activity()
            time.sleep(10)
        return daytona.get(active.id).state

    def stopped_goes():
        stopped.stop()
        return wait_until(lambda: gone(daytona, stopped), 2 * MINUTE)

    def start_keeps():
        started_again.stop()
        started_again.start()
        time.sleep(MINUTE + 15)
        return daytona.get(started_again.id).state

    def lives_short():
        response = api.post(f"/sandbox/{short_lived.id}/ttl/1")
        assert response.status_code == 200, response.text
        return wait_until(lambda: gone(daytona, short_lived), 2 * MINUTE)

    with ThreadPoolExecutor(8) as pool:
        waits = {
            name: pool.submit(task)
            for name, task in {
                "idle": idle_stops,
                "ephemeral": ephemeral_goes,
                "stopped": stopped_goes,
                "short-lived": lives_short,
            }.items()
        }
        stays = [pool.submit(task) for task in (long_command_counts_as_activity, activity_postpones, start_keeps)]
        for name, wait in waits.items():
            assert MINUTE - 2 < wait.result() < MINUTE + 10, name
        assert [stay.result() for stay in stays] == [SandboxState.STARTED] * 3
        assert daytona.get(never.id).state == SandboxState.STARTED


def test_delete_at_once_when_stopped(make_sandbox, daytona):
    sandbox = make_sandbox(auto_delete_interval=0)
    sandbox.stop()
    wait_until(lambda: gone(daytona, sandbox), 5)


def test_delete_at_once_set_later(make_sandbox, daytona):
    sandbox = make_sandbox()
    sandbox.set_auto_delete_interval(0)
    sandbox.stop()
    wait_until(lambda: gone(daytona, sandbox), 5)
