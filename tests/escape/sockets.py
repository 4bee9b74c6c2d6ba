"""Asks, inside, for a socket of every family, type and protocol; prints as JSON those that there are.

Standard library only.
"""

import errno
import json
import socket

FAMILIES = range(1, 46)
TYPES = {1: "stream", 2: "datagram", 3: "raw", 4: "rdm", 5: "seqpacket", 6: "dccp", 10: "packet"}
# Families where each protocol is something else.
BY_PROTOCOL = (2, 10, 16)
# What says that there is none; anything else is the socket's own trouble.
ABSENT = {
    errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS,
}  # fmt: skip


def there(family, kind, protocol):
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return error.errno not in ABSENT
    return True


if __name__ == "__main__":
    found = []
    for family in FAMILIES:
        for kind, name in TYPES.items():
            # Packet sockets, which closing keeps a while, in both of their forms.
            protocols = range(263) if family in BY_PROTOCOL and kind != 10 else (0,)
            made = [protocol for protocol in protocols if there(family, kind, protocol)]
            if made:
                found.append([family, name, made])
    print("FOUND", json.dumps(found))
