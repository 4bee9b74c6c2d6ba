"""Files: everything of `sandbox.fs`."""

import hashlib
import os
import threading

import pytest
from daytona import DaytonaError, FileDownloadRequest, FileUpload
from sdk import BAD_REQUEST, FILE_NOT_FOUND, FORBIDDEN, INVALID_FILE_PATH

ODD_NAMES = [
    "with space.txt",
    "ünï-漢字-🎉.txt",
    "-leading-dash",
    "--help",
    "per%20cent+plus&and=equals?.txt",
    "quote\"s'and\\back.txt",
    # 0.190 has no way to read a line break in the name of a part.
    pytest.param("new\nline.txt", marks=pytest.mark.since("0.226")),
    "semi;colon$HOME`id`.txt",
    ".hidden",
    "trailing ",
    "x" * 255,
]


@pytest.fixture
def folder(sandbox, unique):
    """A directory of the test's own."""
    sandbox.fs.create_folder(unique, "755")
    yield unique
    sandbox.fs.delete_file(unique, recursive=True)


def test_upload_and_download(sandbox, folder):
    sandbox.fs.upload_file(b"content", f"{folder}/a.txt")
    assert sandbox.fs.download_file(f"{folder}/a.txt") == b"content"
    assert sandbox.fs.download_file(f"/home/daytona/{folder}/a.txt") == b"content"
    sandbox.fs.upload_file(b"new", f"{folder}/a.txt")
    assert sandbox.fs.download_file(f"{folder}/a.txt") == b"new"


def test_uploads_belong_to_the_user(sandbox, folder):
    sandbox.fs.upload_file(b"x", f"{folder}/deep/er/a.txt")
    shown = sandbox.process.exec(f"cd {folder}; stat -c '%U %G %a' deep deep/er deep/er/a.txt").result
    assert shown == "daytona daytona 755\ndaytona daytona 755\ndaytona daytona 644\n"


def test_empty_and_binary(sandbox, folder):
    boundary = b"\r\n--DAYTONA-FILE-BOUNDARY--\r\n"
    for content in (b"", bytes(range(256)) * 1000, boundary * 100, b"\n"):
        sandbox.fs.upload_file(content, f"{folder}/b")
        assert sandbox.fs.download_file(f"{folder}/b") == content


def test_large_file_by_local_path(sandbox, folder, tmp_path):
    local = tmp_path / "large.bin"
    with open(local, "wb") as out:
        for _ in range(64):
            out.write(os.urandom(1 << 20))
    wanted = hashlib.sha256(local.read_bytes()).hexdigest()
    sandbox.fs.upload_file(str(local), f"{folder}/large.bin")
    assert sandbox.process.exec(f"sha256sum < {folder}/large.bin").result.split()[0] == wanted
    back = tmp_path / "back.bin"
    sandbox.fs.download_file(f"{folder}/large.bin", str(back))
    assert hashlib.sha256(back.read_bytes()).hexdigest() == wanted


def test_bulk(sandbox, folder, tmp_path):
    local = tmp_path / "local.txt"
    local.write_bytes(b"from disk")
    files = [FileUpload(f"file {n}".encode(), f"{folder}/many/{n}.txt") for n in range(200)]
    files.append(FileUpload(str(local), f"{folder}/local.txt"))
    sandbox.fs.upload_files(files)
    requests = [FileDownloadRequest(source=f"{folder}/many/{n}.txt") for n in range(200)]
    requests.append(FileDownloadRequest(source=f"{folder}/local.txt", destination=str(tmp_path / "back.txt")))
    requests.append(FileDownloadRequest(source=f"{folder}/missing.txt"))
    requests.append(FileDownloadRequest(source=folder))
    answers = sandbox.fs.download_files(requests)
    assert [answer.result for answer in answers[:200]] == [f"file {n}".encode() for n in range(200)]
    assert (tmp_path / "back.txt").read_bytes() == b"from disk"
    assert answers[201].result is None and "missing.txt" in answers[201].error
    assert answers[201].error_details.status_code == 404
    assert answers[202].result is None and answers[202].error_details.status_code == 400


