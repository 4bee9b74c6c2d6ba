"""Programs that draw on the whole screen, looked at through a terminal emulator."""

import threading

import pyte
import pytest
from daytona.common.pty import PtySize


class Emulator(pyte.Screen):
    """A screen that programs can ask for what it is, as they do when they start."""

    def __init__(self, columns, lines, answer):
        super().__init__(columns, lines)
        self.answer = answer

    def write_process_input(self, data):
        self.answer(data)

    def select_graphic_rendition(self, *attributes, private=False):
        """pyte takes questions of vim's about modified keys for attributes, and raises."""
        if not private:
            super().select_graphic_rendition(*attributes)


class Terminal:
    """A terminal of a sandbox on a screen of ours, drawn in the background."""

    def __init__(self, handle, columns, lines, answers=True):
        self.handle = handle
        self.screen = Emulator(columns, lines, handle.send_input if answers else lambda _: None)
        self.stream = pyte.ByteStream(self.screen)
        self.drawn = threading.Condition()
        threading.Thread(target=handle.wait, kwargs={"on_data": self._draw}, daemon=True).start()

    def _draw(self, data):
        with self.drawn:
            self.stream.feed(data)
            self.drawn.notify_all()

    def type(self, text):
        self.handle.send_input(text)

    def resize(self, columns, lines):
        with self.drawn:
            self.screen.resize(lines=lines, columns=columns)
        self.handle.resize(PtySize(rows=lines, cols=columns))

    def until(self, expected, seconds=15):
        """Waits until `expected(lines)` is true; the lines come without the blanks at their ends."""
        with self.drawn:
            seen = self.drawn.wait_for(lambda: expected(self.lines()), seconds)
            assert seen, "\n".join(self.lines())

    def lines(self):
        return [line.rstrip() for line in self.screen.display]


@pytest.fixture
def open_terminal(sandbox, unique):
    handles = []

    def attach(handle, columns, lines, answers=True):
        handles.append(handle)
        return Terminal(handle, columns, lines, answers)

    def make(columns=1000, lines=30, answers=True):
        handle = sandbox.process.create_pty_session(unique, pty_size=PtySize(rows=lines, cols=columns))
        return attach(handle, columns, lines, answers)

    def again(columns=1000, lines=30):
        handle = sandbox.process.connect_pty_session(unique)
        handle.wait_for_connection()
        return attach(handle, columns, lines)

    make.again = again
    yield make
    sandbox.process.kill_pty_session(unique)
    for handle in handles:
        handle.disconnect()


WIDE = "".join(chr(ord("a") + at % 26) for at in range(990))


def test_vi_on_a_thousand_columns(open_terminal, sandbox):
    terminal = open_terminal()
    terminal.type("vi wide.txt\n")
    terminal.until(lambda lines: lines[1:-1] == ["~"] * 28 and "wide.txt" in lines[-1])
    terminal.type(f"i{WIDE}\r\tsecond ü line\x1b")
    terminal.until(lambda lines: lines[0] == WIDE and lines[1] == "        second ü line" and lines[2] == "~")
    terminal.type(":w\r")
    terminal.until(lambda lines: "written" in lines[-1])
    assert sandbox.fs.download_file("wide.txt").decode() == f"{WIDE}\n\tsecond ü line\n"
    terminal.type("ggx")
    terminal.until(lambda lines: lines[0] == WIDE[1:])
    # The editor hears of the new size and breaks the line on its own.
    terminal.resize(100, 30)
    terminal.until(lambda lines: lines[0] == WIDE[1:101] and lines[10].lstrip() == "second ü line")
    terminal.type(":q!\r")
    terminal.until(lambda lines: any(line.endswith("$") for line in lines))


def test_another_client_sees_the_screen(open_terminal):
    """What is drawn for the one that comes later is the screen of the first, not only what is new."""
    terminal = open_terminal(80, 24)
    terminal.type("seq 300 > numbers; vi +200 numbers\n")
    terminal.until(lambda lines: "200" in lines and "/home" not in lines[0] and lines[-1].startswith('"numbers"'))
    first = terminal.lines()
    terminal.handle.disconnect()
    again = open_terminal.again(80, 24)
    again.until(lambda lines: lines == first)
    again.type("Go the end\x1b")
    again.until(lambda lines: " the end" in lines[-2])


def test_a_long_history_is_replayed_by_whole_lines(open_terminal):
    terminal = open_terminal(80, 24)
    terminal.type("seq 1 200000; echo fi''nished\n")
    terminal.until(lambda lines: "finished" in lines, 60)
    terminal.handle.disconnect()
    again = open_terminal.again(80, 24)
    again.until(lambda lines: "finished" in lines and "199999" in lines and "199980" in lines)


@pytest.mark.internet
class TestInstalled:
    """Programs that the default snapshot does not have."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def installed(cls, sandbox):
        command = "sudo apt-get -qq update && sudo apt-get -qq install -y --no-install-recommends tmux htop vim"
        answer = sandbox.process.exec(f"({command}) 2>&1", timeout=110)
        assert answer.exit_code == 0, answer.result

    def test_vim(self, open_terminal, sandbox):
        terminal = open_terminal()
        terminal.type("vim -u NONE --cmd 'set nocompatible number ruler' code.py\n")
        terminal.until(lambda lines: "  1" in lines[0] and lines[1] == "~")
        terminal.type("idef f():\rreturn 1\x1byyp:wq\r")
        terminal.until(lambda lines: any(line.endswith("$") for line in lines))
        assert sandbox.fs.download_file("code.py") == b"def f():\nreturn 1\nreturn 1\n"

    def test_tmux(self, open_terminal):
        # tmux takes pyte's answer to what terminal it is, a VT102's, for keys and passes it to the shell.
        terminal = open_terminal(answers=False)
        terminal.type("tmux -u\n")
        terminal.until(lambda lines: lines[-1].startswith("[0] 0:") and lines[0].endswith("$"))
        terminal.type("\x02%")  # a second pane beside the first
        terminal.until(lambda lines: all(line[500:501] in "│|" and len(line) > 500 for line in lines[:-1]))
        terminal.type("echo right-$((6*7))\r")
        terminal.until(lambda lines: any(line.find("right-42") > 500 for line in lines))
        terminal.type("\x02d")
        terminal.until(lambda lines: any("[detached" in line for line in lines))
        terminal.type("tmux attach\n")
        terminal.until(lambda lines: any(line.find("right-42") > 500 for line in lines))
        terminal.type("\x02d")

    def test_htop(self, open_terminal):
        terminal = open_terminal(200, 40)
        terminal.type("htop\n")
        terminal.until(lambda lines: any("PID" in line and "Command" in line for line in lines))
        terminal.until(lambda lines: any("Tasks:" in line for line in lines) and "F10Quit" in lines[-1])
        terminal.until(lambda lines: any(line.rstrip().endswith("htop") for line in lines))
        terminal.type("q")
        terminal.until(lambda lines: any(line.endswith("$") for line in lines))
