"""Every part of the toolbox once through the asynchronous SDK: sessions, terminals, files, git, language servers."""

import asyncio
import contextlib

import pytest
import pytest_asyncio
import sdk
from daytona import (
    AsyncDaytona,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaTimeoutError,
    LspCompletionPosition,
    SessionExecuteRequest,
)
from daytona.common.pty import PtySize

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHOR = {"author": "Ada", "email": "ada@example.com"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox():
    async with AsyncDaytona() as client:
        made = await client.create()
        yield made
        await made.delete()


@pytest_asyncio.fixture(loop_scope="module")
async def session(sandbox, unique):
    await sandbox.process.create_session(unique)
    yield unique
    with contextlib.suppress(DaytonaNotFoundError):
        await sandbox.process.delete_session(unique)


def run(sandbox, session, command, **options):
    return sandbox.process.execute_session_command(session, SessionExecuteRequest(command=command, **options))


async def sh(sandbox, command):
    answer = await sandbox.process.exec(f"set -e; {command}")
    assert answer.exit_code == 0, answer.result
    return answer.result


async def test_session(sandbox, session):
    await run(sandbox, session, "cd /tmp; export A=1")
    answer = await run(sandbox, session, "pwd; echo $A; echo err >&2; (exit 4)")
    assert (answer.stdout, answer.stderr, answer.exit_code) == ("/tmp\n1\n", "err\n", 4)
    found = await sandbox.process.get_session(session)
    assert [command.exit_code for command in found.commands] == [0, 4]
    assert session in [listed.session_id for listed in await sandbox.process.list_sessions()]
    logs = await sandbox.process.get_session_command_logs(session, answer.cmd_id)
    assert (logs.stdout, logs.stderr) == ("/tmp\n1\n", "err\n")
    with pytest.raises(DaytonaConflictError):
        await sandbox.process.create_session(session)
    await sandbox.process.delete_session(session)
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.process.get_session(session)


async def test_session_input_and_followed_logs(sandbox, session):
    started = await run(sandbox, session, 'read a; echo "got $a"; echo bad >&2; (exit 6)', run_async=True)
    assert (await sandbox.process.get_session_command(session, started.cmd_id)).exit_code is None
    out, err = [], []
    following = asyncio.create_task(
        sandbox.process.get_session_command_logs_async(session, started.cmd_id, out.append, err.append)
    )
    await sandbox.process.send_session_command_input(session, started.cmd_id, "it")
    await following
    assert ("".join(out), "".join(err)) == ("it\ngot it\n", "bad\n")
    assert (await sandbox.process.get_session_command(session, started.cmd_id)).exit_code == 6


async def test_entrypoint(sandbox):
    assert (await sandbox.process.get_entrypoint_session()).session_id == "entrypoint"
    logs = await sandbox.process.get_entrypoint_logs()
    out, err = [], []
    async with asyncio.timeout(10):
        await sandbox.process.get_entrypoint_logs_async(out.append, err.append)
    assert ("".join(out), "".join(err)) == (logs.stdout, logs.stderr)


class Screen:
    """What a terminal has shown so far."""

    def __init__(self):
        self.shown = ""
        self.changed = asyncio.Event()

    def take(self, data):
        self.shown += data.decode("utf-8", "replace")
        self.changed.set()

    async def until(self, text):
        async with asyncio.timeout(10):
            while text not in self.shown:
                self.changed.clear()
                await self.changed.wait()


async def test_terminal(sandbox, unique):
    screen = Screen()
    size = PtySize(rows=40, cols=132)
    handle = await sandbox.process.create_pty_session(
        unique, screen.take, cwd="/tmp", envs={"GREETING": "hello ü"}, pty_size=size
    )
    await handle.wait_for_connection()
    assert (handle.is_connected(), handle.session_id) == (True, unique)
    await handle.send_input("echo [$PWD] [$GREETING] size=$(stty size)\n")
    await screen.until("[/tmp] [hello ü] size=40 132")
    assert unique in [info.id for info in await sandbox.process.list_pty_sessions()]
    assert (await handle.resize(PtySize(rows=30, cols=100))).cols == 100
    assert (await sandbox.process.resize_pty_session(unique, PtySize(rows=31, cols=101))).cols == 101
    assert (await sandbox.process.get_pty_session_info(unique)).rows == 31

    second = Screen()
    other = await sandbox.process.connect_pty_session(unique, second.take)
    await other.wait_for_connection()
    await second.until("[/tmp] [hello ü]")
    await other.disconnect()
    await handle.send_input("exit 7\n")
    assert (await handle.wait()).exit_code == 7
    assert (handle.exit_code, handle.error) == (7, "non-zero exit")
    await handle.disconnect()


async def test_killed_terminals(sandbox, unique):
    for number, kill in enumerate((lambda handle: handle.kill(), lambda _: sandbox.process.kill_pty_session(name))):
        name = f"{unique}-{number}"
        handle = await sandbox.process.create_pty_session(name, lambda _: None)
        await handle.wait_for_connection()
        await kill(handle)
        assert (await handle.wait()).exit_code == 137
        with pytest.raises(DaytonaNotFoundError):
            await sandbox.process.get_pty_session_info(name)
        await handle.disconnect()


async def test_files(sandbox, unique):
    fs = sandbox.fs
    await fs.create_folder(unique, "755")
    await fs.upload_file(b"one\nneedle two\n", f"{unique}/a b.txt")
    await fs.upload_file(b"nothing", f"{unique}/d/b.md")
    assert sorted(info.name for info in await fs.list_files(unique)) == ["a b.txt", "d"]
    found = await fs.find_files(unique, "needle")
    assert [(match.line, match.content) for match in found] == [(2, "needle two")]
    assert [file.rpartition("/")[2] for file in (await fs.search_files(unique, "*.md")).files] == ["b.md"]
    assert (await fs.replace_in_files([f"{unique}/a b.txt"], "needle", "pin"))[0].success
    await fs.set_file_permissions(f"{unique}/a b.txt", mode="640", owner="daytona", group="daytona")
    await fs.move_files(f"{unique}/a b.txt", f"{unique}/moved")
    info = await fs.get_file_info(f"{unique}/moved")
    assert (info.permissions, info.owner, info.size) == ("0640", "daytona", 12)
    assert await fs.download_file(f"{unique}/moved") == b"one\npin two\n"
    await fs.delete_file(unique, recursive=True)
    with pytest.raises(sdk.FILE_NOT_FOUND):
        await fs.get_file_info(unique)


@pytest.mark.since("0.226")
async def test_git_settings_and_states(sandbox, unique):
    git = sandbox.git
    await git.init(f"{unique}.git", bare=True)
    await git.init(unique, initial_branch="main")
    await git.configure_user("Bob", "bob@example.com", scope="local", path=unique)
    assert await git.get_config("user.name", scope="local", path=unique) == "Bob"
    await git.set_config("sebring.test", "a value", scope="local", path=unique)
    assert await git.get_config("sebring.test", scope="local", path=unique) == "a value"
    await git.remote_add(unique, "origin", f"/home/daytona/{unique}.git")
    assert [remote.name for remote in (await git.remotes(unique)).remotes] == ["origin"]
    assert await git.remote_get(unique, "origin") == f"/home/daytona/{unique}.git"
    for text in ("one", "two"):
        await sandbox.fs.upload_file(text.encode(), f"{unique}/a.txt")
        await git.add(unique, ["a.txt"])
        await git.commit(unique, text, **AUTHOR)
    await git.push(unique, remote="origin", branch="main", set_upstream=True)
    await git.reset(unique, mode="hard", target="HEAD~1")
    status = await git.status(unique)
    assert (status.upstream, status.behind, status.file_status) == ("origin/main", 1, [])
    await git.pull(unique)
    await sandbox.fs.upload_file(b"three", f"{unique}/a.txt")
    await git.restore(unique, ["a.txt"])
    assert await sandbox.fs.download_file(f"{unique}/a.txt") == b"two"
    await git.dangerously_authenticate("user", "secret", host="example.com", protocol="https")
    assert "user:secret@example.com" in await sh(sandbox, "cat ~/.git-credentials")


async def test_interpreter(sandbox):
    interpreter = sandbox.code_interpreter
    seen = []
    result = await interpreter.run_code("x = 41\nprint('out')", on_stdout=lambda message: seen.append(message.output))
    assert (result.stdout, "".join(seen)) == ("out\n", "out\n")
    assert (await interpreter.run_code("print(x + 1)")).stdout == "42\n"
    assert (await interpreter.run_code("1/0")).error.name == "ZeroDivisionError"
    context = await interpreter.create_context(cwd="/tmp")
    assert (await interpreter.run_code("import os; print(os.getcwd())", context=context)).stdout == "/tmp\n"
    assert context.id in [found.id for found in await interpreter.list_contexts()]
    await interpreter.delete_context(context)
    with pytest.raises(DaytonaError):
        await interpreter.run_code("1", context=context)
    with pytest.raises(DaytonaTimeoutError):
        await interpreter.run_code("while True: pass", timeout=1)
    assert (await interpreter.run_code("print(x)")).stdout == "41\n"


@pytest.mark.timeout(200)
async def test_language_server(sandbox, unique):
    await sandbox.fs.upload_file(b"class Greeter:\n    def greet(self): ...\n\n\nGreeter().\n", f"{unique}/main.py")
    server = sandbox.create_lsp_server("python", unique)
    await server.start()
    await server.did_open(f"{unique}/main.py")
    assert "Greeter" in [symbol.name for symbol in await server.document_symbols(f"{unique}/main.py")]
    assert "Greeter" in [symbol.name for symbol in await server.sandbox_symbols("greet")]
    assert "Greeter" in [symbol.name for symbol in await server.workspace_symbols("greet")]
    found = await server.completions(f"{unique}/main.py", LspCompletionPosition(line=4, character=10))
    assert any(item.label.startswith("greet") for item in found.items)
    await server.did_close(f"{unique}/main.py")
    await server.stop()
    with pytest.raises(sdk.BAD_REQUEST):
        await server.did_open(f"{unique}/main.py")
