"""Each HTTP status arrives as the class that the SDK documents, with a text that says what to do."""

import pytest
from daytona import (
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaAuthenticationError,
    DaytonaConfig,
    DaytonaConflictError,
    DaytonaNotFoundError,
)
from sdk import BAD_REQUEST


@pytest.mark.parametrize("key", ["wrong", "x" * 5000, "dtn_0000"])
def test_wrong_key(api_url, key):
    with pytest.raises(DaytonaAuthenticationError):
        Daytona(DaytonaConfig(api_key=key, api_url=api_url)).create()


def test_wrong_key_for_the_toolbox(sandbox, api_url):
    found = Daytona(DaytonaConfig(api_key="wrong", api_url=api_url))
    with pytest.raises(DaytonaAuthenticationError):
        found.get(sandbox.id)


def test_not_found(daytona, sandbox, unique):
    with pytest.raises(DaytonaNotFoundError, match=unique):
        daytona.get(unique)


def test_conflict(make_sandbox, unique):
    make_sandbox(name=unique)
    with pytest.raises(DaytonaConflictError, match=unique):
        make_sandbox(name=unique)


@pytest.mark.parametrize(
    "params",
    [
        {"snapshot": "no-such-snapshot"},
        {"name": "a b"},
        {"name": "x" * 300},
        {"auto_stop_interval": -5},
        {"env_vars": {"1BAD": "x"}},
    ],
    ids=lambda params: next(iter(params)),
)
def test_bad_request(daytona, params):
    with pytest.raises(BAD_REQUEST):
        daytona.create(CreateSandboxFromSnapshotParams(**params))


def test_deleted_sandbox(make_sandbox, gone):
    """A handle that outlived its sandbox."""
    sandbox = make_sandbox()
    sandbox.delete()
    gone(sandbox)
    for call in (sandbox.start, sandbox.refresh_data, sandbox.refresh_activity, lambda: sandbox.set_labels({})):
        with pytest.raises(DaytonaNotFoundError):
            call()
    with pytest.raises(DaytonaNotFoundError):
        sandbox.process.exec("true")


def test_stopped_sandbox(make_sandbox):
    """The text tells to start it."""
    sandbox = make_sandbox()
    sandbox.stop()
    with pytest.raises(Exception, match="(?i)start"):
        sandbox.process.exec("true")
    with pytest.raises(Exception, match="(?i)start"):
        sandbox.fs.list_files(".")


@pytest.mark.since("0.226")
def test_codes_and_sources(sandbox):
    from daytona import DaytonaFileAccessDeniedError, DaytonaFileNotFoundError, DaytonaInvalidFilePathError

    for error, status, path in (
        (DaytonaFileNotFoundError, 404, "missing"),
        (DaytonaFileAccessDeniedError, 403, "/etc/shadow"),
        (DaytonaInvalidFilePathError, 400, "/etc"),
    ):
        with pytest.raises(error) as caught:
            sandbox.fs.download_file(path)
        assert caught.value.status_code == status
        assert caught.value.source == "DAYTONA_DAEMON"
