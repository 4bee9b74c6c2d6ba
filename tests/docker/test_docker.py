"""Debian's own packages in a sandbox of the profile *system*: Docker, a packet filter, a FUSE file system.

Slow, and needs Debian's mirrors: `tests/run docker`, not part of the default run.
"""

from pathlib import Path

import httpx
import pytest

# What Docker lacks without a cgroup of its own: the sandbox's limits hold for all containers together.
WITHOUT_CGROUPS = """
# Debian's runc looks for the hierarchy `devices` and does nothing in it; `--rootless` tells Docker that limits of single
# containers are not to be had. (It is not about who root is: containers run as root of the sandbox.)
mount -t cgroup -o devices devices /sys/fs/cgroup/devices
"""
PACKAGES = "docker.io docker-cli iptables nftables busybox-static squashfuse squashfs-tools fuse3"


class Root:
    """`root(script)` runs it as root inside; answers what it printed, and fails with that."""

    def __init__(self, api, api_key):
        made = api.post("/sandbox", json={"cpu": 2, "memory": 3, "disk": 8}).json()
        assert made["state"] == "started", made
        self.api, self.id = api, made["id"]
        self.box = httpx.Client(
            base_url=f"{made['toolboxProxyUrl']}/{made['id']}",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=320,
            trust_env=False,
        )

    def __call__(self, script):
        upload = self.box.post("/files/upload-v2", params={"path": "/tmp/script"}, content=script.encode())
        assert upload.status_code == 200, upload.text
        body = {"command": "sudo bash -eu /tmp/script", "timeout": 300}
        answer = self.box.post("/process/execute", json=body).json()
        assert answer["exitCode"] == 0, answer["result"][-4000:]
        return answer["result"]

    def close(self):
        self.box.close()
        self.api.delete(f"/sandbox/{self.id}")


@pytest.fixture(scope="module")
def root(api, api_key):
    made = Root(api, api_key)
    try:
        made(f"apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install {PACKAGES} </dev/null 2>&1")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def docker(root):
    """A running dockerd, and the image `box`, imported from a tar file."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    root(f"""
{"" if unified else WITHOUT_CGROUPS}
setsid dockerd {"" if unified else "--rootless"} >/var/log/dockerd.log 2>&1 </dev/null &
curl --silent --retry 60 --retry-all-errors --retry-delay 1 --unix-socket /run/docker.sock http://docker/_ping ||
    {{ cat /var/log/dockerd.log; false; }}
""")
    root("""
mkdir -p /tmp/box/bin && cp /bin/busybox /tmp/box/bin
for name in sh ls cat id hostname ip wget httpd; do ln -s busybox /tmp/box/bin/$name; done
tar -C /tmp/box -cf /tmp/box.tar . && docker import /tmp/box.tar box:1
""")
    yield root


def test_container(docker):
    shown = docker(
        'docker run --rm --hostname inner box:1 sh -c \'id -u; hostname; ls /proc/1/exe; ls / | tr "\\n" " "\''
    )
    assert shown.split()[:3] == ["0", "inner", "/proc/1/exe"]


def test_network_of_containers(docker):
    """A port published by one, reached from the sandbox and from another container, over Docker's own packet filter."""
    shown = docker("""
docker run --detach --name web --publish 8080:80 box:1 sh -c 'mkdir w; echo from web > w/index.html; httpd -f -p 80 -h w'
curl --silent --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8080/
docker network create test >/dev/null && docker network connect test web
docker run --rm --network test box:1 wget -q -O - http://web/
docker exec web cat w/index.html
docker rm --force web >/dev/null && docker network rm test >/dev/null
nft list tables
""")
    assert shown.count("from web") == 3
    assert "table ip nat" in shown


def test_privileged_container(docker):
    """Privileged over the sandbox's namespaces, no further."""
    shown = docker("""
docker run --rm --privileged box:1 sh -c '
    busybox mount -t tmpfs t /tmp 2>/dev/null || { busybox mkdir -p /tmp && busybox mount -t tmpfs t /tmp; } && echo mounted
    (echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null && echo ESCAPED
    busybox mknod /tmp/d b 8 0 2>/dev/null && echo ESCAPED
    echo done'
""")
    assert "mounted" in shown and "ESCAPED" not in shown and "done" in shown


def test_packet_filter(root):
    """Rules that block, in the sandbox's own network."""
    shown = root("""
python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 &
curl --silent --retry 20 --retry-connrefused --retry-delay 1 --output /dev/null --write-out '%{http_code}\\n' http://127.0.0.1:8123/
nft -f - <<'END'
table inet own {
    chain in { type filter hook input priority 0; tcp dport 8123 counter reject; }
}
END
curl --silent --max-time 3 http://127.0.0.1:8123/ || echo blocked
nft list table inet own | grep -c 'counter packets [1-9]'
nft delete table inet own
iptables -A OUTPUT -p tcp --dport 8123 -j REJECT && iptables -D OUTPUT -p tcp --dport 8123 -j REJECT
kill %1
""")
    assert shown.split() == ["200", "blocked", "1"]


def test_fuse(root):
    shown = root("""
mkdir -p /tmp/squash/dir && echo packed > /tmp/squash/dir/file && mksquashfs /tmp/squash /tmp/squash.img -quiet -no-progress
mkdir -p /mnt/squash && squashfuse /tmp/squash.img /mnt/squash
cat /mnt/squash/dir/file && findmnt -no FSTYPE /mnt/squash
umount /mnt/squash
""")
    assert shown.split() == ["packed", "fuse.squashfuse"]


def test_fuse_of_an_ordinary_user(root):
    """By the set-user-id helper of the package."""
    shown = root("""
sudo -u daytona bash -ec '
    mkdir -p ~/squash && squashfuse /tmp/squash.img ~/squash && cat ~/squash/dir/file && fusermount3 -u ~/squash'
""")
    assert shown.split() == ["packed"]
