"""Sessions: shells that keep their state between commands."""

import asyncio
import contextlib
import time

import pytest
import sdk
from daytona import DaytonaConflictError, DaytonaError, DaytonaNotFoundError, SessionExecuteRequest


@pytest.fixture
def session(sandbox, unique):
    sandbox.process.create_session(unique)
    yield unique
    with contextlib.suppress(DaytonaNotFoundError):
        sandbox.process.delete_session(unique)


def run(sandbox, session, command, **options):
    return sandbox.process.execute_session_command(session, SessionExecuteRequest(command=command, **options))


def wait_for_exit(sandbox, session, command_id):
    """The exit code, by following the logs to their end: it is there when they are."""
    asyncio.run(sandbox.process.get_session_command_logs_async(session, command_id, lambda _: None, lambda _: None))
    return sandbox.process.get_session_command(session, command_id).exit_code


def test_state_is_kept(sandbox, session):
    assert run(sandbox, session, "cd /tmp && export A=1 && f() { echo f-$1; } && x=local").exit_code == 0
    answer = run(sandbox, session, "pwd; echo $A $x; f 2; alias")
    assert answer.stdout == "/tmp\n1 local\nf-2\n"
    assert run(sandbox, session, "false").exit_code == 1


def test_outputs_are_separate(sandbox, session):
    answer = run(sandbox, session, "echo out; echo err >&2; exit_code() { return 3; }; exit_code")
    assert (answer.stdout, answer.stderr, answer.exit_code) == ("out\n", "err\n", 3)
    assert sorted(answer.output.split()) == ["err", "out"]
    logs = sandbox.process.get_session_command_logs(session, answer.cmd_id)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")


def test_output_without_a_last_newline(sandbox, session):
    assert run(sandbox, session, "printf abc").stdout == "abc"
    assert run(sandbox, session, "printf ''").stdout == ""
    assert run(sandbox, session, "printf 'ünï 漢字'").stdout == "ünï 漢字"


def test_many_lines_and_heredocs(sandbox, session):
    answer = run(sandbox, session, "cat <<'END'\n$HOME\n  two\nEND\nfor i in 1 2 3; do\n  echo $i\ndone")
    assert answer.stdout == "$HOME\n  two\n1\n2\n3\n"


def test_broken_syntax_does_not_end_the_session(sandbox, session):
    assert run(sandbox, session, "if then fi (").exit_code != 0
    assert run(sandbox, session, "echo 'unclosed").exit_code != 0
    assert run(sandbox, session, "echo alive").stdout == "alive\n"


def test_lists(sandbox, session):
    first = run(sandbox, session, "echo 1")
    second = run(sandbox, session, "exit_code() { return 4; }; exit_code")
    found = sandbox.process.get_session(session)
    assert found.session_id == session
    assert [(c.id, c.exit_code) for c in found.commands] == [(first.cmd_id, 0), (second.cmd_id, 4)]
    assert found.commands[0].command == "echo 1"
    assert session in [s.session_id for s in sandbox.process.list_sessions()]
    assert sandbox.process.get_session_command(session, first.cmd_id).exit_code == 0


def test_asynchronous(sandbox, session):
    began = time.monotonic()
    started = run(
        sandbox,
        session,
        "echo one; sleep 1; echo two >&2; sleep 0.2; exit_code() { return 6; }; exit_code",
        run_async=True,
    )
    assert time.monotonic() - began < 0.8
    assert sandbox.process.get_session_command(session, started.cmd_id).exit_code is None
    out, err, first_at = [], [], []

    def on_out(text):
        first_at.append(time.monotonic() - began)
        out.append(text)

    asyncio.run(sandbox.process.get_session_command_logs_async(session, started.cmd_id, on_out, err.append))
    assert ("".join(out), "".join(err)) == ("one\n", "two\n")
    assert first_at[0] < 0.9, "output comes as it is produced"
    assert 1.1 < time.monotonic() - began < 3
    assert sandbox.process.get_session_command(session, started.cmd_id).exit_code == 6


def test_follow_after_the_end_gives_everything(sandbox, session):
    started = run(sandbox, session, "seq 1 10000; echo done >&2")
    out, err = [], []
    asyncio.run(sandbox.process.get_session_command_logs_async(session, started.cmd_id, out.append, err.append))
    assert "".join(out).split() == [str(n) for n in range(1, 10001)]
    assert "".join(err) == "done\n"


def test_input(sandbox, session):
    started = run(sandbox, session, 'read a; read b; echo "got $a and $b"', run_async=True)
    sandbox.process.send_session_command_input(session, started.cmd_id, "one")
    sandbox.process.send_session_command_input(session, started.cmd_id, "two words\n")
    assert wait_for_exit(sandbox, session, started.cmd_id) == 0
    assert "got one and two words" in sandbox.process.get_session_command_logs(session, started.cmd_id).stdout


def test_input_without_echo(sandbox, session):
    started = run(sandbox, session, "read a; echo done", run_async=True, suppress_input_echo=True)
    sandbox.process.send_session_command_input(session, started.cmd_id, "secret")
    assert wait_for_exit(sandbox, session, started.cmd_id) == 0
    assert sandbox.process.get_session_command_logs(session, started.cmd_id).output == "done\n"


