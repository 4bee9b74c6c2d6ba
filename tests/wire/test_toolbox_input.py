"""Bad input to the routes inside a sandbox, and the proxy in front of them."""

import httpx
import pytest
from errors import check_toolbox_error

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def box(shared, toolbox):
    return toolbox(shared)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"command": 7}', b"{}"])
def test_malformed_command(box, content):
    response = box.post("/process/execute", content=content, headers={"Content-Type": "application/json"})
    check_toolbox_error(response, 400)


@pytest.mark.parametrize(
    "body",
    [
        {"command": ""},
        {"command": "true", "timeout": -1},
        {"command": "true", "timeout": "1"},
        {"command": "true", "envs": {"A B": "x"}},
        {"command": "true", "envs": {"A": 1}},
        {"command": "true", "envs": {"A": "\0"}},
        {"command": "true\0"},
    ],
)
def test_bad_command(box, body):
    check_toolbox_error(box.post("/process/execute", json=body), 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": "1"},
        {"code": "1", "language": "cobol"},
        {"language": "python"},
        {"code": "1", "language": "python", "argv": "x"},
    ],
)
def test_bad_code_run(box, body):
    check_toolbox_error(box.post("/process/code-run", json=body), 400)


@pytest.mark.parametrize(
    "method,path,status,code",
    [
        ("GET", "/files/info", 400, None),
        ("GET", "/files/info?path=", 400, None),
        ("GET", "/files/info?path=%00", 400, None),
        ("GET", "/files/info?path=missing", 404, "FILE_NOT_FOUND"),
        ("GET", "/files/info?path=/proc/self/nothing", 404, "FILE_NOT_FOUND"),
        ("GET", "/files?path=missing", 404, "FILE_NOT_FOUND"),
        ("GET", "/files?path=/etc/passwd", 400, None),
        ("GET", "/files?path=/&depth=0", 400, None),
        ("GET", "/files?path=/&depth=x", 400, None),
        ("GET", "/files/download?path=/etc", 400, "INVALID_FILE_PATH"),
        ("GET", "/files/download?path=missing", 404, "FILE_NOT_FOUND"),
        ("GET", "/files/download?path=/etc/shadow", 403, "FILE_ACCESS_DENIED"),
        ("DELETE", "/files?path=missing", 404, "FILE_NOT_FOUND"),
        ("DELETE", "/files?path=/home", 400, None),
        ("POST", "/files/folder?path=/etc/mine", 403, "FILE_ACCESS_DENIED"),
        ("POST", "/files/folder?path=x&mode=999", 400, None),
        ("POST", "/files/permissions?path=missing&mode=644", 404, "FILE_NOT_FOUND"),
        ("POST", "/files/permissions?path=.&owner=nobody-knows-me", 400, None),
        ("POST", "/files/move?source=missing&destination=x", 404, "FILE_NOT_FOUND"),
        ("POST", "/files/move?source=.", 400, None),
        ("GET", "/files/find?path=missing&pattern=x", 404, "FILE_NOT_FOUND"),
        ("GET", "/files/search?path=.", 400, None),
        ("GET", "/no/such/route", 404, None),
    ],
)
def test_bad_paths(box, method, path, status, code):
    check_toolbox_error(box.request(method, path), status, code)


def test_move_onto_what_exists(box):
    for name in ("m1", "m2"):
        assert box.post(f"/files/upload-v2?path={name}", content=b"x").status_code == 200
    check_toolbox_error(box.post("/files/move?source=m1&destination=m2"), 409)


def test_nothing_to_download(box):
    check_toolbox_error(box.post("/files/bulk-download", json={"paths": []}), 400)


def bulk(*parts, boundary="XX", end=True):
    """A multipart body from `(headers, content)` pairs."""
    body = b"".join(b"--XX\r\n" + headers + b"\r\n\r\n" + content + b"\r\n" for headers, content in parts)
    return {
        "content": body + (b"--XX--\r\n" if end else b""),
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }


PATH = b'Content-Disposition: form-data; name="files[0].path"'
FILE = b'Content-Disposition: form-data; name="files[0].file"; filename="x"'