def test_stream_with_progress(sandbox, folder):
    content = os.urandom(3_000_000)
    sent, received = [], []
    sandbox.fs.upload_file_stream(content, f"{folder}/s", on_progress=lambda p: sent.append(p.bytes_sent))
    stream = sandbox.fs.download_file_stream(f"{folder}/s", on_progress=lambda p: received.append(p))
    assert b"".join(stream) == content
    assert sent[-1] == len(content) and sent == sorted(sent)
    assert received[-1].bytes_received == len(content)
    assert received[-1].total_bytes == len(content)


def test_cancelled_stream(sandbox, folder):
    """A client that goes away in the middle: the sandbox stays usable."""
    sandbox.process.exec(f"head -c 100000000 /dev/zero > {folder}/zero")
    cancel = threading.Event()
    with pytest.raises(DaytonaError, match="cancelled"):
        for _chunk in sandbox.fs.download_file_stream(f"{folder}/zero", cancel_event=cancel):
            cancel.set()
    with pytest.raises(DaytonaError):
        cancel = threading.Event()
        sandbox.fs.upload_file_stream(
            b"x" * 10_000_000, f"{folder}/up", on_progress=lambda _: cancel.set(), cancel_event=cancel
        )
    assert sandbox.process.exec("echo fine").result == "fine\n"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(sandbox, folder, name):
    path = f"{folder}/{name}"
    sandbox.fs.upload_file(name.encode(), path)
    assert sandbox.fs.download_file(path) == name.encode()
    assert b"".join(sandbox.fs.download_file_stream(path)) == name.encode()
    assert sandbox.fs.get_file_info(path).name == name
    assert [info.name for info in sandbox.fs.list_files(folder)] == [name]
    assert [match.file.endswith(name) for match in sandbox.fs.find_files(folder, name.split("\n")[0])] == [True]
    sandbox.fs.set_file_permissions(path, mode="600")
    sandbox.fs.move_files(path, f"{path[:100]}.moved")
    assert sandbox.fs.download_file(f"{path[:100]}.moved") == name.encode()
    sandbox.fs.delete_file(f"{path[:100]}.moved")
    assert sandbox.fs.list_files(folder) == []


def test_leading_dash_without_a_directory(sandbox):
    sandbox.fs.upload_file(b"dash", "-rf")
    assert sandbox.fs.download_file("-rf") == b"dash"
    sandbox.fs.delete_file("-rf")
    with pytest.raises(FILE_NOT_FOUND):
        sandbox.fs.download_file("-rf")


def test_upload_keeps_the_file_and_follows_links(sandbox, folder):
    """Written in place: inode and permissions of an existing file stay, links are written through."""
    sandbox.process.exec(f"cd {folder}; echo old > t; chmod 751 t; ln -s t link; ln -s later dangling; ln t hard")
    sandbox.fs.upload_file(b"new", f"{folder}/link")
    sandbox.fs.upload_file(b"made", f"{folder}/dangling")
    shown = sandbox.process.exec(f"cd {folder}; cat t hard; stat -c ' %a' t; readlink link; cat later").result
    assert shown == "newnew 751\nt\nmade"


def test_upload_onto_a_directory(sandbox, folder):
    with pytest.raises(DaytonaError, match="directory") as caught:
        sandbox.fs.upload_file(b"x", folder)
    assert caught.value.status_code == 400


def test_no_partial_files_are_left(sandbox, folder):
    sandbox.fs.upload_file(b"x", f"{folder}/only")
    assert [info.name for info in sandbox.fs.list_files(folder)] == ["only"]


def test_create_folder(sandbox, folder):
    sandbox.fs.create_folder(f"{folder}/a/b", "700")
    assert sandbox.fs.get_file_info(f"{folder}/a/b").permissions == "0700"
    sandbox.fs.create_folder(f"{folder}/a/b", "700")
    sandbox.fs.create_folder(f"{folder}/shared", "1777")
    assert sandbox.process.exec(f"stat -c %a {folder}/shared").result == "1777\n"


def test_info(sandbox, folder):
    sandbox.fs.upload_file(b"12345", f"{folder}/a.txt")
    info = sandbox.fs.get_file_info(f"{folder}/a.txt")
    assert (info.name, info.size, info.is_dir) == ("a.txt", 5, False)
    assert (info.owner, info.group) == ("daytona", "daytona")
    assert (info.permissions, info.mode) == ("0644", "-rw-r--r--")
    assert info.modified_at and info.mod_time
    info = sandbox.fs.get_file_info(folder)
    assert (info.is_dir, info.mode) == (True, "drwxr-xr-x")


