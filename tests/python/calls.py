"""Which public methods of the SDK the tests call: a full run fails when one of the toolbox has no test.

Calls are counted where a test makes them, not where the SDK calls itself. Each worker of a parallel run tells its own
at its end.
"""

import functools
import inspect
import sys
from pathlib import Path

import pytest
from daytona._async.code_interpreter import AsyncCodeInterpreter
from daytona._async.filesystem import AsyncFileSystem
from daytona._async.git import AsyncGit
from daytona._async.lsp_server import AsyncLspServer
from daytona._async.process import AsyncProcess
from daytona._sync.code_interpreter import CodeInterpreter
from daytona._sync.filesystem import FileSystem
from daytona._sync.git import Git
from daytona._sync.lsp_server import LspServer
from daytona._sync.process import Process
from daytona.handle.async_pty_handle import AsyncPtyHandle
from daytona.handle.pty_handle import PtyHandle

HERE = Path(__file__).parent
CLASSES = [
    *(Process, FileSystem, Git, LspServer, CodeInterpreter, PtyHandle),
    *(AsyncProcess, AsyncFileSystem, AsyncGit, AsyncLspServer, AsyncCodeInterpreter, AsyncPtyHandle),
]


def _public(cls):
    """Methods and properties by name; what is deprecated in favour of another name is one like any other."""
    members = inspect.getmembers(cls, lambda member: inspect.isfunction(member) or isinstance(member, property))
    return {name: member for name, member in members if not name.startswith("_")}


class Calls:
    """A plugin that counts from the moment it is made."""

    def __init__(self):
        self.known = {f"{cls.__name__}.{name}" for cls in CLASSES for name in _public(cls)}
        self.made = set()
        for cls in CLASSES:
            for name, member in _public(cls).items():
                setattr(cls, name, self._counted(f"{cls.__name__}.{name}", member))

    def _counted(self, name, member):
        if isinstance(member, property):
            return property(self._counted(name, member.fget))

        @functools.wraps(member)
        def call(*args, **kwargs):
            if Path(sys._getframe(1).f_code.co_filename).parent == HERE:
                self.made.add(name)
            return member(*args, **kwargs)

        return call

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        self.made.update(getattr(node, "workeroutput", {}).get("calls", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        config = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput["calls"] = sorted(self.made)
        elif self._untested(config) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter, config):
        untested = self._untested(config)
        if untested:
            terminalreporter.write_line(f"no test calls {', '.join(untested)}", red=True)

    def _untested(self, config):
        """Nothing can be said of a run that left tests out."""
        asked = config.option.keyword or config.option.markexpr or config.option.collectonly
        partial = asked or [Path(arg).resolve() for arg in config.args] != [HERE]
        return [] if partial else sorted(self.known - self.made)
