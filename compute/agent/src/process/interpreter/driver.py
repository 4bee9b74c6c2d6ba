"""Runs code that comes on descriptor 3, one piece after the other in one namespace, and reports the end of each on
descriptor 4. Both are moved to numbers that no program guesses, and belong to this process alone: a child that code
forks ends with its piece of code. Standard output and error are pipes that the agent reads.

A message is a line of lengths, then so many bytes for each. One way: the request's number, the code and pairs of
environment variables. The other way: the same number and `begun`, from when on SIGINT is heeded; at the end the number, then
nothing or an error's name, value and traceback. Imports are few, for they are waited for.
"""


def _sebring():
    import builtins
    import fcntl
    import os
    import signal
    import sys
    import types
    from _ast import PyCF_ALLOW_TOP_LEVEL_AWAIT, PyCF_ONLY_AST, Expr, Interactive

    owner = os.getpid()

    def take(descriptor):
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 200 + os.urandom(1)[0])
        os.close(descriptor)
        return moved

    requests = open(take(3), "rb")
    answers = take(4)

    def leave():
        """In a child: what it writes there by mistake or intent must not be taken for its parent's."""
        os.close(requests.fileno())
        os.close(answers)

    os.register_at_fork(after_in_child=leave)
    # Without a display every other backend fails.
    os.environ.setdefault("MPLBACKEND", "Agg")
    main = types.ModuleType("__main__")
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    sys.argv = [""]
    sys.path[:1] = [""]
    lines = {}
    loops = []

    def refuse(prompt=""):
        raise RuntimeError("input() is not supported here: pass values in the code or in the environment")

    builtins.input = refuse

    def receive():
        header = requests.readline()
        if not header:
            os._exit(0)
        return [requests.read(int(length)).decode() for length in header.split()]

    def report(*fields):
        fields = [field.encode("utf-8", "replace") for field in fields]
        message = " ".join(str(len(field)) for field in fields).encode() + b"\n" + b"".join(fields)
        while message:
            message = message[os.write(answers, message) :]

    def run(code, name):
        """All statements; a last expression is shown, as at a prompt."""
        flags = PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", PyCF_ONLY_AST | flags, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], Expr) else None
        parts = [compile(tree, name, "exec", flags, dont_inherit=True)]
        if last is not None:
            parts.append(compile(Interactive([last]), name, "single", flags, dont_inherit=True))
        for part in parts:
            result = eval(part, main.__dict__)
            if result is not None and hasattr(result, "send"):
                wait(result)

    def wait(coroutine):
        import asyncio

        if not loops:
            loops.append(asyncio.new_event_loop())
            asyncio.set_event_loop(loops[0])
        loops[0].run_until_complete(coroutine)

    def describe(error, name):
        import linecache
        import traceback

        for known, text in lines.items():
            linecache.cache[known] = (len(text), None, text.splitlines(True), known)
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
        try:
            value = str(error)
        except Exception:
            value = "<the error has no text>"
        return type(error).__name__, value, text

    def execute(request, code, name):
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            report(request, "begun")
            run(code, name)
            return ()
        except SystemExit as error:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return () if not error.code else describe(error, name)
        except BaseException as error:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return describe(error, name)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def flush():
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass

    def end(fields):
        """As a child ends that comes to the end of its program."""
        import atexit

        status = 0
        if fields[:1] == ("SystemExit",) and fields[1].isdecimal():
            status = int(fields[1])
        elif fields:
            status = 1
            print(fields[1] if fields[0] == "SystemExit" else fields[2], file=sys.stderr)
        try:
            atexit._run_exitfuncs()
            flush()
        finally:
            os._exit(status & 255)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = 0
    while True:
        request, code, *pairs = receive()
        number += 1
        name = f"<input {number}>"
        lines[name] = code
        if len(lines) > 100:
            del lines[next(iter(lines))]
        before = dict(os.environ)
        os.environ.update(zip(pairs[::2], pairs[1::2]))
        try:
            fields = execute(request, code, name)
        except KeyboardInterrupt:
            fields = ("KeyboardInterrupt", "", "KeyboardInterrupt\n")
        if os.getpid() != owner:
            end(fields)
        for variable in pairs[::2]:
            if variable in before:
                os.environ[variable] = before[variable]
            else:
                os.environ.pop(variable, None)
        flush()
        report(request, *fields)


_sebring()
