"""The main methods of whichever Python SDK is installed: one line of JSON that says of each "ok", "absent" or its failure.

Written in what all versions have in common; where they differ, each is called by its own form.
"""

import asyncio
import inspect
import json
import os
import sys
import traceback

try:
    import daytona as sdk
except ImportError:
    import daytona_sdk as sdk

# The alphas of version 2 keep this API in a namespace.
Client, AsyncClient = sdk.Daytona, getattr(sdk, "AsyncDaytona", None)
if hasattr(sdk, "DaytonaV2Client"):
    from daytona import v0 as sdk

    client, later = Client().v0, lambda: AsyncClient().v0
else:
    client, later = Client(), AsyncClient

Params = getattr(sdk, "CreateSandboxFromSnapshotParams", None) or sdk.CreateSandboxParams
# A file, and the label of what is made here.
GIT_SERVER, NAME = sys.argv[1:]

sandbox = None
STEPS = []


class Absent(Exception):
    """This version has no such method."""


def step(function):
    STEPS.append(function)
    return function


def equal(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def method(of, *names):
    for name in names:
        if hasattr(of, name):
            return getattr(of, name)
    raise Absent


def items(found):
    return [one.id for one in getattr(found, "items", found)]


def labelled():
    query = getattr(sdk, "ListSandboxesQuery", None)
    if query is not None and "query" in inspect.signature(client.list).parameters:
        return items(client.list(query(labels={"walk": NAME})))
    return items(client.list({"walk": NAME}))


@step
def create():
    global sandbox
    sandbox = client.create(
        Params(language="python", env_vars={"GIVEN": "yes"}, labels={"walk": NAME}, auto_stop_interval=15)
    )


@step
def get():
    equal(method(client, "get", "get_current_sandbox")(sandbox.id).id, sandbox.id)


@step
def list_all():
    assert sandbox.id in items(client.list())


@step
def list_by_label():
    if not [name for name in inspect.signature(client.list).parameters if name in ("labels", "query")]:
        raise Absent
    equal(labelled(), [sandbox.id])


@step
def execute():
    answer = sandbox.process.exec('echo "$GIVEN $EXTRA"; pwd', cwd="/tmp", env={"EXTRA": "more"})
    equal((answer.exit_code, answer.result.strip()), (0, "yes more\n/tmp"))
    equal(sandbox.process.exec("exit 3").exit_code, 3)


@step
def code_run():
    equal(sandbox.process.code_run("print(sum(range(10)))").result.strip(), "45")


@step
def session():
    process = sandbox.process
    process.create_session("walk")
    run = lambda command: process.execute_session_command("walk", sdk.SessionExecuteRequest(command=command))  # noqa: E731
    equal(run("export KEPT=1; cd /tmp").exit_code, 0)
    answer = run("echo $KEPT $(pwd); false")
    # Versions with a `stdout` of its own leave the marks of the streams in `output`.
    said = answer.output if getattr(answer, "stdout", None) is None else answer.stdout
    equal((answer.exit_code, said.strip()), (1, "1 /tmp"))
    equal(len(process.get_session("walk").commands), 2)


def background():
    request = sdk.SessionExecuteRequest(command="echo out; echo err >&2", run_async=True)
    return sandbox.process.execute_session_command("walk", request).cmd_id


@step
def session_follow():
    follow, command = method(sandbox.process, "get_session_command_logs_async"), background()
    out, err = [], []
    apart = "on_stderr" in inspect.signature(follow).parameters
    said = (out.append, err.append) if apart else (out.append,)
    asyncio.run(asyncio.wait_for(follow("walk", command, *said), 20))
    if apart:
        equal(("".join(out), "".join(err)), ("out\n", "err\n"))
    else:
        equal(sorted("".join(out).split()), ["err", "out"])
    equal(sandbox.process.get_session_command("walk", command).exit_code, 0)


@step
def session_logs():
    command = background()
    # A session's commands run one after another: what the first one said is whole after this.
    sandbox.process.execute_session_command("walk", sdk.SessionExecuteRequest(command="true"))
    logs = sandbox.process.get_session_command_logs("walk", command)
    if isinstance(logs, str):
        equal(sorted(logs.split()), ["err", "out"])
    else:
        equal((logs.stdout, logs.stderr), ("out\n", "err\n"))
    sandbox.process.delete_session("walk")


@step
def upload():
    fs = sandbox.fs
    fs.create_folder("walk", "755")
    fs.upload_file(b"one two", "walk/a.txt")
    fs.upload_files([sdk.FileUpload(source=b"three", destination="walk/b.txt")])


@step
def download():
    equal(sandbox.fs.download_file("walk/a.txt"), b"one two")


@step
def list_files():
    equal(sorted(file.name for file in sandbox.fs.list_files("walk")), ["a.txt", "b.txt"])
    equal(sandbox.fs.get_file_info("walk/b.txt").size, 5)


@step
def find():
    fs = sandbox.fs
    equal([match.line for match in fs.find_files("walk", "two")], [1])
    equal([name.rsplit("/", 1)[-1] for name in fs.search_files("walk", "b.*").files], ["b.txt"])


@step
def change_files():
    fs = sandbox.fs
    fs.replace_in_files(["walk/a.txt"], "two", "four")
    fs.move_files("walk/a.txt", "walk/c.txt")
    fs.set_file_permissions("walk/c.txt", mode="600")
    equal(fs.download_file("walk/c.txt"), b"one four")
    fs.delete_file("walk/c.txt")
    equal([file.name for file in fs.list_files("walk")], ["b.txt"])


@step
def git_clone():
    with open(GIT_SERVER, "rb") as server:
        sandbox.fs.upload_file(server.read(), "git_server.py")
    made = sandbox.process.exec(
        "cd && git init -q -b main seed && cd seed && echo x >x && git add x"
        " && git -c user.name=Ada -c user.email=a@example.com commit -qm first"
        " && git clone -q --bare . ../served/seed.git && cd && mkfifo up"
        " && (setsid python3 git_server.py served 8418 >up 2>git.log </dev/null &) && head -n 1 up"
    )
    equal((made.exit_code, made.result.strip()), (0, "listening"))
    sandbox.git.clone("http://127.0.0.1:8418/seed.git", "cloned", username="user", password="secret")
    equal(sandbox.fs.download_file("cloned/x"), b"x\n")


@step
def git_status():
    git = sandbox.git
    sandbox.fs.upload_file(b"y", "cloned/y")
    equal([file.name for file in git.status("cloned").file_status], ["y"])
    git.add("cloned", ["y"])
    git.commit("cloned", "second", "Ada", "ada@example.com")
    status = git.status("cloned")
    equal((status.current_branch, status.file_status or []), ("main", []))
    assert "main" in git.branches("cloned").branches


@step
def terminal():
    pty = method(sandbox.process, "create_pty_session")("walk")
    pty.wait_for_connection()
    pty.send_input("echo $((6 * 7)); exit\n")
    shown = []
    pty.wait(on_data=lambda data: shown.append(data if isinstance(data, bytes) else data.encode()))
    assert b"42" in b"".join(shown), shown


@step
def interpreter():
    found = method(sandbox, "code_interpreter")
    found.run_code("kept = 41")
    equal(found.run_code("print(kept + 1)").stdout, "42\n")


@step
def preview_link():
    assert sandbox.get_preview_link(3000).url


@step
def labels():
    sandbox.set_labels({"walk": NAME, "more": "yes"})
    equal(method(client, "get", "get_current_sandbox")(sandbox.id).labels, {"walk": NAME, "more": "yes"})


@step
def auto_stop():
    sandbox.set_autostop_interval(30)
    equal(method(client, "get", "get_current_sandbox")(sandbox.id).auto_stop_interval, 30)


@step
def stop():
    sandbox.stop()
    assert "stopped" in str(sandbox.state).lower(), sandbox.state


@step
def start():
    sandbox.start()
    equal(sandbox.fs.download_file("walk/b.txt"), b"three")


@step
def errors():
    for call in (lambda: client.get("no-such-sandbox"), lambda: sandbox.fs.download_file("none")):
        try:
            call()
        except sdk.DaytonaError as error:
            assert "not found" in str(error).lower() or "no such" in str(error).lower(), error
        else:
            raise AssertionError("no error")


@step
def delete():
    client.delete(sandbox)
    # It is answered before all of it is gone.
    try:
        assert "destroy" in str(client.get(sandbox.id).state).lower(), "it is still there"
    except sdk.DaytonaError as error:
        assert "not found" in str(error).lower(), error


@step
def asynchronous():
    if AsyncClient is None:
        raise Absent

    async def walk():
        client = later()
        try:
            sandbox = await client.create(Params(labels={"walk": NAME}))
            try:
                equal((await sandbox.process.exec("echo hi")).result.strip(), "hi")
                await sandbox.fs.upload_file(b"one", "a.txt")
                equal(await sandbox.fs.download_file("a.txt"), b"one")
            finally:
                await client.delete(sandbox)
        finally:
            await client.close() if hasattr(client, "close") else None

    asyncio.run(walk())


def main():
    report = {}
    for one in STEPS:
        try:
            one()
            report[one.__name__] = "ok"
        except Absent:
            report[one.__name__] = "absent"
        except BaseException as error:  # noqa: BLE001 - whatever an old SDK raises is the finding
            report[one.__name__] = f"{type(error).__name__}: {error}"
            traceback.print_exc()
            if sandbox is None:
                break
    print(json.dumps(report), flush=True)
    # Old versions keep threads.
    os._exit(0)


if __name__ == "__main__":
    main()
