"""Listing: filters, order and pages."""

from datetime import UTC

import pytest
from daytona import ListSandboxesQuery, SandboxListSortDirection, SandboxListSortField, SandboxState


@pytest.fixture(scope="module")
def family(daytona):
    """Five sandboxes with one label in common, the last one stopped."""
    import secrets

    from daytona import CreateSandboxFromSnapshotParams

    tag = f"family-{secrets.token_hex(4)}"
    made = [
        daytona.create(
            CreateSandboxFromSnapshotParams(
                name=f"{tag}-{letter}", labels={"family": tag, "odd": str(index % 2), "a": 'b c, "d" é'}
            )
        )
        for index, letter in enumerate("abcde")
    ]
    made[-1].stop()
    yield tag, made
    for sandbox in made:
        sandbox.delete()


def names(daytona, **query):
    return [sandbox.name for sandbox in daytona.list(ListSandboxesQuery(**query))]


def test_by_label(daytona, family):
    tag, made = family
    assert sorted(names(daytona, labels={"family": tag})) == [sandbox.name for sandbox in made]
    assert sorted(names(daytona, labels={"family": tag, "odd": "1"})) == [f"{tag}-b", f"{tag}-d"]
    assert sorted(names(daytona, labels={"family": tag, "a": 'b c, "d" é'})) == [sandbox.name for sandbox in made]
    assert names(daytona, labels={"family": tag, "odd": "2"}) == []


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
def test_pages_hold_each_once(daytona, family, limit):
    tag, made = family
    assert sorted(names(daytona, labels={"family": tag}, limit=limit)) == [sandbox.name for sandbox in made]


@pytest.mark.parametrize("limit", [2, 100])
def test_sorted_by_name(daytona, family, limit):
    tag, made = family
    wanted = [sandbox.name for sandbox in made]
    query = {"labels": {"family": tag}, "limit": limit, "sort": SandboxListSortField.NAME}
    assert names(daytona, order=SandboxListSortDirection.ASC, **query) == wanted
    assert names(daytona, order=SandboxListSortDirection.DESC, **query) == wanted[::-1]


def test_sorted_by_creation(daytona, family):
    tag, made = family
    query = {"labels": {"family": tag}, "limit": 2, "sort": SandboxListSortField.CREATEDAT}
    assert names(daytona, order=SandboxListSortDirection.ASC, **query) == [sandbox.name for sandbox in made]


def test_by_state(daytona, family):
    tag, _ = family
    assert names(daytona, labels={"family": tag}, states=[SandboxState.STOPPED]) == [f"{tag}-e"]
    both = names(daytona, labels={"family": tag}, states=[SandboxState.STOPPED, SandboxState.STARTED])
    assert len(both) == 5


def test_by_prefix_of_name_and_id(daytona, family):
    tag, made = family
    assert len(names(daytona, name=tag.upper())) == 5
    assert names(daytona, name=f"{tag}-c") == [f"{tag}-c"]
    assert names(daytona, id=made[2].id.upper()) == [f"{tag}-c"]


def test_by_size_and_visibility(daytona, family):
    tag, _ = family
    assert len(names(daytona, labels={"family": tag}, min_cpu=1, max_memory_gib=1, max_disk_gib=3)) == 5
    assert names(daytona, labels={"family": tag}, min_cpu=2) == []
    assert names(daytona, labels={"family": tag}, is_public=True) == []


def test_by_time(daytona, family):
    from datetime import datetime, timedelta

    tag, _ = family
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert len(names(daytona, labels={"family": tag}, created_at_after=now - hour, created_at_before=now + hour)) == 5
    assert names(daytona, labels={"family": tag}, created_at_after=now + hour) == []
    assert names(daytona, labels={"family": tag}, created_at_before=now - hour) == []


def test_a_page_grows_while_it_is_read(daytona, family, make_sandbox):
    """A sandbox made between two pages neither repeats nor hides another."""
    tag, made = family
    listing = daytona.list(ListSandboxesQuery(labels={"family": tag}, limit=2))
    seen = [next(listing).name]
    make_sandbox(labels={"family": tag})
    seen += [sandbox.name for sandbox in listing]
    assert len(seen) == len(set(seen))
    assert {sandbox.name for sandbox in made} <= set(seen)


def test_items_work(daytona, family):
    tag, _ = family
    (found,) = daytona.list(ListSandboxesQuery(name=f"{tag}-a"))
    assert found.process.exec("echo listed").result == "listed\n"
