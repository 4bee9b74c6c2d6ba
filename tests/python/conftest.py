"""Sandboxes through the official Python SDK."""

import time

import pytest
import sdk
from calls import Calls
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaError, DaytonaNotFoundError, SandboxState


def pytest_configure(config):
    config.pluginmanager.register(Calls())


def pytest_report_header():
    return f"daytona {'.'.join(map(str, sdk.VERSION))}"


def pytest_collection_modifyitems(config, items):
    """Leaves out what an older SDK does not have; pytest counts it as deselected."""
    kept, left_out = [], []
    for item in items:
        marker = item.get_closest_marker("since")
        newer = marker and tuple(int(part) for part in marker.args[0].split(".")) > sdk.VERSION
        (left_out if newer else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(scope="session")
def daytona():
    """One client for the whole run: its connections are kept, as in a real program."""
    return Daytona()


def _delete_all(made):
    errors = []
    for sandbox in made:
        try:
            sandbox.delete()
        except DaytonaError as error:
            if getattr(error, "status_code", None) != 404 and "not found" not in str(error):
                errors.append(error)
    assert not errors


@pytest.fixture(scope="module")
def sandbox(daytona):
    """One Python sandbox for all tests of a module: for tests that leave no trace others would see."""
    made = daytona.create()
    yield made
    _delete_all([made])


@pytest.fixture
def gone(daytona):
    """`gone(sandbox)` waits until the API no longer knows it: a delete is answered before all of it is done."""

    def wait(sandbox, seconds=5):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                state = daytona.get(sandbox.id).state
            except DaytonaNotFoundError:
                return
            assert state in (
                SandboxState.STOPPING,
                SandboxState.STOPPED,
                SandboxState.DESTROYING,
                SandboxState.DESTROYED,
            )
            time.sleep(0.02)
        pytest.fail(f"still there after {seconds} s")

    return wait


@pytest.fixture
def make_sandbox(daytona):
    """Makes sandboxes of the test's own; each is deleted at the end, unless the test did so."""
    made = []

    def make(**params):
        sandbox = daytona.create(CreateSandboxFromSnapshotParams(**params) if params else None)
        made.append(sandbox)
        return sandbox

    yield make
    _delete_all(made)
