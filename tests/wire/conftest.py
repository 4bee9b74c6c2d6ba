"""One sandbox for the tests of a module that leave it as it was."""

import pytest


@pytest.fixture(scope="module")
def shared(api):
    made = api.post("/sandbox", json={}).json()
    assert made.get("state") == "started", made
    yield made
    api.delete(f"/sandbox/{made['id']}")
