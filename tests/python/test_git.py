"""Git, against file remotes and a real HTTP server with authentication, all inside the sandbox."""

from pathlib import Path

import pytest
import sdk
from daytona import DaytonaConflictError, DaytonaError, DaytonaNotFoundError

if sdk.VERSION >= (0, 200):
    from daytona import (
        DaytonaGitAuthFailedError as AuthFailed,
    )
    from daytona import (
        DaytonaGitBranchExistsError as BranchExists,
    )
    from daytona import (
        DaytonaGitBranchNotFoundError as BranchNotFound,
    )
    from daytona import (
        DaytonaGitDirtyWorktreeError as DirtyWorktree,
    )
    from daytona import (
        DaytonaGitPushRejectedError as PushRejected,
    )
    from daytona import (
        DaytonaGitRepoNotFoundError as RepoNotFound,
    )
else:
    from daytona import DaytonaAuthenticationError as AuthFailed

    BranchExists = DirtyWorktree = PushRejected = DaytonaConflictError
    BranchNotFound = RepoNotFound = DaytonaNotFoundError

AUTHOR = {"author": "Ada", "email": "ada@example.com"}
URL = "http://127.0.0.1:8480"


def sh(sandbox, command):
    answer = sandbox.process.exec(f"set -e; {command}")
    assert answer.exit_code == 0, answer.result
    return answer.result


@pytest.fixture(scope="module")
def origin(sandbox):
    """A bare repository with two commits on main and one on `feature`, also served by HTTP."""
    sandbox.fs.upload_file(str(Path(__file__).with_name("git_server.py")), "server/git_server.py")
    sh(
        sandbox,
        """
        git config --global user.name Ada; git config --global user.email ada@example.com
        git config --global init.defaultBranch main
        mkdir -p srv && git init -q --bare srv/origin.git && git -C srv/origin.git config http.receivepack true
        git init -q work && cd work
        echo one > a.txt && git add . && git commit -qm first
        echo two > b.txt && git add . && git commit -qm second
        git checkout -qb feature && echo f > f.txt && git add . && git commit -qm feature && git checkout -q main
        git push -q ~/srv/origin.git main feature
        cd ~; nohup python3 server/git_server.py ~/srv 8480 > server/log 2>&1 &
        until grep -q listening server/log; do kill -0 $!; sleep 0.02; done
        """,
    )
    return "/home/daytona/srv/origin.git"


@pytest.fixture
def clone(sandbox, origin, unique):
    sandbox.git.clone(origin, unique)
    return unique


def names(sandbox, path):
    return {status.name: (status.staging, status.worktree) for status in sandbox.git.status(path).file_status}


def test_clone(sandbox, clone):
    assert sh(sandbox, f"cat {clone}/b.txt; git -C {clone} rev-list --count HEAD").split() == ["two", "2"]
    status = sandbox.git.status(clone)
    assert (status.current_branch, status.file_status) == ("main", [])
    assert (status.ahead, status.behind, status.branch_published) == (0, 0, True)


def test_clone_branch_and_commit(sandbox, origin, unique):
    sandbox.git.clone(origin, f"{unique}-b", branch="feature")
    assert sandbox.git.status(f"{unique}-b").current_branch == "feature"
    first = sh(sandbox, f"git -C {origin} rev-list --max-parents=0 main").strip()
    sandbox.git.clone(origin, f"{unique}-c", commit_id=first)
    assert sh(sandbox, f"git -C {unique}-c rev-parse HEAD").strip() == first


@pytest.mark.since("0.226")
def test_clone_depth_and_detached(sandbox, origin, unique):
    sandbox.git.clone(f"file://{origin}", unique, depth=1)
    assert sh(sandbox, f"git -C {unique} rev-list --count HEAD").strip() == "1"
    sandbox.git.checkout_branch(unique, sh(sandbox, f"git -C {unique} rev-parse HEAD").strip())
    assert sandbox.git.status(unique).detached is True


def test_clone_into_what_exists(sandbox, origin, clone):
    with pytest.raises(DaytonaError, match="(?i)exist|not an empty"):
        sandbox.git.clone(origin, clone)


