"""Create, find, change, stop, start and delete sandboxes, as the SDK's users do."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from daytona import DaytonaConflictError, DaytonaNotFoundError, SandboxState


def test_create_without_parameters(make_sandbox):
    sandbox = make_sandbox()
    assert sandbox.state == SandboxState.STARTED
    assert sandbox.name == sandbox.id
    assert sandbox.user == "daytona"
    assert (sandbox.cpu, sandbox.memory, sandbox.disk) == (1, 1, 3)
    assert sandbox.auto_stop_interval == 15
    assert sandbox.auto_archive_interval == 10080
    assert sandbox.auto_delete_interval == -1
    assert sandbox.public is False
    assert sandbox.labels["code-toolbox-language"] == "python"
    assert sandbox.snapshot
    assert sandbox.process.exec("echo ready").result.strip() == "ready"


def test_create_with_every_parameter(make_sandbox, unique):
    sandbox = make_sandbox(
        name=unique,
        language="javascript",
        env_vars={"GREETING": "hello world", "EMPTY": "", "QUOTE": 'it\'s "x" $HOME'},
        labels={"suite": unique, "stage": "dev"},
        auto_stop_interval=7,
        auto_archive_interval=60,
        auto_delete_interval=30,
        public=True,
        os_user="root",
    )
    assert sandbox.name == unique
    assert sandbox.labels["suite"] == unique
    assert sandbox.labels["code-toolbox-language"] == "javascript"
    assert sandbox.auto_stop_interval == 7
    assert sandbox.auto_archive_interval == 60
    assert sandbox.auto_delete_interval == 30
    assert sandbox.public is True
    assert sandbox.user == "root"
    assert sandbox.env["GREETING"] == "hello world"
    assert sandbox.process.exec("id -un").result.strip() == "root"
    shown = sandbox.process.exec('printf "%s|%s|%s" "$GREETING" "${EMPTY-unset}" "$QUOTE"').result
    assert shown == 'hello world||it\'s "x" $HOME'
    assert sandbox.process.code_run("console.log(6 * 7)").result.strip() == "42"


def test_create_names_the_snapshot(make_sandbox, api):
    default = api.get("/config").json()["defaultSnapshot"]
    assert make_sandbox(snapshot=default).snapshot == default


def test_ephemeral_is_deleted_when_stopped(make_sandbox, gone):
    sandbox = make_sandbox(ephemeral=True)
    assert sandbox.auto_delete_interval == 0
    sandbox.stop()
    gone(sandbox)


def test_names_are_unique_and_free_after_delete(make_sandbox, unique):
    first = make_sandbox(name=unique)
    with pytest.raises(DaytonaConflictError):
        make_sandbox(name=unique)
    first.delete()
    assert make_sandbox(name=unique).id != first.id


def test_get_by_id_and_by_name(make_sandbox, daytona, unique):
    sandbox = make_sandbox(name=unique)
    for key in (sandbox.id, unique):
        found = daytona.get(key)
        assert found.id == sandbox.id
        assert found.process.exec("echo found").result.strip() == "found"


def test_get_of_unknown(daytona, unique):
    with pytest.raises(DaytonaNotFoundError):
        daytona.get(unique)
    with pytest.raises(DaytonaNotFoundError):
        daytona.get("01890a5d-ac96-774b-bcce-b302099a8057")


def test_files_survive_stop_and_start(make_sandbox):
    sandbox = make_sandbox()
    sandbox.fs.upload_file(b"kept", "kept.txt")
    sandbox.process.exec("sudo sh -c 'echo root > /opt/root.txt && chmod 600 /opt/root.txt'")
    sandbox.stop()
    assert sandbox.state == SandboxState.STOPPED
    sandbox.start()
    assert sandbox.state == SandboxState.STARTED
    assert sandbox.fs.download_file("kept.txt") == b"kept"
    assert sandbox.process.exec("sudo cat /opt/root.txt").result == "root\n"
    assert sandbox.process.exec("stat -c '%U %a' /opt/root.txt").result == "root 600\n"


def test_stop_lets_processes_end_in_order(make_sandbox):
    """SIGTERM comes first: a process that asks for it may write its last words."""
    sandbox = make_sandbox()
    sandbox.process.exec(
        "nohup bash -c 'trap \"echo last words > ~/words; exit\" TERM; echo up > ~/up; while :; do sleep 0.05; done'"
        " >/dev/null 2>&1 & until [ -e ~/up ]; do sleep 0.01; done"
    )
    sandbox.stop()
    sandbox.start()
    assert sandbox.process.exec("cat ~/words").result == "last words\n"


def test_forced_stop_kills(make_sandbox):
    sandbox = make_sandbox()
    sandbox.process.exec(
        "nohup bash -c 'trap \"echo last words > ~/words\" TERM; echo up > ~/up; while :; do sleep 0.05; done'"
        " >/dev/null 2>&1 & until [ -e ~/up ]; do sleep 0.01; done"
    )
    began = time.monotonic()
    sandbox.stop(force=True)
    assert time.monotonic() - began < 2
    assert sandbox.state == SandboxState.STOPPED
    sandbox.start()
    assert sandbox.process.exec("test -e ~/words").exit_code == 1


def test_stop_and_start_again_and_again(make_sandbox):
    sandbox = make_sandbox()
    for turn in range(5):
        sandbox.process.exec(f"echo {turn} >> turns")
        sandbox.stop()
        sandbox.start()
    assert sandbox.process.exec("cat turns").result == "0\n1\n2\n3\n4\n"


def test_delete(make_sandbox, gone):
    sandbox = make_sandbox()
    sandbox.delete()
    gone(sandbox)


def test_delete_of_a_stopped_sandbox(make_sandbox, gone):
    sandbox = make_sandbox()
    sandbox.stop()
    sandbox.delete()
    gone(sandbox)


@pytest.mark.since("0.226")
def test_delete_and_wait(make_sandbox):
    sandbox = make_sandbox()
    sandbox.delete(wait=True)
    assert sandbox.state == SandboxState.DESTROYED


def test_labels_are_replaced(make_sandbox, daytona):
    sandbox = make_sandbox(labels={"old": "1"})
    assert sandbox.set_labels({"new": "2", "empty": ""}) == {"new": "2", "empty": ""}
    assert daytona.get(sandbox.id).labels == {"new": "2", "empty": ""}


def test_intervals(make_sandbox, daytona):
    sandbox = make_sandbox()
    sandbox.set_autostop_interval(42)
    sandbox.set_auto_archive_interval(90)
    sandbox.set_auto_delete_interval(60)
    found = daytona.get(sandbox.id)
    assert found.auto_stop_interval == 42
    assert found.auto_archive_interval == 90
    assert found.auto_delete_interval == 60
    sandbox.set_autostop_interval(0)
    sandbox.set_auto_delete_interval(-1)
    found = daytona.get(sandbox.id)
    assert found.auto_stop_interval == 0
    assert found.auto_delete_interval == -1


@pytest.mark.since("0.226")
def test_public_and_ttl(make_sandbox, daytona):
    sandbox = make_sandbox()
    sandbox.set_public(True)
    sandbox.set_ttl(10)
    found = daytona.get(sandbox.id)
    assert found.public is True
    assert found.auto_destroy_at
    sandbox.set_ttl(0)
    assert not daytona.get(sandbox.id).auto_destroy_at


def test_refresh_data_sees_what_another_client_did(make_sandbox, daytona):
    sandbox = make_sandbox()
    daytona.get(sandbox.id).set_labels({"seen": "yes"})
    sandbox.refresh_data()
    assert sandbox.labels == {"seen": "yes"}


def test_refresh_activity(make_sandbox, api):
    sandbox = make_sandbox()

    def last_activity():
        # Not as text: a fraction of a second has no zeros at its end.
        return datetime.fromisoformat(api.get(f"/sandbox/{sandbox.id}").json()["lastActivityAt"])

    before = last_activity()
    sandbox.refresh_activity()
    assert last_activity() > before


def test_directories(make_sandbox):
    sandbox = make_sandbox()
    assert sandbox.get_work_dir() == "/home/daytona"
    assert sandbox.get_user_home_dir() == "/home/daytona"
    root = make_sandbox(os_user="root")
    assert root.get_user_home_dir() == "/root"


def test_sudo_needs_no_password(make_sandbox):
    sandbox = make_sandbox()
    assert sandbox.process.exec("id -un; sudo id -un").result == "daytona\nroot\n"
    assert sandbox.process.exec("id -u").result == "1000\n"


def test_the_host_name_is_the_sandbox_name(make_sandbox, unique):
    assert make_sandbox(name=unique).process.exec("hostname").result.strip() == unique


def test_many_at_once(daytona):
    """Twenty creates from as many threads: each gets a sandbox of its own."""
    with ThreadPoolExecutor(20) as pool:
        sandboxes = list(pool.map(lambda _: daytona.create(), range(20)))
        try:
            results = list(pool.map(lambda s: s.process.exec("hostname").result.strip(), sandboxes))
            assert sorted(results) == sorted(sandbox.id for sandbox in sandboxes)
        finally:
            list(pool.map(lambda s: s.delete(), sandboxes))


def test_deleting_as_the_last_act_is_quiet():
    """What tells of the end must not reach a program that is ending itself: its threads would complain."""
    for _ in range(10):
        program = [sys.executable, Path(__file__).with_name("last_act.py")]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
