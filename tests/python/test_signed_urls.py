"""File URLs that need no key: made by the SDK, used by any HTTP client."""

import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

pytestmark = pytest.mark.since("0.226")

NAME = "with space & ünï+%.txt"


@pytest.fixture(scope="module")
def client():
    with httpx.Client(timeout=30, trust_env=False) as client:
        yield client


def changed(url, **values):
    """The URL with other values in its query."""
    split = urlsplit(url)
    return split._replace(query=urlencode(dict(parse_qsl(split.query)) | values)).geturl()


def refused(response):
    assert response.status_code in (401, 403), response.text
    error = response.json()
    assert (error["statusCode"], error["source"]) == (response.status_code, "DAYTONA_PROXY")
    return True


def test_download_and_upload(sandbox, client):
    up = sandbox.upload_url(f"signed/{NAME}")
    for sent in ({"content": b"raw"}, {"files": {"file": ("any name", b"as a form")}}):
        response = client.post(up, **sent)
        assert response.status_code == 200, response.text
        expected = sent.get("content", b"as a form")
        assert sandbox.fs.download_file(f"signed/{NAME}") == expected
        assert client.get(sandbox.download_url(f"signed/{NAME}")).content == expected
    partial = client.get(sandbox.download_url(f"signed/{NAME}"), headers={"Range": "bytes=3-6"})
    assert (partial.status_code, partial.content) == (206, b"a fo")
    missing = client.get(sandbox.download_url("signed/missing"))
    assert (missing.status_code, missing.json()["code"]) == (404, "FILE_NOT_FOUND")


def test_one_file_one_direction_one_time(sandbox, client):
    sandbox.fs.upload_file(b"x", "signed/a")
    url = sandbox.download_url("signed/a", ttl_seconds=60)
    assert client.get(url).status_code == 200
    assert refused(client.get(changed(url, path="signed/b")))
    assert refused(client.get(changed(url, expires=int(time.time()) + 10_000)))
    assert refused(client.get(changed(url, expires=0)))
    assert refused(client.get(changed(url, signature="v1_" + "A" * 43)))
    assert refused(client.post(url.replace("/files/download", "/files/upload-v2"), content=b"y"))
    assert refused(client.get(sandbox.upload_url("signed/a").replace("/files/upload-v2", "/files/download")))
    assert refused(client.get(url.replace("/files/download", "/files/info")))
    assert sandbox.fs.download_file("signed/a") == b"x"


def test_expiry(sandbox, client):
    sandbox.fs.upload_file(b"x", "signed/a")
    short, endless = sandbox.download_url("signed/a", ttl_seconds=4), sandbox.download_url("signed/a", ttl_seconds=0)
    assert client.get(short).status_code == 200
    expires = int(dict(parse_qsl(urlsplit(short).query))["expires"])
    # The passing of time is what is tested.
    time.sleep(max(0, expires - time.time()) + 0.1)
    assert refused(client.get(short))
    assert client.get(endless).status_code == 200


def test_rotation_and_restart(make_sandbox, client):
    sandbox = make_sandbox()
    sandbox.fs.upload_file(b"x", "a")
    url = sandbox.download_url("a")
    sandbox.stop()
    assert client.get(url).status_code >= 400
    sandbox.start()
    assert client.get(url).content == b"x"
    sandbox.rotate_signing_key()
    assert refused(client.get(url))
    assert client.get(sandbox.download_url("a")).content == b"x"