def test_clone_unknown(sandbox, origin, unique):
    with pytest.raises(RepoNotFound):
        sandbox.git.clone("/home/daytona/srv/none.git", unique)
    with pytest.raises(BranchNotFound):
        sandbox.git.clone(origin, unique, branch="none")
    assert sandbox.process.exec(f"ls {unique}").exit_code != 0, "nothing is left"


def test_status_of_files(sandbox, clone):
    sh(sandbox, f"cd {clone}; echo x >> a.txt; rm b.txt; echo n > 'new file ü.txt'; echo s > staged; git add staged")
    assert names(sandbox, clone) == {
        "a.txt": ("Unmodified", "Modified"),
        "b.txt": ("Unmodified", "Deleted"),
        "new file ü.txt": ("Untracked", "Untracked"),
        "staged": ("Added", "Unmodified"),
    }


def test_add_commit_push_pull(sandbox, clone, origin, unique):
    sandbox.git.create_branch(clone, f"topic-{unique}")
    sandbox.git.checkout_branch(clone, f"topic-{unique}")
    sandbox.fs.upload_file(b"new", f"{clone}/-n ü.txt")
    sandbox.git.add(clone, ["-n ü.txt"])
    done = sandbox.git.commit(clone, 'Say "hello"\n\nwith a body', **AUTHOR)
    assert sh(sandbox, f"git -C {clone} log -1 --format='%H|%an|%ae|%s|%b'").strip() == (
        f'{done.sha}|Ada|ada@example.com|Say "hello"|with a body'
    )
    sandbox.git.push(clone)
    assert sh(sandbox, f"git -C {origin} rev-parse topic-{unique}").strip() == done.sha
    sandbox.git.clone(origin, f"{clone}-2", branch=f"topic-{unique}")
    sh(sandbox, f"cd {clone}; echo more > more; git add .; git commit -qm more; git push -q origin HEAD")
    sandbox.git.pull(f"{clone}-2")
    assert sh(sandbox, f"cat {clone}-2/more") == "more\n"


def test_ahead_and_behind(sandbox, clone):
    sh(sandbox, f"cd {clone}; git reset -q --hard HEAD~1; echo z > z; git add .; git commit -qm z")
    status = sandbox.git.status(clone)
    assert (status.ahead, status.behind) == (1, 1)


def test_commit_refusals(sandbox, clone):
    with pytest.raises(DaytonaError):
        sandbox.git.commit(clone, "nothing", **AUTHOR)
    assert sandbox.git.commit(clone, "empty", allow_empty=True, **AUTHOR).sha


def test_branches(sandbox, clone):
    sandbox.git.create_branch(clone, "mine")
    listed = sandbox.git.branches(clone)
    assert {"main", "mine"} <= set(listed.branches)
    with pytest.raises(BranchExists):
        sandbox.git.create_branch(clone, "mine")
    with pytest.raises(BranchNotFound):
        sandbox.git.checkout_branch(clone, "none")
    sandbox.git.checkout_branch(clone, "main")
    sandbox.git.delete_branch(clone, "mine")
    assert "mine" not in sandbox.git.branches(clone).branches


def test_dirty_checkout(sandbox, clone):
    sh(
        sandbox,
        f"cd {clone}; git checkout -qb other; echo o > a.txt; git commit -qam o; git checkout -q main; echo d > a.txt",
    )
    with pytest.raises(DirtyWorktree):
        sandbox.git.checkout_branch(clone, "other")


def test_rejected_push(sandbox, clone, origin):
    sh(
        sandbox,
        f"cd {clone}; git checkout -qb r; git push -q -u origin r; git -C ~/{clone} commit -q --amend -m changed",
    )
    with pytest.raises(PushRejected):
        sandbox.git.push(clone)
    sh(sandbox, f"git -C {origin} branch -D r")


def test_not_a_repository(sandbox):
    with pytest.raises(RepoNotFound):
        sandbox.git.status("/tmp")


