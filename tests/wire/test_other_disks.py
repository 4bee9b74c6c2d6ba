"""What a sandbox sees of the disks of others."""

import pytest

SEEN = "/sys/block /sys/class/block /sys/dev/block /sys/devices/virtual/block /sys/fs/ext4 /sys/fs/xfs /sys/class/bdi"


@pytest.fixture
def run(shared, toolbox):
    box = toolbox(shared)

    def run(command):
        response = box.post("/process/execute", json={"command": command})
        assert response.status_code == 200, response.text
        return response.json()["result"]

    return run


def test_the_kernel_shows_no_disks(run):
    assert run(f"ls {SEEN} 2>/dev/null | grep -v ':$' | grep .; cat /proc/diskstats /proc/partitions /proc/cmdline") == ""


def test_loop_devices_have_no_file_names(run, raw_sandbox):
    """Not in a /sys either that root inside mounts itself, which is whole in the profile *system*."""
    raw_sandbox()
    shown = run("""sudo sh -c '
        mkdir -p /tmp/sys && mount -t sysfs sysfs /tmp/sys && cat /tmp/sys/block/loop*/loop/backing_file; umount /tmp/sys'""")
    assert "/\n" in shown
    assert not [name for name in shown.split("\n") if "disks/" in name or "pool.img" in name], shown
