"""Commands: `process.exec`."""

import time

import pytest
from daytona import DaytonaError
from sdk import BAD_REQUEST, TIMEOUT


def test_output_and_exit_code(sandbox):
    answer = sandbox.process.exec("echo hello")
    assert (answer.exit_code, answer.result) == (0, "hello\n")
    assert answer.artifacts.stdout == "hello\n"
    assert sandbox.process.exec("exit 7").exit_code == 7
    assert sandbox.process.exec("no-such-command").exit_code == 127
    assert sandbox.process.exec("kill -9 $$").exit_code == 137


def test_both_outputs_come_merged_in_order(sandbox):
    answer = sandbox.process.exec("echo 1; echo 2 >&2; echo 3; echo 4 >&2; exit 3")
    assert (answer.exit_code, answer.result) == (3, "1\n2\n3\n4\n")


def test_shell_syntax(sandbox):
    command = """
    f() { echo "$1-$2"; }
    for i in 1 2; do f "$i" 'a  b'; done | tac
    cat <<END
    $((6*7)) `echo tick` "quoted" 'single' \\$HOME ünï 漢字 🎉
END
    """
    shown = sandbox.process.exec(command).result
    assert shown == "2-a  b\n1-a  b\n    42 tick \"quoted\" 'single' $HOME ünï 漢字 🎉\n"


def test_working_directory(sandbox):
    assert sandbox.process.exec("pwd").result == "/home/daytona\n"
    assert sandbox.process.exec("pwd", cwd="/tmp").result == "/tmp\n"
    sandbox.process.exec("mkdir -p 'some dir/ünï'")
    assert sandbox.process.exec("pwd", cwd="some dir/ünï").result == "/home/daytona/some dir/ünï\n"


def test_missing_working_directory(sandbox):
    answer = sandbox.process.exec("pwd", cwd="/no/such/dir")
    assert answer.exit_code == -1
    assert "/no/such/dir" in answer.result


def test_environment(sandbox):
    env = {"A": "1", "SPACED": "x  y\nz", "QUOTED": '"it\'s"', "PATH_LIKE": "$HOME/bin"}
    shown = sandbox.process.exec('printf "%s|" "$A" "$SPACED" "$QUOTED" "$PATH_LIKE" "$HOME" "$USER"', env=env).result
    assert shown == '1|x  y\nz|"it\'s"|$HOME/bin|/home/daytona|daytona|'
    assert sandbox.process.exec('echo "[$A]"').result == "[]\n", "it is of that one command only"


def test_environment_of_the_command_wins(make_sandbox):
    sandbox = make_sandbox(env_vars={"WHO": "sandbox"})
    assert sandbox.process.exec("echo $WHO").result == "sandbox\n"
    assert sandbox.process.exec("echo $WHO", env={"WHO": "command"}).result == "command\n"


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", ""])
def test_bad_environment_name(sandbox, name):
    """0.226 refuses it in the SDK, 0.190 sends it."""
    with pytest.raises(DaytonaError):
        sandbox.process.exec("true", env={name: "x"})


def test_timeout(sandbox):
    began = time.monotonic()
    with pytest.raises(TIMEOUT, match="timeout"):
        sandbox.process.exec("echo started; sleep 100", timeout=1)
    assert 0.9 < time.monotonic() - began < 2


@pytest.mark.since("0.226")
def test_timeout_has_its_own_class(sandbox):
    from daytona import DaytonaProcessExecutionTimeoutError

    with pytest.raises(DaytonaProcessExecutionTimeoutError) as caught:
        sandbox.process.exec("sleep 100", timeout=1)
    assert (caught.value.status_code, caught.value.code) == (408, "PROCESS_EXECUTION_TIMEOUT")


def test_timeout_ends_all_that_the_command_started(make_sandbox):
    """Children, grandchildren in other process groups and sessions, and those that ignore SIGTERM."""
    sandbox = make_sandbox()
    with pytest.raises(TIMEOUT):
        sandbox.process.exec(
            "sleep 1001 & (sleep 1002 &) ; setsid sleep 1003 & bash -c 'trap \"\" TERM INT HUP; sleep 1004; :' & wait",
            timeout=1,
        )
    assert sandbox.process.exec("pgrep -f 'sleep 100[0-9]' | grep -v $$").result == ""


def test_fast_commands_do_not_wait_for_the_timeout(sandbox):
    began = time.monotonic()
    assert sandbox.process.exec("echo quick", timeout=30).result == "quick\n"
    assert time.monotonic() - began < 1


def test_redirected_background_process_does_not_hold_the_call(sandbox):
    began = time.monotonic()
    sandbox.process.exec("sleep 30 >/dev/null 2>&1 &")
    assert time.monotonic() - began < 1


def test_background_processes_do_not_hold_the_call(sandbox):
    begun = time.monotonic()
    answer = sandbox.process.exec("sleep 60 &\necho up", timeout=30)
    assert (answer.result, time.monotonic() - begun < 20) == ("up\n", True)
    assert sandbox.process.exec("pkill -f 'sleep 60'").exit_code == 0


@pytest.mark.parametrize("command", ["+O", "-c id", "--help"])
def test_commands_that_look_like_options(sandbox, command):
    assert sandbox.process.exec(command).exit_code == 127


def test_standard_input_is_empty(sandbox):
    """A command that reads its input ends instead of hanging or eating the script."""
    answer = sandbox.process.exec("cat; echo after", timeout=10)
    assert (answer.exit_code, answer.result) == (0, "after\n")


def test_empty_command(sandbox):
    with pytest.raises(BAD_REQUEST):
        sandbox.process.exec("")


def test_long_command_and_long_output(sandbox):
    word = "x" * 1_000_000
    answer = sandbox.process.exec(f"printf %s {word} | wc -c")
    assert answer.result.strip() == "1000000"
    answer = sandbox.process.exec("head -c 5000000 /dev/zero | tr '\\0' a")
    assert answer.result == "a" * 5_000_000


def test_output_that_is_not_text(sandbox):
    answer = sandbox.process.exec("printf 'a\\377b'; printf '\\0c'")
    assert answer.result == "a\ufffdb\0c"


def test_no_zombies(make_sandbox):
    sandbox = make_sandbox()
    for _ in range(50):
        sandbox.process.exec("(true &) ; (sleep 0 &) ; true")
    assert sandbox.process.exec("ps -eo stat= | grep -c '^Z'").result == "0\n"


def test_parallel_commands(sandbox):
    from concurrent.futures import ThreadPoolExecutor

    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda n: sandbox.process.exec(f"sleep 0.5; echo {n}").result, range(20)))
    assert results == [f"{n}\n" for n in range(20)]
    assert time.monotonic() - began < 5, "they run side by side"


def test_signals_reach_a_background_process_group(sandbox):
    pid = sandbox.process.exec("sleep 1000 >/dev/null 2>&1 & echo $!").result.strip()
    assert sandbox.process.exec(f"kill {pid}; tail --pid={pid} -f /dev/null; kill -0 {pid}").exit_code == 1
