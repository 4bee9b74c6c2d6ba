"""Terminals."""

import contextlib
import queue
import threading

import pytest
from daytona import DaytonaConflictError, DaytonaError, DaytonaNotFoundError
from daytona.common.pty import PtySize


class Screen:
    """What a terminal has shown so far, collected in the background."""

    def __init__(self, handle):
        self.handle = handle
        self.shown = ""
        self.arrived = threading.Condition()
        self.result = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        def collect(data):
            with self.arrived:
                self.shown += data.decode("utf-8", "replace")
                self.arrived.notify_all()

        self.result.put(self.handle.wait(on_data=collect))

    def until(self, text, seconds=10):
        with self.arrived:
            assert self.arrived.wait_for(lambda: text in self.shown, seconds), self.shown
        return self.shown

    def end(self):
        return self.result.get(timeout=10)


@pytest.fixture
def pty(sandbox, unique):
    """`pty(**options)` opens a terminal; all are killed at the end."""
    opened = []

    def make(name=unique, **options):
        handle = sandbox.process.create_pty_session(name, **options)
        opened.append(handle)
        return handle, Screen(handle)

    yield make
    for handle in opened:
        with contextlib.suppress(DaytonaError):
            sandbox.process.kill_pty_session(handle.session_id)
        handle.disconnect()


def test_type_and_see(pty):
    handle, screen = pty()
    handle.send_input("echo $((6*7))-done\n")
    screen.until("42-done")
    handle.send_input("tty; test -t 0 && echo is-a-tty; echo $TERM\n")
    screen.until("is-a-tty")
    screen.until("xterm-256color")


def test_size_and_resize(pty, sandbox):
    handle, screen = pty(pty_size=PtySize(rows=40, cols=132))
    handle.send_input("echo size=$(stty size)\n")
    screen.until("size=40 132")
    info = handle.resize(PtySize(rows=10, cols=1000))
    assert (info.rows, info.cols) == (10, 1000)
    handle.send_input("echo size=$(stty size)\n")
    screen.until("size=10 1000")
    assert sandbox.process.get_pty_session_info(handle.session_id).cols == 1000
    assert sandbox.process.resize_pty_session(handle.session_id, PtySize(rows=11, cols=90)).cols == 90
    handle.send_input("echo size=$(stty size)\n")
    screen.until("size=11 90")


@pytest.mark.parametrize("rows,cols", [(0, 80), (24, 0), (1001, 80), (24, 1001)])
def test_impossible_sizes(sandbox, unique, rows, cols):
    with pytest.raises(DaytonaError):
        sandbox.process.create_pty_session(unique, pty_size=PtySize(rows=rows, cols=cols)).wait_for_connection()


def test_directory_and_environment(pty):
    handle, screen = pty(cwd="/tmp", envs={"GREETING": "hello there ü"})
    handle.send_input("echo [$PWD] [$GREETING]\n")
    screen.until("[/tmp] [hello there ü]")


@pytest.mark.parametrize("command,code", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_exit_code(pty, command, code):
    handle, screen = pty()
    assert handle.is_connected()
    handle.send_input(f"{command}\n")
    assert screen.end().exit_code == code
    assert (handle.exit_code, handle.is_connected()) == (code, False)
    assert (handle.error or "") == {0: "", 7: "non-zero exit", 137: "SIGKILL"}[code]


@pytest.mark.parametrize("command", ["exec {hog}", "{hog}; exit"], ids=["shell", "command"])
def test_lack_of_memory_is_the_reason(make_sandbox, command):
    """Of a shell that was killed, and of one that ends with the exit code of a command that was."""
    sandbox = make_sandbox()
    handle = sandbox.process.create_pty_session("hungry")
    screen = Screen(handle)
    handle.send_input(command.format(hog="python3 -c 'x = bytearray(3 << 30)'") + "\n")
    assert screen.result.get(timeout=60).exit_code == 137
    assert handle.error == "Killed: the sandbox ran out of memory (1024 MiB)"
    # Another one was not killed for it, though memory ran out before.
    other = sandbox.process.create_pty_session("other")
    other.kill()
    assert (Screen(other).end().exit_code, other.error) == (137, "SIGKILL")
    other.disconnect()
    handle.disconnect()


def test_interrupt(pty):
    handle, screen = pty()
    # From a program of its own: bash loses a signal that comes while it starts one.
    handle.send_input("sh -c 'echo begin; exec sleep 100'; echo never\n")
    screen.until("begin\r\n")
    handle.send_input("\x03")
    handle.send_input("echo after-$?\n")
    screen.until("after-130")


def test_list_info_and_kill(pty, sandbox):
    handle, screen = pty()
    listed = {info.id: info for info in sandbox.process.list_pty_sessions()}
    assert listed[handle.session_id].active
    assert (listed[handle.session_id].cols, listed[handle.session_id].rows) == (80, 24)
    sandbox.process.kill_pty_session(handle.session_id)
    assert screen.end().exit_code == 137
    with pytest.raises(DaytonaNotFoundError):
        sandbox.process.get_pty_session_info(handle.session_id)
    with pytest.raises(DaytonaNotFoundError):
        sandbox.process.kill_pty_session(handle.session_id)


def test_ids(pty, sandbox, unique):
    pty()
    with pytest.raises(DaytonaConflictError):
        sandbox.process.create_pty_session(unique)
    with pytest.raises(DaytonaError):
        sandbox.process.connect_pty_session("no-such-terminal").wait_for_connection()


def test_come_back(pty, sandbox):
    """A client that goes away does not end the shell; one that comes back sees the recent screen."""
    handle, screen = pty()
    handle.send_input("cd /tmp; X=kept; echo marker-$((1+1))\n")
    screen.until("marker-2")
    handle.disconnect()
    again = sandbox.process.connect_pty_session(handle.session_id)
    again.wait_for_connection()
    second = Screen(again)
    second.until("marker-2")
    again.send_input("echo [$X $PWD]\n")
    second.until("[kept /tmp]")
    again.disconnect()


def test_two_clients_see_the_same(pty, sandbox):
    handle, first = pty()
    other = sandbox.process.connect_pty_session(handle.session_id)
    other.wait_for_connection()
    second = Screen(other)
    handle.send_input("echo from-one\n")
    first.until("from-one\r\n")
    second.until("from-one\r\n")
    other.send_input("echo from-two\n")
    first.until("from-two\r\n")
    handle.send_input("exit 5\n")
    assert (first.end().exit_code, second.end().exit_code) == (5, 5)
    other.disconnect()


def test_much_output(pty):
    handle, screen = pty()
    handle.send_input("head -c 3000000 /dev/zero | tr '\\0' z; echo; echo the''-end\n")
    screen.until("the-end", 30)
    assert screen.shown.count("z") >= 3_000_000


def test_kill_ends_the_children(pty, sandbox):
    handle, screen = pty()
    handle.send_input("sleep 3001 & sleep 3002\n")
    screen.until("sleep 3002")
    handle.kill()
    screen.end()
    assert sandbox.process.exec("pgrep -f 'sleep 300[0-9]' | grep -v $$ | wc -l").result.strip() == "0"
