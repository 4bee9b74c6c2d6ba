"""Changes of size through the SDK."""

import pytest
from daytona import AsyncDaytona, DaytonaError, Resources, SandboxState

GIB = 1 << 30


def shown(sandbox, command):
    answer = sandbox.process.exec(command)
    assert answer.exit_code == 0, answer.result
    return answer.result.strip()


def sizes(sandbox):
    return sandbox.cpu, sandbox.memory, sandbox.disk


def test_cpu_and_memory_of_a_running_sandbox(make_sandbox, daytona):
    sandbox = make_sandbox()
    sandbox.process.create_session("before")
    sandbox.resize(Resources(cpu=2, memory=2))
    assert sandbox.state == SandboxState.STARTED
    assert sizes(sandbox) == sizes(daytona.get(sandbox.id)) == (2, 2, 3)
    assert shown(sandbox, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max") == f"{2 * GIB}\n200000 100000"
    assert [found.session_id for found in sandbox.process.list_sessions()] == ["before"], "what ran runs on"
    with pytest.raises(DaytonaError, match="stop it first"):
        sandbox.resize(Resources(disk=5))
    with pytest.raises(DaytonaError, match="stop it first"):
        sandbox.resize(Resources(cpu=1, disk=5))
    assert sizes(daytona.get(sandbox.id)) == (2, 2, 3), "a refused change changes nothing"


def test_every_size_of_a_stopped_sandbox(make_sandbox, daytona):
    sandbox = make_sandbox()
    sandbox.fs.upload_file(b"kept", "kept.txt")
    sandbox.resize(Resources(memory=2))
    sandbox.stop()
    sandbox.resize(Resources(cpu=2, memory=1, disk=5))
    assert sandbox.state == SandboxState.STOPPED
    assert sizes(sandbox) == sizes(daytona.get(sandbox.id)) == (2, 1, 5)
    with pytest.raises(DaytonaError, match="only grow"):
        sandbox.resize(Resources(disk=4))
    sandbox.start()
    assert round(int(shown(sandbox, "df --output=size -B1 / | tail -n 1")) / GIB) == 5
    assert shown(sandbox, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max") == f"{GIB}\n200000 100000"
    assert sandbox.fs.download_file("kept.txt") == b"kept"


@pytest.mark.parametrize("sizes", [{}, {"cpu": 0}, {"memory": -1}, {"disk": 10**6}, {"cpu": 10**4}])
def test_sizes_that_are_refused(sandbox, sizes):
    # Some by the SDK itself.
    with pytest.raises(DaytonaError):
        sandbox.resize(Resources(**sizes))
    sandbox.refresh_data()
    assert sandbox.state == SandboxState.STARTED


def test_a_gpu_is_refused_by_the_sdk(sandbox):
    with pytest.raises(DaytonaError, match="gpu"):
        sandbox.resize(Resources(gpu=1))


async def test_resize_of_the_async_sdk(make_sandbox):
    made = make_sandbox()
    async with AsyncDaytona() as client:
        sandbox = await client.get(made.id)
        await sandbox.resize(Resources(cpu=2, memory=2))
        assert sizes(sandbox) == (2, 2, 3)
        with pytest.raises(DaytonaError, match="stop it first"):
            await sandbox.resize(Resources(disk=4))
        await sandbox.stop()
        await sandbox.resize(Resources(disk=4))
        assert sizes(sandbox) == (2, 2, 4)
