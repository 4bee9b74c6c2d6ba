"""What a client must not send: refused with a status, a shape and a text that says what to do; nothing is made."""

import httpx
import pytest
from errors import check_api_error

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"

BAD_CREATES = {
    # name: (body, words that the message must hold)
    "unknown snapshot": ({"snapshot": "no-such-snapshot"}, ["no-such-snapshot"]),
    "empty snapshot of wrong type": ({"snapshot": 7}, ["snapshot"]),
    "name with a space": ({"name": "a b"}, ["name"]),
    "name with a slash": ({"name": "a/b"}, ["name"]),
    "name of dots": ({"name": ".."}, ["name"]),
    "name with a leading dash": ({"name": "-a"}, ["name"]),
    "name that is not ASCII": ({"name": "ünï"}, ["name"]),
    "name with a new line": ({"name": "a\nb"}, ["name"]),
    "name with a zero byte": ({"name": "a\0b"}, ["name"]),
    "name that is too long": ({"name": "x" * 300}, ["name"]),
    "name of wrong type": ({"name": ["a"]}, ["name"]),
    "empty name": ({"name": ""}, ["name"]),
    "zero cpu": ({"cpu": 0}, ["cpu"]),
    "zero memory": ({"memory": 0}, ["memory"]),
    "zero disk": ({"disk": 0}, ["disk"]),
    "negative cpu": ({"cpu": -1}, ["cpu"]),
    "negative disk": ({"disk": -1}, ["disk"]),
    "half a cpu": ({"cpu": 0.5}, ["cpu"]),
    "cpu as text": ({"cpu": "1"}, ["cpu"]),
    "huge cpu": ({"cpu": 100_000}, ["cpu"]),
    "huge memory": ({"memory": 1_000_000}, ["memory"]),
    "huge disk": ({"disk": 10_000_000}, ["disk"]),
    "memory beyond any integer": ({"memory": 10**30}, ["memory"]),
    "negative auto-stop": ({"autoStopInterval": -1}, ["autoStopInterval"]),
    "negative auto-archive": ({"autoArchiveInterval": -1}, ["autoArchiveInterval"]),
    "auto-stop as text": ({"autoStopInterval": "soon"}, ["autoStopInterval"]),
    "unknown language": ({"labels": {"code-toolbox-language": "cobol"}}, ["cobol", "python"]),
    "label that is no text": ({"labels": {"a": 1}}, ["labels"]),
    "labels as a list": ({"labels": ["a"]}, ["labels"]),
    "bad variable name": ({"env": {"1A": "x"}}, ["1A"]),
    "empty variable name": ({"env": {"": "x"}}, ["env"]),
    "variable name with an equals sign": ({"env": {"A=B": "x"}}, ["env"]),
    "variable value with a zero byte": ({"env": {"A": "x\0y"}}, ["A"]),
    "variable value that is no text": ({"env": {"A": 1}}, ["env"]),
    "public as text": ({"public": "yes"}, ["public"]),
    "unknown user": ({"user": "nobody-knows-me"}, ["nobody-knows-me"]),
    "user of odd letters": ({"user": "../root"}, ["user"]),
    "gpu": ({"gpu": 1}, ["gpu"]),
}


def default_snapshot(api):
    return api.get("/config").json()["defaultSnapshot"]


@pytest.mark.parametrize("case", BAD_CREATES)
def test_create(api, case):
    body, words = BAD_CREATES[case]
    response = api.post("/sandbox", json=body)
    if response.status_code == 200:
        api.delete(f"/sandbox/{response.json()['id']}")
    check_api_error(response, 400, *words)


def test_create_with_sizes_and_a_snapshot(api):
    response = api.post("/sandbox", json={"snapshot": default_snapshot(api), "cpu": 1})
    check_api_error(response, 400, "snapshot")


@pytest.mark.parametrize(
    "body",
    [
        {"volumes": [{"volumeId": "v", "mountPath": "/v"}]},
        {"secrets": [{"A": "b"}]},
        {"buildInfo": {"dockerfileContent": "FROM x\n"}},
        {"linkedSandbox": "other"},
        {"networkBlockAll": True},
        {"networkAllowList": "10.0.0.0/8"},
        {"domainAllowList": "example.com"},
    ],
    ids=lambda body: next(iter(body)),
)
def test_what_is_asked_is_never_ignored(api, body):
    """A sandbox with less isolation, or less content, than was asked for must not come up."""
    response = api.post("/sandbox", json=body)
    if response.status_code == 200:
        made = response.json()
        api.delete(f"/sandbox/{made['id']}")
        field, value = next(iter(body.items()))
        assert made.get(field) == value, f"{field} was accepted and then forgotten"
    else:
        assert 400 <= response.status_code < 500
        check_api_error(response, response.status_code)


def test_duplicate_name(api, raw_sandbox, unique):
    raw_sandbox(name=unique)
    check_api_error(api.post("/sandbox", json={"name": unique}), 409, unique)