def test_input_after_the_end(sandbox, session):
    done = run(sandbox, session, "true")
    with pytest.raises(DaytonaError) as caught:
        sandbox.process.send_session_command_input(session, done.cmd_id, "late")
    assert caught.value.status_code in (404, 410)


def test_exit_ends_the_session(sandbox, session):
    assert run(sandbox, session, "exit 3").exit_code == 3
    with pytest.raises(DaytonaError) as caught:
        run(sandbox, session, "echo more")
    assert caught.value.status_code == 410


def test_delete_kills_everything(sandbox, session):
    run(
        sandbox,
        session,
        "sleep 2001 & setsid sleep 2002 & (sleep 2003 &); nohup sleep 2004 >/dev/null 2>&1 &",
        run_async=True,
    )
    run(sandbox, session, "sleep 0.1")
    run(sandbox, session, "sleep 2005", run_async=True)
    sandbox.process.delete_session(session)
    assert sandbox.process.exec("pgrep -f 'sleep 200[0-9]' | grep -v $$ | wc -l").result.strip() == "0"
    with pytest.raises(DaytonaNotFoundError):
        sandbox.process.get_session(session)


def test_ids(sandbox, session):
    with pytest.raises(DaytonaConflictError):
        sandbox.process.create_session(session)
    with pytest.raises(DaytonaNotFoundError):
        sandbox.process.get_session("no-such-session")
    with pytest.raises(DaytonaNotFoundError):
        run(sandbox, "no-such-session", "true")
    with pytest.raises(sdk.BAD_REQUEST):
        sandbox.process.create_session("entrypoint")
    for odd in ("with space", "ünï", "per%cent", "question?"):
        sandbox.process.create_session(odd)
        assert run(sandbox, odd, "echo odd").stdout == "odd\n"
        sandbox.process.delete_session(odd)


def test_entrypoint_session(sandbox):
    assert sandbox.process.get_entrypoint_session().session_id == "entrypoint"
    logs = sandbox.process.get_entrypoint_logs()
    out, err = [], []
    asyncio.run(sandbox.process.get_entrypoint_logs_async(out.append, err.append))
    assert ("".join(out), "".join(err)) == (logs.stdout, logs.stderr)
    assert "entrypoint" not in [s.session_id for s in sandbox.process.list_sessions()]


def test_sessions_are_apart(sandbox, session, unique):
    sandbox.process.create_session(f"{unique}-2")
    run(sandbox, session, "export ONLY=here; cd /tmp")
    assert run(sandbox, f"{unique}-2", "echo [$ONLY]; pwd").stdout == "[]\n/home/daytona\n"
    sandbox.process.delete_session(f"{unique}-2")


def test_much_output(sandbox, session):
    """Who follows from the start gets all of it, however much that is; the program waits for its reader."""
    started = run(sandbox, session, "echo go; read -r _; head -c 20000000 /dev/zero | tr '\\0' x", run_async=True)
    received = []

    def take(text):
        if not received:
            sandbox.process.send_session_command_input(session, started.cmd_id, "go")
        received.append(len(text.replace("go\n", "")))

    asyncio.run(sandbox.process.get_session_command_logs_async(session, started.cmd_id, take, lambda _: None))
    assert sum(received) == 20_000_000


def test_two_followers(sandbox, session):
    started = run(sandbox, session, "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done", run_async=True)

    async def both():
        texts = [[], []]
        await asyncio.gather(
            *(
                sandbox.process.get_session_command_logs_async(session, started.cmd_id, text.append, lambda _: None)
                for text in texts
            )
        )
        return ["".join(text) for text in texts]

    assert asyncio.run(both()) == ["1\n2\n3\n4\n5\n"] * 2


def test_background_process_of_a_command_goes_on(sandbox, session):
    run(sandbox, session, "(while :; do date +%N > beat; sleep 0.05; done) >/dev/null 2>&1 &")
    first = run(sandbox, session, "sleep 0.2; cat beat").stdout
    assert run(sandbox, session, "sleep 0.2; cat beat").stdout != first


def test_reading_commands_find_the_end(sandbox, session):
    answer = run(sandbox, session, "cat; read x; echo $?; python3 -")
    assert (answer.stdout, answer.exit_code) == ("1\n", 0)


def test_a_command_ends_with_its_text(sandbox, session):
    assert run(sandbox, session, "echo x \\").stdout == "x\n"
    answer = run(sandbox, session, "echo a; return 3; echo b")
    assert (answer.stdout, answer.exit_code) == ("a\n", 3)
    assert run(sandbox, session, "echo $?").stdout == "3\n"


def test_a_shell_that_goes_deaf_says_so(sandbox, session):
    assert "does not run commands any more" in run(sandbox, session, "set -n").stderr
    with pytest.raises(DaytonaError, match="does not run commands any more"):
        run(sandbox, session, "echo no")


def test_background_processes_do_not_hold_the_call(sandbox, session):
    begun = time.monotonic()
    assert run(sandbox, session, "sleep 61 &\necho up").stdout == "up\n"
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("odd", [".", "..", "a/b"])
def test_ids_that_fit_no_url(sandbox, odd):
    with pytest.raises(DaytonaError):
        sandbox.process.create_session(odd)
