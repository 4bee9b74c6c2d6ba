"""Everything that a tenant can leave in the way of the next start, at every place where one attaches, reads or writes
something: in the image of a sandbox, and as root inside before a stop.

The start is refused soon, with a reason; or the agent that runs is ours, behind the same mounts as in any other sandbox.

Of all kinds each run tries some at each place, chosen anew; SEBRING_TEST_PLANTED=all tries each, which takes minutes.
"""

import os
import random

import plant
import pytest
from hostile import KINDS, PATHS, Images, plant_inside, wrong_after_delete, wrong_after_start
from servers import SOON, Watch


ALL = os.environ.get("SEBRING_TEST_PLANTED") == "all"
# What was found to work once.
ALWAYS = (("link", "/proc/self/root/evil"), ("link", "/nowhere"), ("fifo", ""))


def kinds(count):
    return KINDS if ALL else (*ALWAYS, *random.sample([kind for kind in KINDS if kind not in ALWAYS], count))


@pytest.fixture(scope="module")
def watch(own):
    made = Watch(own)
    yield made
    made.close()


@pytest.fixture(scope="module")
def images(own, tmp_path_factory):
    """With a directory of the host that nothing must be written to."""
    trap = tmp_path_factory.mktemp("trap")
    for name in ("bin", "ctl", "empty", "agent"):
        (trap / name).mkdir()
    yield Images(own, str(trap))
    assert sorted(path.name for path in trap.rglob("*")) == ["agent", "bin", "ctl", "empty"]


@pytest.fixture(scope="module")
def plain(own, images, profile):
    """The mounts of sandboxes that nobody tampered with: of a small image, and of the default one."""
    found = {}
    for name in (images.make([], profile), profile):
        sandbox = own.sandbox(snapshot=name)
        assert sandbox.stranger() is None
        found[name == profile] = sandbox.mounts()
        sandbox.delete()
    return found


def told(case, wrong, failures):
    if wrong:
        failures.append(f"{case}: {wrong}")


@pytest.mark.parametrize("path", PATHS)
def test_in_the_image(own, watch, images, profile, plain, path):
    failures = []
    for kind, argument in kinds(3):
        case = f"{kind} {argument}".strip()
        name = images.make([(path, kind, argument)], profile)
        answer, seconds = own.create(snapshot=name)
        if answer.status_code != 200:
            told(case, seconds > SOON and f"refused after {seconds:.1f} s: {answer.text[:200]}", failures)
            continue
        sandbox = own.known(answer.json()["id"])
        told(case, wrong_after_start(sandbox, answer, seconds, plain[False]), failures)
        told(case, wrong_after_delete(sandbox), failures)
        own.forget(name)
    assert not failures, "\n".join(failures)
    assert not watch.seen()
    assert own.client.get("/api/health").status_code == 200
    assert own.peak() < plant.SPARSE / 2


@pytest.mark.parametrize("path", PATHS)
def test_across_a_stop_and_start(own, watch, profile, plain, path):
    failures, sandbox = [], None
    for kind, argument in kinds(2):
        case = f"{kind} {argument}".strip()
        sandbox = sandbox or own.sandbox(snapshot=profile)
        plant_inside(sandbox, [(path, kind, argument)])
        answer, seconds = sandbox.restart()
        wrong = wrong_after_start(sandbox, answer, seconds, plain[True])
        told(case, wrong, failures)
        if wrong or answer.status_code != 200 or not sandbox.has_root():
            told(case, wrong_after_delete(sandbox), failures)
            sandbox = None
    if sandbox:
        sandbox.delete()
    assert not failures, "\n".join(failures)
    assert not watch.seen()
    assert own.client.get("/api/health").status_code == 200
    assert own.peak() < plant.SPARSE / 2