def test_http_with_credentials(sandbox, origin, unique):
    url = f"{URL}/origin.git"
    with pytest.raises(AuthFailed):
        sandbox.git.clone(url, unique)
    with pytest.raises(AuthFailed):
        sandbox.git.clone(url, unique, username="user", password="wrong")
    with pytest.raises(RepoNotFound):
        sandbox.git.clone(f"{URL}/none.git", unique, username="user", password="secret")
    sandbox.git.clone(url, unique, username="user", password="secret")
    shown = sh(sandbox, f"cat {unique}/.git/config; cat ~/.git-credentials 2>/dev/null || true")
    assert "secret" not in shown, "credentials are kept only when asked for"
    sh(sandbox, f"cd {unique}; git checkout -qb h-{unique}; echo h > h; git add .; git commit -qm h")
    with pytest.raises(AuthFailed):
        sandbox.git.push(unique)
    sandbox.git.push(unique, username="user", password="secret")
    assert sh(sandbox, f"git -C {origin} log -1 --format=%s h-{unique}") == "h\n"
    sandbox.git.pull(unique, username="user", password="secret")


def test_no_server(sandbox, unique):
    with pytest.raises(DaytonaError):
        sandbox.git.clone("http://127.0.0.1:9/none.git", unique)


@pytest.fixture(scope="module")
def secure(sandbox, origin):
    """The URL of the same server behind TLS, and the certificate that it shows, which nobody trusts."""
    sh(
        sandbox,
        """
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
            -keyout server/key.pem -out server/certificate.pem 2>/dev/null
        nohup python3 server/git_server.py ~/srv 8443 server/certificate.pem server/key.pem > server/log-tls 2>&1 &
        until grep -q listening server/log-tls; do kill -0 $!; sleep 0.02; done
        """,
    )
    return "https://localhost:8443/origin.git", "/home/daytona/server/certificate.pem"


def test_authority_of_the_configuration(sandbox, secure, unique):
    url, certificate = secure
    login = {"username": "user", "password": "secret"}
    with pytest.raises(DaytonaError, match="(?i)certificate"):
        sandbox.git.clone(url, unique, **login)
    sh(sandbox, f"git config --global http.https://localhost:8443/.sslCAInfo {certificate}")
    try:
        sandbox.git.clone(url, unique, **login)
        sandbox.git.pull(unique, **login)
    finally:
        sh(sandbox, "git config --global --unset http.https://localhost:8443/.sslCAInfo")


def test_proxy_and_rewriting_of_the_configuration(sandbox, origin, unique):
    """A proxy that answers for a name which does not exist, then a rule that leads another such name to the remote."""
    login = {"username": "user", "password": "secret"}
    sh(sandbox, f"git config --global http.http://far.invalid/.proxy {URL}")
    sandbox.git.clone("http://far.invalid/origin.git", f"{unique}-p", **login)
    sh(sandbox, f"git config --global url.{URL}/.insteadOf http://rewritten.invalid/")
    sandbox.git.clone("http://rewritten.invalid/origin.git", f"{unique}-r", **login)
    assert sh(sandbox, f"cat {unique}-p/b.txt {unique}-r/b.txt") == "two\ntwo\n"
    assert "secret" not in sh(sandbox, f"cat ~/.gitconfig {unique}-?/.git/config")


