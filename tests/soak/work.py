"""What a sandbox is used for, in small pieces: each checks what it gets and takes back what it made."""

import asyncio
import queue
import secrets
import threading

from daytona import (
    DaytonaError,
    DaytonaTimeoutError,
    FileDownloadRequest,
    FileUpload,
    LspCompletionPosition,
    SessionExecuteRequest,
)

# A language server takes seconds of a processor to start; all at once they would be all there is.
LANGUAGE_SERVERS = threading.Semaphore(2)
AUTHOR = {"author": "Ada", "email": "ada@example.com"}


def commands(sandbox):
    for number in range(20):
        answer = sandbox.process.exec(f"(true &) >/dev/null 2>&1; echo {number}; exit {number}")
        assert (answer.result, answer.exit_code) == (f"{number}\n", number)


def code(sandbox):
    answer = sandbox.process.code_run("import sys; print('out'); sys.exit(3)")
    assert (answer.result, answer.exit_code) == ("out\n", 3)


def overdue_command(sandbox):
    try:
        sandbox.process.exec("sleep 1000 & setsid sleep 1000 & wait", timeout=1)
    except DaytonaTimeoutError:
        return
    raise AssertionError("it ended in time")


def session(sandbox):
    name = f"s-{secrets.token_hex(4)}"
    process = sandbox.process
    process.create_session(name)
    process.execute_session_command(name, SessionExecuteRequest(command="cd /tmp; export A=1; sleep 1000 &"))
    started = process.execute_session_command(
        name, SessionExecuteRequest(command='read a; seq 2000; echo "$a $A" >&2', run_async=True)
    )
    process.send_session_command_input(name, started.cmd_id, "it")
    out, err = [], []
    asyncio.run(process.get_session_command_logs_async(name, started.cmd_id, out.append, err.append))
    assert ("".join(out)[-10:], "".join(err)) == ("1999\n2000\n", "it 1\n")
    process.delete_session(name)


def terminal(sandbox):
    shown, arrived = [], threading.Event()

    def take(data):
        shown.append(data)
        if b"42-done" in b"".join(shown):
            arrived.set()

    handle = open_terminal(sandbox)
    reader = threading.Thread(target=handle.wait, args=(take,))
    reader.start()
    handle.send_input("seq 3000; sleep 1000 &\n")
    handle.send_input("echo $((6*7))-done\n")
    assert arrived.wait(60), b"".join(shown)[-500:]
    if secrets.randbelow(2):
        handle.send_input("kill %1; exit\n")
    else:
        handle.kill()
    reader.join(60)
    assert not reader.is_alive()
    handle.disconnect()


def open_terminal(sandbox):
    """The SDK takes a tenth of a second without an answer for a failure, which is no time on a busy machine."""
    while True:
        name = f"t-{secrets.token_hex(4)}"
        try:
            return sandbox.process.create_pty_session(name)
        except DaytonaError as error:
            if not isinstance(error.__cause__, queue.Empty):
                raise
            sandbox.process.kill_pty_session(name)


def interpreter(sandbox):
    context = sandbox.code_interpreter.create_context(cwd="/tmp")
    run = sandbox.code_interpreter.run_code
    assert run("x = 41", context=context).error is None
    assert run("import os; print(x + 1, os.getcwd())", context=context).stdout == "42 /tmp\n"
    assert run("1/0", context=context).error.name == "ZeroDivisionError"
    sandbox.code_interpreter.delete_context(context)


def files(sandbox):
    folder = f"f-{secrets.token_hex(4)}"
    content = secrets.token_bytes(200_000)
    names = [f"{folder}/deep/{number} ü.txt" for number in range(20)]
    sandbox.fs.upload_files([FileUpload(content, name) for name in names])
    answers = sandbox.fs.download_files([FileDownloadRequest(source=name) for name in names])
    assert all(answer.result == content for answer in answers)
    sandbox.fs.upload_file(b"one\nneedle\n", f"{folder}/a")
    assert [match.line for match in sandbox.fs.find_files(folder, "needle")] == [2]
    assert len(sandbox.fs.search_files(folder, "*.txt").files) == 20
    sandbox.fs.move_files(f"{folder}/a", f"{folder}/b")
    sandbox.fs.set_file_permissions(f"{folder}/b", mode="600")
    assert sandbox.fs.get_file_info(f"{folder}/b").permissions == "0600"
    sandbox.fs.delete_file(folder, recursive=True)


def git(sandbox):
    folder = f"g-{secrets.token_hex(4)}"
    sandbox.git.init(f"{folder}/o.git", bare=True)
    sandbox.git.init(f"{folder}/work", initial_branch="main")
    sandbox.fs.upload_file(b"x", f"{folder}/work/a")
    sandbox.git.add(f"{folder}/work", ["."])
    sandbox.git.commit(f"{folder}/work", "first", **AUTHOR)
    sandbox.git.remote_add(f"{folder}/work", "origin", f"/home/daytona/{folder}/o.git")
    sandbox.git.push(f"{folder}/work", remote="origin", branch="main", set_upstream=True)
    sandbox.git.clone(f"/home/daytona/{folder}/o.git", f"{folder}/copy", branch="main")
    assert sandbox.git.status(f"{folder}/copy").current_branch == "main"
    sandbox.fs.delete_file(folder, recursive=True)


def language_server(sandbox):
    with LANGUAGE_SERVERS:
        edit(sandbox)


def edit(sandbox):
    folder = f"l-{secrets.token_hex(4)}"
    sandbox.fs.upload_file(b"class Greeter:\n    def greet(self): ...\n\n\nGreeter().\n", f"{folder}/main.py")
    server = sandbox.create_lsp_server("python", folder)
    server.start()
    server.did_open(f"{folder}/main.py")
    assert "Greeter" in [symbol.name for symbol in server.document_symbols(f"{folder}/main.py")]
    assert server.completions(f"{folder}/main.py", LspCompletionPosition(line=4, character=10)).items
    server.stop()
    sandbox.fs.delete_file(folder, recursive=True)


def stop_and_start(sandbox):
    sandbox.fs.upload_file(b"kept", "kept")
    sandbox.stop()
    sandbox.start()
    assert sandbox.fs.download_file("kept") == b"kept"


# How often each comes, of all.
MIX = {
    commands: 6,
    code: 3,
    overdue_command: 1,
    session: 6,
    terminal: 6,
    interpreter: 6,
    files: 6,
    git: 3,
    language_server: 1,
    stop_and_start: 1,
}
