"""Uploads into a real sandbox, on its overlay: seen only when they are whole."""

import pytest

HALF = 32 << 20


@pytest.fixture
def box(toolbox, shared):
    return toolbox(shared)


def run(box, command):
    answer = box.post("/process/execute", json={"command": command}).json()
    assert answer["exitCode"] == 0, answer
    return answer["result"]


def test_a_disk_that_holds_it_once_is_enough(box):
    """Also beside a file that it replaces; and where it does not fit, that file stays as it was."""
    run(box, "mkdir -p tight && sudo mount -t tmpfs -o size=40m tight tight && sudo chmod 777 tight && echo old > tight/file")
    new = bytes(range(256)) * (30 << 12)
    response = box.post("/files/upload-v2?path=tight/file", content=new)
    assert response.status_code == 200, response.text
    assert box.get("/files/download?path=tight/file").content == new
    run(box, "echo old > tight/file")
    response = box.post("/files/upload-v2?path=tight/file", content=bytes(45 << 20))
    assert response.status_code == 507, response.text
    assert run(box, "cat tight/file; ls -A tight; sudo umount tight") == "old\nfile\n"


@pytest.mark.parametrize("before", ["", "the old content"])
def test_nobody_sees_half_of_it(box, before):
    run(box, f"rm -rf up && mkdir up && if [ -n '{before}' ]; then printf '%s' '{before}' > up/file; fi")
    listed = "file\n" if before else ""
    seen = []

    def body():
        # More than what lies between here and the agent holds: of this some has been written when it is sent.
        yield bytes(HALF)
        seen.append((run(box, "ls -A up"), run(box, "cat up/* 2>/dev/null; true")))
        yield b"y"

    response = box.post("/files/upload-v2?path=up/file", content=body(), timeout=60)
    assert response.status_code == 200, response.text
    assert seen == [(listed, before)]
    assert run(box, "ls -A up; stat -c %s up/file; tail -c 1 up/file") == f"file\n{HALF + 1}\ny"
