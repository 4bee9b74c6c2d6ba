"""What root inside may do in the profile *system*, the default, and where it ends."""

from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def root(api, api_key, shared):
    """`root(script)` runs it as root in the sandbox of this module; answers exit code and output."""
    with httpx.Client(
        base_url=f"{shared['toolboxProxyUrl']}/{shared['id']}",
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=120,
        trust_env=False,
    ) as box:

        def run(script, timeout=60, user="root"):
            name = "/tmp/script"
            upload = box.post("/files/upload-v2", params={"path": name}, content=script.encode())
            assert upload.status_code == 200, upload.text
            command = f"sudo bash -e {name}" if user == "root" else f"bash -e {name}"
            response = box.post("/process/execute", json={"command": command, "timeout": timeout}, timeout=timeout + 10)
            assert response.status_code == 200, response.text
            return response.json()

        yield run


def succeeds(answer):
    assert answer["exitCode"] == 0, answer["result"]
    return answer["result"]


def test_fuse_file_system(root):
    server = (HERE / "fuse_server.py").read_text()
    shown = succeeds(
        root(f"""
mkdir -p /mnt/fuse
cat > /tmp/fuse_server.py <<'END'
{server}
END
coproc python3 /tmp/fuse_server.py /mnt/fuse
read -r line <&"${{COPROC[0]}}"
[ "$line" = mounted ]
ls /mnt/fuse
cat /mnt/fuse/hello
grep ' /mnt/fuse ' /proc/self/mounts
umount /mnt/fuse
""")
    )
    assert "hello\nfrom user space\n" in shown and "fuse.test" in shown


def test_overlay_and_tmpfs(root):
    shown = succeeds(
        root("""
mkdir -p /mnt/t && mount -t tmpfs -o size=16m t /mnt/t
mkdir /mnt/t/{lower,upper,work,merged}
echo below > /mnt/t/lower/file
mount -t overlay o -o lowerdir=/mnt/t/lower,upperdir=/mnt/t/upper,workdir=/mnt/t/work,userxattr /mnt/t/merged
cat /mnt/t/merged/file
echo above > /mnt/t/merged/file
rm -f /mnt/t/merged/gone
cat /mnt/t/lower/file /mnt/t/upper/file
mount --bind /mnt/t/lower /mnt/t/merged && umount /mnt/t/merged
umount /mnt/t/merged /mnt/t
""")
    )
    assert shown.split() == ["below", "below", "above"]


def test_containers_in_namespaces_of_their_own(root):
    """What container runtimes do: new namespaces, a fresh /proc and /sys, another root."""
    shown = succeeds(
        root("""
unshare --mount --pid --net --uts --ipc --cgroup --fork bash -ec '
    mount -t proc proc /proc && mount -t sysfs sysfs /sys
    hostname inner && hostname
    [ $(ls -d /proc/[0-9]* | wc -l) -lt 6 ] && echo alone
    mkdir -p /mnt/new && mount -t tmpfs new /mnt/new && mkdir /mnt/new/old
    cd /mnt/new && pivot_root . old && echo pivoted'
hostname
""")
    )
    lines = shown.split()
    assert lines[:3] == ["inner", "alone", "pivoted"] and lines[3] != "inner"


def test_containers_of_an_ordinary_user(root):
    """As rootless container engines and the sandboxes of browsers and agents do: a user namespace first."""
    shown = succeeds(
        root(
            """
unshare --user --map-root-user --mount --pid --net --fork bash -ec '
    mount -t proc proc /proc && id -u && ls -d /proc/[0-9]* | wc -l
    mount -t sysfs sysfs /sys && ls /sys/class/net'
""",
            user="daytona",
        )
    )
    lines = shown.split()
    assert lines[0] == "0" and int(lines[1]) < 6 and lines[2:] == ["lo"]


