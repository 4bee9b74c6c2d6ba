"""The stateful Python interpreter."""

import time

import pytest
from daytona import DaytonaError, DaytonaNotFoundError, DaytonaTimeoutError


def test_state_and_output(sandbox):
    out, err = [], []
    result = sandbox.code_interpreter.run_code(
        "import sys\nx = 41\nprint('out'); print('err', file=sys.stderr)",
        on_stdout=lambda message: out.append(message.output),
        on_stderr=lambda message: err.append(message.output),
    )
    assert (result.stdout, result.stderr, result.error) == ("out\n", "err\n", None)
    assert ("".join(out), "".join(err)) == ("out\n", "err\n")
    assert sandbox.code_interpreter.run_code("x += 1\nprint(x)").stdout == "42\n"
    assert sandbox.code_interpreter.run_code("def f():\n    return x * 2\n").error is None
    assert sandbox.code_interpreter.run_code("print(f())").stdout == "84\n"


def test_output_comes_as_it_is_produced(sandbox):
    arrived = []
    began = time.monotonic()
    sandbox.code_interpreter.run_code(
        "import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('second')",
        on_stdout=lambda message: arrived.append((time.monotonic() - began, message.output)),
    )
    assert arrived[0][0] < 0.8
    assert "".join(text for _, text in arrived) == "first\nsecond\n"


def test_error(sandbox):
    errors = []
    result = sandbox.code_interpreter.run_code(
        "print('before')\ndef g():\n    raise ValueError('bad ü')\ng()", on_error=errors.append
    )
    assert result.stdout == "before\n"
    assert (result.error.name, result.error.value) == ("ValueError", "bad ü")
    assert "Traceback" in result.error.traceback and "g()" in result.error.traceback
    assert errors[0].name == "ValueError"
    assert sandbox.code_interpreter.run_code("print('usable')").stdout == "usable\n"


def test_syntax_error(sandbox):
    result = sandbox.code_interpreter.run_code("def (")
    assert result.error.name == "SyntaxError"


def test_exit_is_an_error_not_an_end(sandbox):
    result = sandbox.code_interpreter.run_code("import sys; sys.exit(3)")
    assert result.error.name == "SystemExit"
    assert sandbox.code_interpreter.run_code("print(1)").stdout == "1\n"


def test_exit_with_0_is_an_end(sandbox):
    for code in ("import sys; sys.exit(0)", "raise SystemExit"):
        assert sandbox.code_interpreter.run_code(code).error is None


def test_children_do_not_answer(sandbox):
    code = "import os\nv = 0\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n_ = os.write(1, b'parent\\n' if pid else b'child\\n')"
    assert sandbox.code_interpreter.run_code(code).stdout == "child\nparent\n"
    for number in (1, 2, 3):
        assert sandbox.code_interpreter.run_code("v += 1\nprint(v)").stdout == f"{number}\n"


def test_environment_is_of_one_run(sandbox):
    code = "import os; print(os.environ.get('ONLY_HERE'))"
    assert sandbox.code_interpreter.run_code(code, envs={"ONLY_HERE": "yes"}).stdout == "yes\n"
    assert sandbox.code_interpreter.run_code(code).stdout == "None\n"


def test_timeout_leaves_the_context_usable(sandbox):
    sandbox.code_interpreter.run_code("kept = 7")
    began = time.monotonic()
    with pytest.raises(DaytonaTimeoutError):
        sandbox.code_interpreter.run_code("while True: pass", timeout=1)
    assert time.monotonic() - began < 4
    assert sandbox.code_interpreter.run_code("print(kept)").stdout == "7\n"


def test_contexts_are_apart(sandbox):
    context = sandbox.code_interpreter.create_context(cwd="/tmp")
    try:
        assert (context.cwd, context.language, context.active) == ("/tmp", "python", True)
        sandbox.code_interpreter.run_code("secret = 1")
        result = sandbox.code_interpreter.run_code("import os; print(os.getcwd()); secret", context=context)
        assert result.stdout == "/tmp\n"
        assert result.error.name == "NameError"
        assert context.id in [found.id for found in sandbox.code_interpreter.list_contexts()]
    finally:
        sandbox.code_interpreter.delete_context(context)
    assert context.id not in [found.id for found in sandbox.code_interpreter.list_contexts()]
    with pytest.raises(DaytonaError):
        sandbox.code_interpreter.run_code("1", context=context)
    with pytest.raises(DaytonaNotFoundError):
        sandbox.code_interpreter.delete_context(context)


def test_input_is_refused_clearly(sandbox):
    result = sandbox.code_interpreter.run_code("input('name? ')")
    assert result.error is not None
    assert "input" in (result.error.name + result.error.value).lower()


def test_an_interpreter_that_dies(sandbox):
    context = sandbox.code_interpreter.create_context()
    with pytest.raises(DaytonaError):
        sandbox.code_interpreter.run_code("import os; os._exit(1)", context=context)
    assert sandbox.code_interpreter.run_code("print('default lives')").stdout == "default lives\n"


def test_empty_code(sandbox):
    with pytest.raises(DaytonaError):
        sandbox.code_interpreter.run_code("")


def test_large_output(sandbox):
    result = sandbox.code_interpreter.run_code("for i in range(100000): print(i)")
    assert result.stdout.split() == [str(n) for n in range(100_000)]


def test_subprocess_output_is_seen(sandbox):
    result = sandbox.code_interpreter.run_code(
        "import os, subprocess\nsubprocess.run(['echo', 'child'])\nos.system('echo sys')"
    )
    assert "child" in result.stdout and "sys" in result.stdout
