#!/usr/bin/env python3
"""`mount` and `umount` by the system calls alone, for images that have neither; named by how it is called."""

import ctypes
import os
import sys

FLAGS = {"ro": 1, "remount": 32, "bind": 4096, "rw": 0}
libc = ctypes.CDLL(None, use_errno=True)


def main(name, arguments):
    if name == "umount":
        return libc.umount2(arguments[0].encode(), 0)
    kind, options, places = None, [], []
    while arguments:
        word = arguments.pop(0)
        if word == "-t":
            kind = arguments.pop(0).encode()
        elif word == "-o":
            options = arguments.pop(0).split(",")
        else:
            places.append(word.encode())
    flags = sum(FLAGS[option] for option in options if option in FLAGS)
    data = ",".join(option for option in options if option not in FLAGS).encode()
    source, target = places if len(places) == 2 else (b"none", places[0])
    return libc.mount(source, target, kind, flags, data or None)


if main(os.path.basename(sys.argv[0]), sys.argv[1:]) != 0:
    sys.exit(f"{sys.argv[0]}: {os.strerror(ctypes.get_errno())}")