def test_list(sandbox, folder):
    sandbox.process.exec(f"cd {folder}; echo 1 > a; mkdir d; echo 22 > d/inner; ln -s a link; ln -s nowhere broken")
    listed = {info.name: info for info in sandbox.fs.list_files(folder)}
    assert sorted(listed) == ["a", "broken", "d", "link"]
    assert listed["d"].is_dir and not listed["a"].is_dir
    assert listed["a"].size == 2


@pytest.mark.since("0.226")
def test_list_with_depth(sandbox, folder):
    sandbox.process.exec(f"cd {folder}; mkdir -p one/two/three; touch one/a one/two/b one/two/three/c")
    listed = {info.path for info in sandbox.fs.list_files(folder, depth=2)}
    base = f"/home/daytona/{folder}"
    assert listed == {f"{base}/one", f"{base}/one/a", f"{base}/one/two"}
    assert len(sandbox.fs.list_files(folder, depth=10)) == 6


def test_find_in_contents(sandbox, folder):
    sandbox.fs.upload_files(
        [
            FileUpload(b"first\nthe needle here\nlast needle\n", f"{folder}/a.txt"),
            FileUpload(b"no match", f"{folder}/b.txt"),
            FileUpload("ünï needle".encode(), f"{folder}/deep/c.txt"),
        ]
    )
    found = sorted(
        (match.file.split("/")[-1], match.line, match.content) for match in sandbox.fs.find_files(folder, "needle")
    )
    assert found == [("a.txt", 2, "the needle here"), ("a.txt", 3, "last needle"), ("c.txt", 1, "ünï needle")]
    assert sandbox.fs.find_files(folder, "nothing like it") == []
    assert sandbox.fs.find_files(folder, "n.edle") == [], "the pattern is plain text"


def test_search_by_name(sandbox, folder):
    sandbox.process.exec(
        f"cd {folder}; mkdir -p src/deep 'a dir'; touch a.py src/b.py src/deep/c.py src/d.txt 'a dir/e.py'"
    )
    found = sorted(path.split(f"{folder}/")[1] for path in sandbox.fs.search_files(folder, "*.py").files)
    assert found == ["a dir/e.py", "a.py", "src/b.py", "src/deep/c.py"]
    assert sandbox.fs.search_files(folder, "[ab].p?").files != []
    assert sandbox.fs.search_files(folder, "*.rs").files == []


def test_links_do_not_lead_searches_out(sandbox, folder):
    sandbox.process.exec(f"cd {folder}; ln -s / root; ln -s . self; echo needle > here")
    assert [match.file.split("/")[-1] for match in sandbox.fs.find_files(folder, "needle")] == ["here"]
    assert sandbox.fs.search_files(folder, "passwd").files == []


def test_replace(sandbox, folder):
    sandbox.fs.upload_files([FileUpload(b"old old\nother", f"{folder}/a"), FileUpload(b"nothing", f"{folder}/b")])
    sandbox.fs.set_file_permissions(f"{folder}/a", mode="751")
    results = sandbox.fs.replace_in_files([f"{folder}/a", f"{folder}/b", f"{folder}/missing"], "old", "n$1&w")
    assert [result.success for result in results] == [True, True, False]
    assert results[2].error
    assert sandbox.fs.download_file(f"{folder}/a") == b"n$1&w n$1&w\nother"
    assert sandbox.fs.get_file_info(f"{folder}/a").permissions == "0751"


def test_move(sandbox, folder):
    sandbox.fs.upload_file(b"1", f"{folder}/a")
    sandbox.fs.move_files(f"{folder}/a", f"{folder}/b")
    assert sandbox.fs.download_file(f"{folder}/b") == b"1"
    sandbox.fs.create_folder(f"{folder}/d", "755")
    sandbox.fs.move_files(f"{folder}/d", f"{folder}/e")
    assert sandbox.fs.get_file_info(f"{folder}/e").is_dir