@pytest.mark.parametrize(
    "request_",
    [
        bulk((PATH, b"cut"), (FILE, b"content"), end=False),
        bulk((FILE, b"no path")),
        bulk((PATH, b"\0"), (FILE, b"content")),
        bulk((b"Content-Disposition: nonsense", b"content")),
        bulk((b"X: y", b"content")),
        bulk((PATH, b"a"), (FILE, b"content"), boundary="other"),
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"x", "headers": {"Content-Type": "text/plain"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=XX"}},
        bulk((PATH, b"p" * 100_000), (FILE, b"content")),
        bulk((b"X: " + b"y" * 1_000_000, b"content")),
    ],
    ids=[
        "cut",
        "no-path",
        "zero",
        "nonsense",
        "no-name",
        "boundary",
        "no-boundary",
        "text",
        "empty",
        "long-path",
        "long-header",
    ],
)
def test_broken_multipart(box, request_):
    response = box.post("/files/bulk-upload", **request_)
    assert 400 <= response.status_code < 500, response.text
    assert box.get("/version").status_code == 200


@pytest.mark.parametrize("order", ["paths-first", "interleaved"])
def test_multipart_orders(box, order):
    path, content = (
        b'Content-Disposition: form-data; name="files[%d].path"',
        b'name="files[%d].file"; filename="a%%2Fb"',
    )
    one = [
        (path % 0, b"o/1"),
        (b"Content-Type: text/plain\r\nContent-Disposition: form-data; " + content % 0, b"first"),
    ]
    two = [(path % 1, b"o/2"), (b"content-disposition: form-data; " + content % 1, b"second\r\n--X")]
    parts = [one[0], two[0], one[1], two[1]] if order == "paths-first" else one + two
    response = box.post("/files/bulk-upload", **bulk(*parts))
    assert response.status_code == 200, response.text
    assert box.get("/files/download?path=o/1").content == b"first"
    assert box.get("/files/download?path=o/2").content == b"second\r\n--X"


def test_ranges(box):
    box.post("/files/upload-v2?path=range", content=b"0123456789")
    response = box.get("/files/download?path=range", headers={"Range": "bytes=2-4"})
    assert (response.status_code, response.content) == (206, b"234")
    assert response.headers["content-range"] == "bytes 2-4/10"
    assert box.get("/files/download?path=range", headers={"Range": "bytes=-3"}).content == b"789"
    assert box.get("/files/download?path=range", headers={"Range": "bytes=20-"}).status_code == 416


class TestProxy:
    def url(self, shared, sandbox_id=None):
        return f"{shared['toolboxProxyUrl']}/{sandbox_id or shared['id']}"

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-Daytona-Preview-Token": "wrong"}])
    def test_wrong_key(self, shared, headers):
        response = httpx.post(
            f"{self.url(shared)}/process/execute", json={"command": "true"}, headers=headers, trust_env=False
        )
        check_toolbox_error(response, 401)

    @pytest.mark.parametrize("sandbox_id", [UNKNOWN, "not-an-id", "..", "%2e%2e"])
    def test_unknown_sandbox(self, shared, api_key, sandbox_id):
        headers = {"Authorization": f"Bearer {api_key}"}
        response = httpx.get(f"{self.url(shared, sandbox_id)}/version", headers=headers, trust_env=False)
        assert response.status_code in (400, 404), response.text

    def test_stopped_sandbox(self, api, raw_sandbox, toolbox):
        sandbox = raw_sandbox()
        box = toolbox(sandbox)
        assert box.get("/version").status_code == 200
        response = api.post(f"/sandbox/{sandbox['id']}/stop")
        assert response.status_code == 200
        response = box.get("/version")
        assert 400 <= response.status_code < 500
        check_toolbox_error(response, response.status_code, None, "start")

    def test_credentials_stay_outside(self, shared, api, api_key, raw_sandbox, toolbox):
        """The agent is on the untrusted side: it never sees a key. A program that takes its place shows what it got."""
        sandbox = raw_sandbox()
        box = toolbox(sandbox)
        assert box.post("/process/execute", json={"command": "cat /proc/1/environ; env"}).status_code == 200
        answer = box.post(
            "/process/execute", json={"command": "env; sudo cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"}
        )
        assert api_key not in answer.json()["result"]

    def test_not_counted_as_activity(self, api, shared, toolbox):
        def last():
            return api.get(f"/sandbox/{shared['id']}").json()["lastActivityAt"]

        box = toolbox(shared)
        box.get("/version")
        before = last()
        box.get("/version", headers={"X-Daytona-Skip-Last-Activity-Update": "true"})
        assert last() == before


BODIES = {
    "POST /process/execute": ({"command": "true"}, "env", "envs"),
    "POST /process/code-run": ({"code": "1", "language": "python"}, "args", "argv"),
    "POST /process/session": ({"sessionId": "unknown-field"}, "session_id", "sessionId"),
    "POST /process/session/{process}/exec": ({"command": "true"}, "asynch", "async"),
    "POST /process/session/{process}/command/{command}/input": ({"data": ""}, "dat", "data"),
    "POST /process/pty": ({"id": "unknown-field"}, "columns", "cols"),
    "POST /process/pty/{process}/resize": ({"cols": 80, "rows": 24}, "row", "rows"),
    "POST /process/interpreter/context": ({}, "lang", "language"),
    "POST /env": ({}, "unsett", "unset"),
    "POST /files/replace": ({"files": [], "pattern": "a", "newValue": "b"}, "new_value", "newValue"),
    "POST /files/bulk-download": ({"paths": ["/etc/hostname"]}, "path", "paths"),
    "POST /git/clone": ({"url": "file:///none", "path": "none"}, "commitId", "commit_id"),
    "POST /git/init": ({"path": "none"}, "initialBranch", "initial_branch"),
    "POST /git/add": ({"path": "none", "files": []}, "file", "files"),
    "POST /git/commit": ({"path": "none", "message": "a", "author": "a", "email": "a"}, "allowEmpty", "allow_empty"),
    "POST /git/push": ({"path": "none"}, "user", "username"),
    "POST /git/pull": ({"path": "none"}, "pasword", "password"),
    "POST /git/branches": ({"path": "none", "name": "a"}, "names", "name"),
    "DELETE /git/branches": ({"path": "none", "name": "a"}, "names", "name"),
    "POST /git/checkout": ({"path": "none", "branch": "a"}, "branches", "branch"),
    "POST /git/reset": ({"path": "none"}, "targets", "target"),
    "POST /git/restore": ({"path": "none", "files": []}, "workTree", "worktree"),
    "POST /git/remotes": ({"path": "none", "name": "a", "url": "b"}, "overwrit", "overwrite"),
    "POST /git/config": ({"key": "a.b", "value": "c"}, "scop", "scope"),
    "POST /git/config/user": ({"name": "a", "email": "b"}, "mail", "email"),
    "POST /git/credentials": ({"username": "a", "password": "b"}, "hostname", "host"),
    "POST /lsp/start": ({"languageId": "python", "pathToProject": "/"}, "language_id", "languageId"),
    "POST /lsp/stop": ({"languageId": "python", "pathToProject": "/"}, "language_id", "languageId"),
    "POST /lsp/did-open": ({"languageId": "python", "pathToProject": "/", "uri": "a"}, "url", "uri"),
    "POST /lsp/did-close": ({"languageId": "python", "pathToProject": "/", "uri": "a"}, "url", "uri"),
    "POST /lsp/completions": (
        {"languageId": "python", "pathToProject": "/", "uri": "a", "position": {"line": 0, "character": 0}},
        "contexts",
        "context",
    ),
}


@pytest.fixture(scope="module")
def running(shared, api_key):
    """A session with a command that reads, and a terminal, for what is asked of those that there are."""
    headers = {"Authorization": f"Bearer {api_key}"}
    url = f"{shared['toolboxProxyUrl']}/{shared['id']}/process"
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as processes:
        assert processes.post("/session", json={"sessionId": "fields"}).status_code == 201
        assert processes.post("/pty", json={"id": "fields"}).status_code == 201
        command = processes.post("/session/fields/exec", json={"command": "cat", "runAsync": True}).json()["cmdId"]
    return {"process": "fields", "command": command}


@pytest.mark.parametrize("operation", BODIES)
def test_unknown_fields_are_refused_with_the_nearest_name(box, running, operation):
    """What nobody reads would be missed later: `env` for `envs` runs a command without its variables."""
    method, path = operation.split(" ")
    body, unknown, meant = BODIES[operation]
    response = box.request(method, path.format(**running), json=body | {unknown: None})
    check_toolbox_error(response, 400, "INVALID_REQUEST_BODY")
    assert f'unknown field "{unknown}": did you mean {meant}?' in response.json()["message"]


@pytest.mark.parametrize(
    "operation,unknown,meant",
    [
        ("GET /files?path=/", "dept", "depth"),
        ("DELETE /files?path=/none", "recursiv", "recursive"),
        ("GET /files/info?path=/", "paths", "path"),
        ("POST /files/folder?path=none", "mod", "mode"),
        ("POST /files/move?source=/none&destination=/none", "src", None),
        ("POST /files/permissions?path=/none", "own", "owner"),
        ("GET /files/find?path=/&pattern=a", "patern", "pattern"),
        ("GET /files/search?path=/&pattern=a", "patern", "pattern"),
        ("GET /files/download?path=/etc/hostname", "pth", "path"),
        ("POST /files/upload?path=none", "mode", None),
        ("GET /files/watch?path=/", "recursiv", "recursive"),
        ("GET /git/status?path=/", "pth", "path"),
        ("GET /git/config?key=a.b", "scop", "scope"),
        ("GET /process/session/none/command/none/logs", "folow", "follow"),
        ("POST /process/execute", "timeout", None),
        ("GET /lsp/workspacesymbols?languageId=a&pathToProject=b", "quer", "query"),
        ("GET /work-dir", "path", None),
    ],
)
def test_unknown_parameters_are_refused_with_the_nearest_name(box, operation, unknown, meant):
    method, path = operation.split(" ")
    response = box.request(method, f"{path}{'&' if '?' in path else '?'}{unknown}=true")
    check_toolbox_error(response, 400, "BAD_REQUEST")
    said = f'unknown query parameter "{unknown}"'
    assert said + (f": did you mean {meant}?" if meant else "") in response.json()["message"]


def test_fields_that_any_sdk_sends_are_understood(box, unique):
    """`runAsync` and `async` are the same; `suppressInputEcho` and `lazyStart` came later."""
    assert box.post("/process/session", json={"sessionId": unique}).status_code == 201
    for fields in ({"runAsync": True}, {"async": True}, {"runAsync": True, "async": True, "suppressInputEcho": True}):
        answer = box.post(f"/process/session/{unique}/exec", json={"command": "true"} | fields)
        assert answer.status_code == 202, answer.text
    execute = {"command": "echo $A", "cwd": "/", "envs": {"A": "b"}, "timeout": 10}
    assert box.post("/process/execute", json=execute).json()["result"] == "b\n"
    assert box.get("/files/info", params={"path": "/", "DAYTONA_SANDBOX_AUTH_KEY": "x"}).status_code == 200
