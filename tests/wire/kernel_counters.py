"""Runs inside a sandbox: takes what the kernel counts for all, and says how far it came.

    python3 kernel_counters.py WHAT [hold]

With `hold` it keeps what it has until it is told to end (SIGTERM).
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
name = errno.errorcode.get


def attempt(call, *arguments):
    """`ok`, or the name of the error."""
    try:
        call(*arguments)
    except OSError as error:
        return name(error.errno)
    return "ok"


def as_many_as_possible(make, most):
    """How many came to be, and the error that ended it."""
    for count in range(most):
        ctypes.set_errno(0)
        if make(count) is False:
            return count, name(ctypes.get_errno())
    return most, None


class Attributes(ctypes.Structure):
    _fields_ = [(field, ctypes.c_long) for field in ("flags", "messages", "size", "current", "a", "b", "c", "d")]


queues = []


def open_queue(number):
    queue = b"/counters-%d-%d" % (os.getpid(), number)
    if libc.mq_open(queue, os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(Attributes(0, 10, 8192))) < 0:
        return False
    queues.append(queue)
    return True


def queue_signal(_):
    return libc.sigqueue(os.getpid(), 34, 0) == 0


def make_timer(_):
    timer = ctypes.c_void_p()
    return libc.timer_create(1, None, ctypes.byref(timer)) == 0


terminals = []


def open_terminal(_):
    try:
        terminals.extend(os.openpty())
    except OSError as error:
        ctypes.set_errno(error.errno)
        return False
    return True


def protocols():
    """Of netlink, those that there are."""
    answers = {protocol: attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, protocol) for protocol in range(32)}
    return [protocol for protocol, answer in answers.items() if answer == "ok"], sorted(set(answers.values()))


def families():
    answers = {}
    for label, (family, kind, protocol) in {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, 6),
        "udp": (socket.AF_INET6, socket.SOCK_DGRAM, 17),
        "ping": (socket.AF_INET, socket.SOCK_DGRAM, 1),
        "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "unix": (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0),
        "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
        "sctp": (socket.AF_INET, socket.SOCK_STREAM, 132),
        "sctp-packets": (socket.AF_INET, socket.SOCK_SEQPACKET, 132),
        "dccp": (socket.AF_INET, 6, 33),
        "udplite": (socket.AF_INET, socket.SOCK_DGRAM, 136),
        "l2tp": (socket.AF_INET, socket.SOCK_DGRAM, 115),
        "alg": (38, socket.SOCK_SEQPACKET, 0),
        "vsock": (40, socket.SOCK_STREAM, 0),
    }.items():
        answers[label] = attempt(socket.socket, family, kind, protocol)
    answers["pair of unix"] = attempt(socket.socketpair)
    answers["pair of tcp"] = attempt(socket.socketpair, socket.AF_INET)
    return answers


def options():
    """What each socket option answers; filters are of one instruction, rings of one block."""
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0xFFFF))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    tcp = socket.socket()
    udp = socket.socket(type=socket.SOCK_DGRAM)
    answers = {
        "filter": attempt(udp.setsockopt, 1, 26, program),
        "bpf": attempt(udp.setsockopt, 1, 50, 7),
        "filter of a group": attempt(udp.setsockopt, 1, 51, program),
        "bpf of a group": attempt(udp.setsockopt, 1, 52, 7),
        "buffer": attempt(udp.setsockopt, 1, 8, 1 << 20),
        "forced send buffer": attempt(udp.setsockopt, 1, 32, 1 << 30),
        "forced receive buffer": attempt(udp.setsockopt, 1, 33, 1 << 30),
        "tls": attempt(tcp.setsockopt, 6, 31, b"tls"),
        "nodelay": attempt(tcp.setsockopt, 6, 1, 1),
        "ipsec": attempt(udp.setsockopt, 0, 17, bytes(200)),
    }
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    answers["multicast routing"] = attempt(raw.setsockopt, 0, 200, 1)
    answers["header included"] = attempt(raw.setsockopt, 0, 3, 1)
    try:
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError:
        return answers
    ring = struct.pack("IIII", 4096, 1, 2048, 2)
    answers["receive ring"] = attempt(packet.setsockopt, 263, 5, ring)
    answers["send ring"] = attempt(packet.setsockopt, 263, 13, ring)
    answers["ring of version 3"] = attempt(packet.setsockopt, 263, 5, ring + bytes(12))
    answers["fan-out"] = attempt(packet.setsockopt, 263, 18, struct.pack("HHI", 1, 0, 65536))
    answers["version"] = attempt(packet.setsockopt, 263, 10, 2)
    answers["extra data"] = attempt(packet.setsockopt, 263, 8, 1)
    return answers


def others():
    context = ctypes.c_ulong()
    asynchronous = libc.syscall({"x86_64": 206, "aarch64": 0}[os.uname().machine], 1, ctypes.byref(context))
    asynchronous = name(ctypes.get_errno()) if asynchronous else "ok"
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("HP", 1, ctypes.addressof(instruction)))
    filtered = libc.prctl(22, 2, program, 0, 0)
    return {
        "filter of calls": name(ctypes.get_errno()) if filtered else "ok",
        "io_setup": asynchronous,
        "huge pages": attempt(mmap.mmap, -1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000),
        "huge file": attempt(os.memfd_create, "huge", 4),
        "file": attempt(os.memfd_create, "small", 1),
    }


def main(what, hold=False):
    signal.pthread_sigmask(signal.SIG_BLOCK, [34, signal.SIGTERM])
    counted = {
        "queues": (open_queue, 400),
        "two-queues": (open_queue, 2),
        "signals": (queue_signal, 20_000),
        "timers": (make_timer, 100),
        "terminals": (open_terminal, 400),
        "terminal": (open_terminal, 1),
    }
    if what in counted:
        print(json.dumps(as_many_as_possible(*counted[what])), flush=True)
        if hold:
            signal.sigwait([signal.SIGTERM])
        for queue in queues:
            libc.mq_unlink(queue)
    elif what == "sockets":
        print(json.dumps({"netlink": protocols(), "families": families(), "options": options(), "others": others()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
