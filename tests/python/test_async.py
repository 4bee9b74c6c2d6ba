"""The main lines once more through the asynchronous SDK, whose bytes on the wire differ (aiohttp, part order, events)."""

import asyncio
import os

import pytest
import pytest_asyncio
from daytona import (
    AsyncDaytona,
    CodeRunParams,
    CreateSandboxFromSnapshotParams,
    DaytonaNotFoundError,
    FileDownloadRequest,
    FileUpload,
    ListSandboxesQuery,
    SandboxState,
)
from sdk import FILE_NOT_FOUND, TIMEOUT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daytona():
    async with AsyncDaytona() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(daytona):
    made = await daytona.create()
    yield made
    await made.delete()


async def test_life(daytona, unique):
    sandbox = await daytona.create(
        CreateSandboxFromSnapshotParams(name=unique, labels={"async": unique}, env_vars={"WHO": "async"})
    )
    assert (await sandbox.process.exec("echo $WHO")).result == "async\n"
    assert [found.id async for found in daytona.list(ListSandboxesQuery(labels={"async": unique}))] == [sandbox.id]
    assert await sandbox.set_labels({"a": "b"}) == {"a": "b"}
    await sandbox.set_autostop_interval(3)
    await sandbox.refresh_data()
    assert sandbox.auto_stop_interval == 3
    await sandbox.stop()
    assert sandbox.state == SandboxState.STOPPED
    await sandbox.start()
    assert sandbox.state == SandboxState.STARTED
    assert await sandbox.get_work_dir() == "/home/daytona"
    await sandbox.refresh_activity()
    await sandbox.delete()
    with pytest.raises(DaytonaNotFoundError):
        await daytona.get(unique)


async def test_no_wait_costs_a_second(daytona):
    spent = []
    for _ in range(3):
        began = asyncio.get_running_loop().time()
        sandbox = await daytona.create()
        await sandbox.stop()
        await sandbox.start()
        await sandbox.delete()
        spent.append(asyncio.get_running_loop().time() - began)
    assert min(spent) < 0.9


async def test_commands_side_by_side(sandbox):
    answers = await asyncio.gather(*(sandbox.process.exec(f"sleep 0.3; echo {n}") for n in range(20)))
    assert [answer.result for answer in answers] == [f"{n}\n" for n in range(20)]


async def test_exit_code_and_timeout(sandbox):
    assert (await sandbox.process.exec("exit 4")).exit_code == 4
    with pytest.raises(TIMEOUT, match="timeout"):
        await sandbox.process.exec("sleep 100", timeout=1)


async def test_code_run(sandbox):
    answer = await sandbox.process.code_run(
        "import sys, os; print(sys.argv[1], os.environ['X'])", CodeRunParams(argv=["a"], env={"X": "y"})
    )
    assert (answer.exit_code, answer.result) == (0, "a y\n")


async def test_bulk_files(sandbox, tmp_path):
    """Interleaved parts, percent-encoded names, headers in another order than the synchronous SDK."""
    local = tmp_path / "l"
    local.write_bytes(b"local")
    names = ["plain", "with space", "ünï 漢字", "-dash", "per%cent"]
    await sandbox.fs.upload_files(
        [FileUpload(name.encode(), f"async/{name}") for name in names] + [FileUpload(str(local), "async/local")]
    )
    answers = await sandbox.fs.download_files(
        [FileDownloadRequest(source=f"async/{name}") for name in names]
        + [FileDownloadRequest(source="async/local", destination=str(tmp_path / "back"))]
        + [FileDownloadRequest(source="async/missing")]
    )
    assert [answer.result for answer in answers[:5]] == [name.encode() for name in names]
    assert (tmp_path / "back").read_bytes() == b"local"
    assert answers[6].error
    with pytest.raises(FILE_NOT_FOUND):
        await sandbox.fs.download_file("async/missing")


async def test_streams(sandbox):
    content = os.urandom(3_000_000)
    sent, received = [], []
    await sandbox.fs.upload_file_stream(content, "streamed", on_progress=lambda p: sent.append(p.bytes_sent))
    stream = await sandbox.fs.download_file_stream("streamed", on_progress=lambda p: received.append(p.bytes_received))
    assert b"".join([chunk async for chunk in stream]) == content
    assert sent[-1] == received[-1] == len(content)
    await sandbox.fs.delete_file("streamed")


async def test_git(sandbox):
    author = {"author": "Ada", "email": "ada@example.com"}
    made = await sandbox.process.exec("git init -q --bare async.git -b main")
    assert made.exit_code == 0, made.result
    await sandbox.git.clone("async.git", "async-work")
    await sandbox.fs.upload_file(b"one", "async-work/a.txt")
    assert [file.name for file in (await sandbox.git.status("async-work")).file_status] == ["a.txt"]
    await sandbox.git.add("async-work", ["."])
    done = await sandbox.git.commit("async-work", "first", **author)
    await sandbox.git.push("async-work")
    await sandbox.git.clone("async.git", "async-copy", branch="main")
    head = await sandbox.process.exec("git -C async-copy rev-parse HEAD")
    assert head.result.strip() == done.sha
    await sandbox.git.create_branch("async-copy", "topic")
    await sandbox.git.checkout_branch("async-copy", "main")
    assert set((await sandbox.git.branches("async-copy")).branches) == {"main", "topic"}
    await sandbox.git.delete_branch("async-copy", "topic")
    await sandbox.git.pull("async-copy")
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.git.status("/tmp")