@pytest.mark.skipif(Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="of cgroup version 1 only")
def test_the_hierarchy_that_container_engines_look_for(root):
    """docs/containers.md: it is attached in a process's own namespace here, and nothing can be changed in it."""
    shown = succeeds(
        root("""
unshare --mount bash -e -c '
    mount -t cgroup -o devices devices /sys/fs/cgroup/devices
    cat /sys/fs/cgroup/devices/cgroup.procs >/dev/null
    mkdir /sys/fs/cgroup/devices/mine 2>&1 || true
    mkdir /sys/fs/cgroup/memory/mine 2>&1 || true'
""")
    )
    assert "devices/mine’: Permission denied" in shown and "memory/mine’: Read-only file system" in shown, shown


def test_own_network(root):
    """Interfaces, a tunnel, addresses and kernel settings of the sandbox's own network."""
    shown = succeeds(
        root("""
ip link add name bridge0 type bridge && ip addr add 192.0.2.1/24 dev bridge0 && ip link set bridge0 up
ip netns list
ip link add inner type veth peer name outer && ip link set outer master bridge0
python3 - <<'END'
import fcntl, struct
tunnel = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tunnel, 0x400454CA, struct.pack("16sH22x", b"tun7", 1))
print(open("/sys/class/net/tun7/type").read().strip())
END
echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward
ip link del bridge0 && ip link del inner
""")
    )
    assert shown.split() == ["65534", "1"]


def test_no_ipv6_to_the_host(root):
    """Root inside can switch IPv6 on at its own end; at the other end nobody answers."""
    shown = root("""
for at in all default eth0 lo; do echo 0 > /proc/sys/net/ipv6/conf/$at/disable_ipv6; done
ip addr add fe80::2/64 dev eth0 nodad
python3 - <<'END'
import socket, struct
def answers(interface):
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    s.settimeout(1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    index = socket.if_nametoindex(interface)
    to = "ff02::1" if interface == "eth0" else "::1"
    s.sendto(struct.pack("!BBHHH", 128, 0, 0, 7, 1), (to, 0, 0, index))
    found = set()
    try:
        while True:
            packet, peer = s.recvfrom(4096)
            if packet[0] == 129:
                found.add(peer[0])
    except OSError:
        return found
print("own", answers("lo"))
print("others", answers("eth0"))
END
for at in eth0 all default lo; do echo 1 > /proc/sys/net/ipv6/conf/$at/disable_ipv6; done
""")
    assert "own {'::1'}" in shown["result"], shown
    assert "others set()" in shown["result"], shown


@pytest.mark.parametrize(
    "attempt",
    [
        "umount /.sbx/ctl",
        "umount --lazy /.sbx/bin/agent",
        "umount --lazy /dev",
        "mount -o remount,bind,rw /dev",
        "mount -o remount,bind,rw /.sbx/bin/agent",
        "mount -o remount,bind,dev /",
        "mount --bind / /mnt && umount /mnt && false",
        "mount --move /.sbx/ctl /mnt",
        "umount --lazy /",
    ],
)
def test_mounts_of_the_ward_are_locked(root, attempt):
    """In a mount namespace that the sandbox makes itself as well."""
    for prefix in ("", "unshare --mount "):
        answer = root(f"{prefix}bash -ec '{attempt}'")
        assert answer["exitCode"] != 0, answer


def test_settings_of_the_kernel_belong_to_the_host(root):
    """Without mask and read-only mount: the files' owner is nobody inside."""
    shown = root("""
for f in /proc/kcore /proc/kmsg /proc/timer_list /proc/keys /sys/firmware /proc/acpi /proc/scsi /proc/sysrq-trigger \\
    /proc/irq /proc/bus /proc/fs /dev/.nest; do
    umount $f 2>/dev/null || true
done
for f in /proc/kcore /proc/kmsg /proc/timer_list; do head -c 1 $f 2>/dev/null | grep -q . && echo read $f; done
for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches \\
    /proc/sys/fs/suid_dumpable /proc/irq/default_smp_affinity /sys/power/state /sys/kernel/mm/ksm/run; do
    [ -e $f ] || continue
    (: > $f) 2>/dev/null && echo opened $f
done
echo done
""")
    assert shown["result"] == "done\n", shown
