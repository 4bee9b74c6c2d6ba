"""Which images are attached to loop devices: the server attaches them without a path, so that sandboxes see none."""

import fcntl
import os
import struct
from pathlib import Path

LOOP_GET_STATUS64 = 0x4C05
# `struct loop_info64` of linux/loop.h, which begins with device and inode of the file.
SIZE = 232


def attached():
    """Device and inode of the file below each loop device, as `stat` has them."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        info = bytearray(SIZE)
        try:
            device = os.open(Path("/dev", path.parts[3]), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.ioctl(device, LOOP_GET_STATUS64, info)
        except OSError:
            # It was let go of meanwhile.
            continue
        finally:
            os.close(device)
        encoded, inode = struct.unpack_from("QQ", info)
        # `new_encode_dev` of linux/kdev_t.h.
        major, minor = (encoded >> 8) & 0xFFF, (encoded & 0xFF) | ((encoded >> 12) & 0xFFF00)
        found.add((os.makedev(major, minor), inode))
    return found


def images(directory):
    """The names of the attached images in a directory; one that was deleted has none and is called by its inode."""
    names = {path.stat().st_ino: path.name for path in directory.iterdir()}
    device = directory.stat().st_dev
    return [names.get(inode, f"deleted {inode}") for where, inode in attached() if where == device]


def is_attached(path):
    found = path.stat()
    return (found.st_dev, found.st_ino) in attached()
