"""Parts shared by every suite: where the server is, clients for it, and sandboxes that are gone when the test ends.

The environment names the server: DAYTONA_API_URL and DAYTONA_API_KEY, as any user of the SDK sets them.
"""

import os
import secrets

import httpx
import pytest


def pytest_configure(config):
    missing = [name for name in ("DAYTONA_API_URL", "DAYTONA_API_KEY") if not os.environ.get(name)]
    if missing:
        raise pytest.UsageError(f"{' and '.join(missing)} must be set: start a server by `dev/up --detach`")


@pytest.fixture(scope="session")
def api_url():
    return os.environ["DAYTONA_API_URL"].rstrip("/")


@pytest.fixture(scope="session")
def api_key():
    return os.environ["DAYTONA_API_KEY"]


@pytest.fixture(scope="session")
def api(api_url, api_key):
    """The REST API without an SDK, for what an SDK can't send."""
    with httpx.Client(
        base_url=api_url,
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def anonymous(api_url):
    """The REST API without a key."""
    with httpx.Client(base_url=api_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def unique():
    """A word that no other test uses, for names and labels."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def raw_sandbox(api):
    """Makes sandboxes from a JSON body; each is deleted at the end."""
    made = []

    def make(**body):
        response = api.post("/sandbox", json=body)
        assert response.status_code == 200, response.text
        sandbox = response.json()
        made.append(sandbox["id"])
        assert sandbox["state"] == "started", sandbox
        return sandbox

    yield make
    for sandbox_id in made:
        response = api.delete(f"/sandbox/{sandbox_id}")
        assert response.status_code in (200, 404), response.text


@pytest.fixture
def toolbox(api_key):
    """`toolbox(sandbox)` is a client of the routes inside that sandbox."""
    clients = []

    def client(sandbox):
        opened = httpx.Client(
            base_url=f"{sandbox['toolboxProxyUrl']}/{sandbox['id']}",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=120,
            trust_env=False,
        )
        clients.append(opened)
        return opened

    yield client
    for opened in clients:
        opened.close()
