"""Every operation of the toolbox, as its own document lists them, refuses what it cannot do in the one shape."""

import json
from pathlib import Path

import pytest
from errors import check_toolbox_error

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "toolbox-openapi.json").read_text())
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
# These take nothing, so there is nothing to refuse.
TAKE_NOTHING = {
    "GET /port",
    "GET /process/interpreter/context",
    "GET /process/pty",
    "GET /process/session",
    "GET /process/session/entrypoint/logs",
    "GET /project-dir",
    "GET /system/metrics",
    "GET /user-home-dir",
    "GET /version",
    "GET /work-dir",
    "POST /init",
}
# The code where the first thing to be wrong is another one than the body or the query.
OTHER_CODES = {
    "GET /files": "FILE_NOT_FOUND",
    "GET /files/watch": "FILE_NOT_FOUND",
    "GET /port/{port}/in-use": "BAD_REQUEST",
    "GET /process/interpreter/execute": "BAD_REQUEST",
    "GET /process/pty/{id}/connect": "BAD_REQUEST",
    "DELETE /process/interpreter/context/{id}": "NOT_FOUND",
}


@pytest.fixture(scope="module")
def box(shared, api_key):
    import httpx

    with httpx.Client(
        base_url=f"{shared['toolboxProxyUrl']}/{shared['id']}",
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


def expected(name, path, operation):
    if name in OTHER_CODES:
        return OTHER_CODES[name]
    if "{" in path:
        return "PROCESS_NOT_FOUND"
    body = operation.get("requestBody", {}).get("content", {})
    return "INVALID_REQUEST_BODY" if "application/json" in body else "BAD_REQUEST"


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_refusal(box, method, path, operation):
    name = f"{method} {path}"
    query = {"path": "no/such/path"} if name in ("GET /files", "GET /files/watch") else {}
    url = path.replace("{", "no-such-").replace("}", "")
    response = box.request(method, url, params=query, json=["of another type"])
    if name in TAKE_NOTHING:
        assert response.status_code == 200, response.text
        return
    code = expected(name, path, operation)
    status = 404 if code.endswith("NOT_FOUND") else 400
    error = check_toolbox_error(response, status, code)
    assert (error["source"], error["method"]) == ("DAYTONA_DAEMON", method)
    assert error["path"] == url


def test_lists_are_current():
    assert set(NAMES) >= TAKE_NOTHING | set(OTHER_CODES)