@pytest.mark.since("0.226")
class TestNewer:
    def test_errors_have_their_class(self, sandbox, clone, origin, unique):
        from daytona import DaytonaGitMergeConflictError, DaytonaGitRemoteRejectedError, DaytonaGitTransportFailedError

        with pytest.raises(DaytonaGitTransportFailedError) as caught:
            sandbox.git.clone("http://127.0.0.1:9/none.git", f"{unique}-t")
        assert (caught.value.status_code, caught.value.code) == (502, "GIT_TRANSPORT_FAILED")
        branch = f"both-{unique}"
        sh(
            sandbox,
            f"""
            cd {clone}; git checkout -q -b {branch}; git push -q -u origin {branch}; git clone -q {origin} ../{clone}-o
            cd ../{clone}-o; git checkout -q {branch}; echo theirs > a.txt; git commit -qam t; git push -q
            cd ../{clone}; echo ours > a.txt; git commit -qam o; git config pull.rebase false
            """,
        )
        with pytest.raises(DaytonaGitMergeConflictError) as caught:
            sandbox.git.pull(clone)
        assert (caught.value.status_code, caught.value.source) == (409, "DAYTONA_DAEMON")
        assert names(sandbox, clone)["a.txt"] == ("Updated but unmerged", "Updated but unmerged")
        sandbox.git.reset(clone, mode="merge")
        hook = f"{origin}/hooks/pre-receive"
        sh(sandbox, f"printf '#!/bin/sh\necho not today\nexit 1\n' > {hook}; chmod +x {hook}")
        try:
            with pytest.raises(DaytonaGitRemoteRejectedError, match="not today"):
                sandbox.git.push(clone, remote="origin", branch="main")
                sandbox.git.create_branch(clone, f"{branch}-2")
                sandbox.git.push(clone)
        finally:
            sh(sandbox, f"rm {hook}")

    def test_insecure(self, sandbox, secure, unique):
        url, _ = secure
        sandbox.git.clone(url, unique, username="user", password="secret", insecure_skip_tls=True)
        assert "ssl" not in sh(sandbox, f"cat {unique}/.git/config").lower(), "it is for that call only"

    def test_init(self, sandbox, unique):
        sandbox.git.init(unique, initial_branch="trunk")
        assert sandbox.git.status(unique).current_branch == "trunk"
        sandbox.git.init(f"{unique}.git", bare=True)
        assert sh(sandbox, f"git -C {unique}.git rev-parse --is-bare-repository") == "true\n"

    def test_remotes(self, sandbox, clone, origin):
        assert [(r.name, r.url) for r in sandbox.git.remotes(clone).remotes] == [("origin", origin)]
        sandbox.git.remote_add(clone, "second", origin, fetch=True)
        assert sandbox.git.remote_get(clone, "second") == origin
        assert "second/main" in sh(sandbox, f"git -C {clone} branch -r")
        with pytest.raises(DaytonaConflictError):
            sandbox.git.remote_add(clone, "second", "/elsewhere")
        sandbox.git.remote_add(clone, "second", "/elsewhere", overwrite=True)
        assert sandbox.git.remote_get(clone, "second") == "/elsewhere"
        assert sandbox.git.remote_get(clone, "none") is None

    def test_reset_and_restore(self, sandbox, clone):
        sh(sandbox, f"cd {clone}; echo x > a.txt; git add a.txt")
        sandbox.git.reset(clone)
        assert names(sandbox, clone) == {"a.txt": ("Unmodified", "Modified")}
        sandbox.git.restore(clone, ["a.txt"])
        assert names(sandbox, clone) == {}
        sandbox.git.reset(clone, mode="hard", target="HEAD~1")
        assert sandbox.process.exec(f"ls {clone}/b.txt").exit_code != 0
        sh(sandbox, f"cd {clone}; echo x > a.txt; git add a.txt")
        sandbox.git.restore(clone, ["a.txt"], staged=True)
        assert names(sandbox, clone) == {"a.txt": ("Unmodified", "Modified")}

    def test_config(self, sandbox, clone):
        sandbox.git.set_config("sebring.test", "value one", scope="local", path=clone)
        assert sandbox.git.get_config("sebring.test", scope="local", path=clone) == "value one"
        assert sandbox.git.get_config("sebring.none", scope="local", path=clone) is None
        sandbox.git.configure_user("Bob", "bob@example.com", scope="local", path=clone)
        assert sh(sandbox, f"git -C {clone} config user.name") == "Bob\n"

    def test_authenticate(self, make_sandbox):
        sandbox = make_sandbox()
        sandbox.git.dangerously_authenticate("user", "secret", host="example.com", protocol="https")
        filled = sh(
            sandbox, "printf 'protocol=https\\nhost=example.com\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill"
        )
        assert "password=secret" in filled

    def test_upstream(self, sandbox, clone):
        sandbox.git.create_branch(clone, f"up-{clone}")
        sandbox.git.checkout_branch(clone, f"up-{clone}")
        sandbox.git.push(clone, remote="origin", branch=f"up-{clone}", set_upstream=True)
        assert sandbox.git.status(clone).upstream == f"origin/up-{clone}"
