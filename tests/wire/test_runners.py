"""What the API tells of the runner."""

import os


def test_the_runner_tells_how_it_works(api, shared):
    (runner,) = api.get("/runners").json()
    assert runner["state"] == "ready" and runner["name"] == os.uname().nodename
    assert runner["cpu"] == len(os.sched_getaffinity(0))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert abs(runner["memory"] - total / (1 << 30)) < 0.02
    assert 0 < runner["currentDiskUsagePercentage"] < 100 and runner["disk"] > 1
    tags = dict(tag.split("=") for tag in runner["tags"])
    assert tags["storage"] in ("reflink", "copy", "directory")
    assert tags["isolation"] in ("system", "strict") and tags["cgroup"] in ("v1", "v2")
    assert runner["currentStartedSandboxes"] >= 1
    assert runner["currentAllocatedDiskGiB"] >= shared["disk"]
    assert api.get(f"/runners/{runner['id']}").json()["tags"] == runner["tags"]
