"""The two shapes that every refusal has."""

from datetime import datetime


def check_api_error(response, status, *words):
    """The API's error shape; `words` must all be in the message, which is for people."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:500]}"
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert body["statusCode"] == status
    assert isinstance(body["error"], str) and body["error"]
    assert isinstance(body["message"], str) and body["message"]
    assert body["path"].startswith("/api")
    datetime.fromisoformat(body["timestamp"].replace("Z", "+00:00"))
    for word in words:
        assert word.lower() in body["message"].lower(), body["message"]
    return body


def check_toolbox_error(response, status, code=None, *words):
    """The shape of everything under `/toolbox`."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:500]}"
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert body["statusCode"] == status
    assert isinstance(body["message"], str) and body["message"]
    assert body["source"] in ("DAYTONA_DAEMON", "DAYTONA_PROXY")
    assert isinstance(body["code"], str)
    if code:
        assert body["code"] == code, body
    datetime.fromisoformat(body["timestamp"].replace("Z", "+00:00"))
    for word in words:
        assert word.lower() in body["message"].lower(), body["message"]
    return body