@pytest.mark.parametrize(
    "content",
    [b"{", b"nonsense", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"name": "a"} trailing', b'{"name":' * 5000],
    ids=["open", "nonsense", "list", "text", "null", "not-utf-8", "trailing", "deep"],
)
def test_malformed_body(api, content):
    response = api.post("/sandbox", content=content, headers={"Content-Type": "application/json"})
    check_api_error(response, 400)


def test_huge_body(api):
    """Refused without being kept in memory; some clients see the connection end instead of the answer."""
    response = api.post("/sandbox", content=b'{"name":"' + b"x" * 50_000_000 + b'"}')
    assert response.status_code in (400, 413)
    check_api_error(response, response.status_code)


@pytest.mark.parametrize(
    "method,path",
    [
        ("GET", f"/sandbox/{UNKNOWN}"),
        ("DELETE", f"/sandbox/{UNKNOWN}"),
        ("POST", f"/sandbox/{UNKNOWN}/start"),
        ("POST", f"/sandbox/{UNKNOWN}/stop"),
        ("POST", f"/sandbox/{UNKNOWN}/autostop/5"),
        ("POST", f"/sandbox/{UNKNOWN}/last-activity"),
        ("GET", f"/sandbox/{UNKNOWN}/toolbox-proxy-url"),
        ("GET", "/snapshots/no-such-snapshot"),
        ("GET", "/sandbox/%2e%2e%2fetc"),
        ("GET", "/sandbox/%00"),
        ("GET", "/sandbox/" + "x" * 3000),
    ],
)
def test_unknown_things(api, method, path):
    response = api.request(method, path)
    assert response.status_code in (400, 404)
    check_api_error(response, response.status_code)


def test_unknown_routes(api):
    check_api_error(api.get("/no/such/route"), 404)
    response = api.patch("/sandbox", json={})
    check_api_error(response, response.status_code)
    assert response.status_code in (404, 405)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "labels=nonsense",
        "labels=[]",
        'labels={"a":1}',
        "cursor=garbage",
        "sort=colour",
        "order=sideways",
        "states=flying",
        "minCpu=x",
        "createdAtAfter=yesterday",
        "isPublic=maybe",
    ],
)
def test_bad_queries(api, query):
    check_api_error(api.get(f"/sandbox?{query}"), 400, query.split("=")[0])


def test_an_unknown_query_is_refused_with_the_nearest_name(api):
    check_api_error(api.get("/sandbox?limits=10"), 400, "limits", "did you mean limit?")


@pytest.mark.parametrize(
    "query",
    [
        "createdAtAfter=2026-01-02T03:04:05.000000%2B0000",
        "createdAtAfter=2026-01-02T03:04:05.000000",
        "createdAtAfter=2026-01-02T03:04:05Z",
        "states=started&states=stopped",
        "verbose=true",
        "limit=200",
    ],
)
def test_lenient_queries(api, query):
    assert api.get(f"/sandbox?{query}").status_code == 200


@pytest.mark.parametrize(
    "path,status",
    [
        ("autostop/-1", 400),
        ("autostop/x", 400),
        ("autostop/1.5", 400),
        ("autostop/1e30", 400),
        ("autostop/NaN", 400),
        ("autoarchive/-1", 400),
        ("autodelete/x", 400),
        ("ttl/-1", 400),
        ("public/maybe", 400),
        ("autopause/5", 400),
        ("autostop/15", 200),
        ("autostop/1e+03", 200),
        ("autostop/0", 200),
        ("autodelete/-1", 200),
        ("autodelete/15.0", 200),
    ],
)
def test_setters(api, shared, path, status):
    response = api.post(f"/sandbox/{shared['id']}/{path}")
    if status == 200:
        assert response.status_code == 200, response.text
    else:
        check_api_error(response, status)


@pytest.mark.parametrize("body", [{}, {"labels": None}, {"labels": {"a": 1}}, {"labels": []}, []])
def test_bad_labels(api, shared, body):
    check_api_error(api.put(f"/sandbox/{shared['id']}/labels", json=body), 400)


def test_bodiless_post_with_form_type(api, shared):
    """What axios sends on calls without a body."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}
    assert api.post(f"/sandbox/{shared['id']}/autostop/15", headers=headers).status_code == 200


class TestKeys:
    def test_missing(self, anonymous):
        for method, path in (
            ("GET", "/sandbox"),
            ("POST", "/sandbox"),
            ("GET", f"/sandbox/{UNKNOWN}"),
            ("GET", "/snapshots"),
        ):
            check_api_error(anonymous.request(method, path), 401)

    @pytest.mark.parametrize("value", ["Bearer", "Bearer wrong", "Basic d3Jvbmc6", "wrong", "Bearer " + "x" * 8000])
    def test_wrong(self, anonymous, value):
        check_api_error(anonymous.get("/sandbox", headers={"Authorization": value}), 401)

    def test_not_needed(self, anonymous):
        assert anonymous.get("/health").status_code == 200
        config = anonymous.get("/config").json()
        assert config["defaultSnapshot"] and config["proxyToolboxUrl"]

    def test_of_another_organization(self, api):
        response = api.get("/sandbox", headers={"X-Daytona-Organization-ID": UNKNOWN})
        check_api_error(response, 403)

    def test_of_its_own_organization(self, api, shared):
        headers = {"X-Daytona-Organization-ID": shared["organizationId"]}
        assert api.get("/sandbox", headers=headers).status_code == 200

    def test_is_not_in_the_answer(self, api, api_key):
        response = api.post("/sandbox", json={"snapshot": "no-such"})
        assert api_key not in response.text


def test_the_server_still_works(api, raw_sandbox, toolbox):
    """After all of the above."""
    sandbox = raw_sandbox()
    answer = toolbox(sandbox).post("/process/execute", json={"command": "echo alive"}).json()
    assert answer == {"exitCode": 0, "result": "alive\n"}


def test_connection_is_kept_after_a_refusal(api_url, api_key):
    """Errors do not cost the client its connection."""
    with httpx.Client(base_url=api_url, headers={"Authorization": f"Bearer {api_key}"}, trust_env=False) as client:
        streams = []
        for _ in range(3):
            with client.stream("POST", "/sandbox", json={"cpu": 0}) as response:
                streams.append(response.extensions["network_stream"].get_extra_info("client_addr"))
                response.read()
        assert len(set(streams)) == 1
