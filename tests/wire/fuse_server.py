"""A file system in user space with one file, `hello`, by the kernel's protocol alone: no library, no helper program.

Mounts itself at the path given, says so, and serves until it is unmounted.
"""

import ctypes
import errno
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, OPENDIR, READDIR = 1, 2, 3, 14, 15, 26, 27, 28
CONTENT = b"from user space\n"
libc = ctypes.CDLL(None, use_errno=True)


def attributes(node):
    mode, size = (stat.S_IFDIR | 0o755, 0) if node == 1 else (stat.S_IFREG | 0o444, len(CONTENT))
    return struct.pack("=QQQQQQIIIIIIIIII", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(operation, node, body):
    if operation == INIT:
        return struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, 0)
    if operation == LOOKUP:
        if body != b"hello\0":
            return -errno.ENOENT
        return struct.pack("=QQQQII", 2, 0, 1, 1, 0, 0) + attributes(2)
    if operation == GETATTR:
        return struct.pack("=QII", 1, 0, 0) + attributes(node)
    if operation in (OPEN, OPENDIR):
        return struct.pack("=QII", 0, 0, 0)
    if operation == READ:
        offset = struct.unpack_from("=Q", body, 8)[0]
        return CONTENT[offset:]
    if operation == READDIR:
        offset = struct.unpack_from("=Q", body, 8)[0]
        return b"" if offset else struct.pack("=QQII8s", 2, 1, 5, 8, b"hello")
    return -errno.ENOSYS


def main(path):
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"test", path.encode(), b"fuse.test", 6, options):
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            # Unmounted.
            sys.exit(0 if error.errno == errno.ENODEV else str(error))
        _, operation, unique, node = struct.unpack_from("=IIQQ", request)
        if operation == FORGET:
            continue
        result = answer(operation, node, request[40:])
        error, body = (result, b"") if isinstance(result, int) else (0, result)
        os.write(device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)


main(sys.argv[1])