def test_move_over_devices(sandbox, folder):
    sandbox.process.exec(f"mkdir {folder}/d; echo x > {folder}/d/f; chmod 640 {folder}/d/f")
    sandbox.fs.move_files(f"{folder}/d", f"/dev/shm/{folder}")
    assert sandbox.process.exec(f"stat -c %a /dev/shm/{folder}/f; ls {folder}").result == "640\n"
    sandbox.fs.delete_file(f"/dev/shm/{folder}", recursive=True)


def test_permissions(sandbox, folder):
    path = f"{folder}/a"
    sandbox.fs.upload_file(b"x", path)
    sandbox.fs.set_file_permissions(path, mode="4755")
    assert sandbox.process.exec(f"stat -c %a {path}").result == "4755\n"
    sandbox.fs.set_file_permissions(path, mode="600", owner="daytona", group="daytona")
    assert sandbox.process.exec(f"stat -c '%a %U %G' {path}").result == "600 daytona daytona\n"


def test_delete(sandbox, folder):
    sandbox.fs.upload_file(b"x", f"{folder}/d/a")
    with pytest.raises(BAD_REQUEST):
        sandbox.fs.delete_file(f"{folder}/d")
    sandbox.fs.delete_file(f"{folder}/d/a")
    sandbox.fs.delete_file(f"{folder}/d", recursive=True)
    assert sandbox.fs.list_files(folder) == []


def test_delete_does_not_follow_links(sandbox, folder):
    sandbox.process.exec(f"cd {folder}; mkdir keep gone; echo x > keep/f; ln -s ../keep gone/link; ln -s keep top")
    sandbox.fs.delete_file(f"{folder}/gone", recursive=True)
    sandbox.fs.delete_file(f"{folder}/top")
    assert sandbox.process.exec(f"ls {folder} {folder}/keep").exit_code == 0
    assert sandbox.fs.download_file(f"{folder}/keep/f") == b"x\n"


def test_missing_paths(sandbox, folder):
    missing = f"{folder}/missing"
    for call in (
        lambda: sandbox.fs.download_file(missing),
        lambda: sandbox.fs.get_file_info(missing),
        lambda: sandbox.fs.list_files(missing),
        lambda: sandbox.fs.delete_file(missing),
        lambda: sandbox.fs.move_files(missing, f"{folder}/x"),
        lambda: sandbox.fs.set_file_permissions(missing, mode="644"),
        lambda: sandbox.fs.find_files(missing, "x"),
        lambda: sandbox.fs.search_files(missing, "x"),
        lambda: list(sandbox.fs.download_file_stream(missing)),
    ):
        with pytest.raises(FILE_NOT_FOUND, match="missing"):
            call()


def test_wrong_kinds(sandbox, folder):
    sandbox.fs.upload_file(b"x", f"{folder}/file")
    with pytest.raises(INVALID_FILE_PATH):
        sandbox.fs.download_file(folder)
    with pytest.raises(BAD_REQUEST):
        sandbox.fs.list_files(f"{folder}/file")
    with pytest.raises(DaytonaError):
        sandbox.fs.upload_file(b"x", f"{folder}/file/below")
    with pytest.raises(DaytonaError):
        sandbox.fs.create_folder(f"{folder}/file", "755")


def test_denied_paths(sandbox):
    for call in (
        lambda: sandbox.fs.download_file("/etc/shadow"),
        lambda: sandbox.fs.delete_file("/etc/passwd"),
        lambda: sandbox.fs.move_files("/etc/passwd", "/etc/gone"),
        lambda: sandbox.fs.set_file_permissions("/etc/passwd", mode="777"),
        lambda: sandbox.fs.list_files("/root"),
    ):
        with pytest.raises(FORBIDDEN):
            call()
    with pytest.raises(DaytonaError, match="(?i)permission denied|access denied"):
        sandbox.fs.upload_file(b"x", "/etc/mine")


def test_too_long_names(sandbox):
    with pytest.raises(DaytonaError):
        sandbox.fs.upload_file(b"x", "x" * 256)
    with pytest.raises(DaytonaError):
        sandbox.fs.upload_file(b"x", "/".join(["d" * 200] * 30))
    assert sandbox.process.exec("echo fine").result == "fine\n"
