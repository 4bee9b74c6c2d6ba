"""Makes states of a file system that no start should have to meet: in the files of an image, or as a program inside.

    plant.py PROGRAM STATES [ROOT]    PROGRAM: text that lies where links lead; STATES: JSON, a list of [path, kind, argument]

With ROOT, which an image is made in, nothing outside of it is touched, wherever links in it lead. Standard library only, for it runs in sandboxes, too. `planted` says what kinds there are.
"""

import ctypes
import json
import os
import shutil
import struct
import sys

DEVICES = {"null": (1, 3), "zero": (1, 5), "terminal": (5, 0), "disk": (7, 0), "whiteout": (0, 0)}
DIRECTORIES = ("directory", "opaque", "redirect", "many", "deep")
# Bytes: more than a reader with a bound takes, less than would harm the machine where one has none.
SPARSE = 512 << 20
MODES = {"closed": 0, "set-user-id": 0o6755}
# Where links may lead. The directories below /proc are what a start sees that did not mount it yet.
EVIL = ("/evil", "/proc/self/root/evil", "/proc/1/root/evil", "/proc/thread-self/root/evil")


def planted(states):
    """Makes each state; answers what could not be made, as text."""
    said = []
    for path, kind, argument in states:
        try:
            clear(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            make(path, kind, argument)
        except OSError as error:
            said.append(f"{kind} {path}: {error.strerror}")
    return said


def clear(place):
    """Removes what is there; a directory that has a mount in it can only be moved aside."""
    if os.path.islink(place) or not os.path.isdir(place):
        if os.path.lexists(place):
            os.unlink(place)
        return
    shutil.rmtree(place, ignore_errors=True)
    if os.path.lexists(place):
        shutil.rmtree(f"{place}.aside", ignore_errors=True)
        os.rename(place, f"{place}.aside")


def make(place, kind, argument):
    if kind == "absent":
        return
    if kind == "link":
        os.symlink(place if argument == "itself" else argument, place)
    elif kind == "fifo":
        os.mkfifo(place, 0o666)
    elif kind == "socket":
        os.mknod(place, 0o140666)
    elif kind in DEVICES:
        os.mknod(place, 0o060666 if kind == "disk" else 0o020666, os.makedev(*DEVICES[kind]))
    elif kind == "hard-link":
        os.link("/evil/bin/agent", place)
    elif kind in DIRECTORIES:
        make_directory(place, kind)
    else:
        make_file(place, kind)


def make_directory(place, kind):
    os.mkdir(place)
    below = place
    for _ in range(200 if kind == "deep" else 0):
        below += "/d"
        os.mkdir(below)
    for number in range(2000 if kind == "many" else 3):
        open(f"{place}/{number}", "w").close()
    # What the overlay would read as its own.
    for space in ("trusted", "user") if kind in ("opaque", "redirect") else ():
        os.setxattr(place, f"{space}.overlay.{kind}", b"y" if kind == "opaque" else b"/evil")


def make_file(place, kind):
    with open(place, "w") as file:
        file.write("" if kind == "empty" else "#!/bin/sh\nexec sleep 60\n")
        if kind == "sparse":
            file.truncate(SPARSE)
    os.chmod(place, MODES.get(kind, 0o755))
    if kind == "capability":
        # All capabilities, effective; version 2 of linux/capability.h.
        os.setxattr(place, "security.capability", struct.pack("<5I", 0x02000001, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0))


def lead_astray(program):
    """Makes what links lead to."""
    for base in EVIL:
        try:
            for name in ("bin", "ctl", "empty", "dev", "pts", "shm"):
                os.makedirs(f"{base}/{name}", exist_ok=True)
            with open(f"{base}/bin/agent", "w") as file:
                file.write(program)
            os.chmod(f"{base}/bin/agent", 0o755)
        except OSError:
            # Inside, the kernel's own files are in the way where nobody may take them off.
            continue


def below(root):
    """Nothing but what is in there can be reached from now on; the kernel's own files are not."""
    os.chroot(root)
    os.chdir("/")
    lead_astray(sys.argv[1])
    return planted(json.loads(sys.argv[2]))


def here():
    libc = ctypes.CDLL(None)
    libc.umount2(b"/proc", 2)
    lead_astray(sys.argv[1])
    said = planted(json.loads(sys.argv[2]))
    libc.mount(b"proc", b"/proc", b"proc", 14, None)
    return said


if __name__ == "__main__":
    print("REFUSED", json.dumps(below(sys.argv[3]) if len(sys.argv) > 3 else here()))
