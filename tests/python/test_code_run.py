"""Code in three languages: `process.code_run`."""

import time

import pytest
from daytona import CodeRunParams


@pytest.fixture(scope="module")
def by_language(daytona):
    """One sandbox for each language."""
    from daytona import CreateSandboxFromSnapshotParams

    made = {
        language: daytona.create(CreateSandboxFromSnapshotParams(language=language))
        for language in ("python", "javascript", "typescript")
    }
    yield made
    for sandbox in made.values():
        sandbox.delete()


HELLO = {
    "python": "import sys\nprint('hello'); print('err', file=sys.stderr)",
    "javascript": "console.log('hello'); console.error('err')",
    "typescript": "const word: string = 'hello'; console.log(word); console.error('err')",
}
ARGV_AND_ENV = {
    "python": "import os, sys; print(sys.argv[1:], os.environ['WHO'])",
    "javascript": "console.log(JSON.stringify(process.argv.slice(2)), process.env.WHO)",
    "typescript": "const a: string[] = process.argv.slice(2); console.log(JSON.stringify(a), process.env.WHO)",
}
RAISES = {
    "python": "def f():\n    raise ValueError('broken')\nprint('before')\nf()",
    "javascript": "console.log('before'); function f() { throw new TypeError('broken') }; f()",
    "typescript": "console.log('before'); function f(): void { throw new TypeError('broken') }; f()",
}
EXITS = {
    "python": "import sys; print('out'); sys.exit(9)",
    "javascript": "console.log('out'); process.exit(9)",
    "typescript": "console.log('out'); process.exit(9)",
}
LOOPS = {"python": "while True: pass", "javascript": "while (true) {}", "typescript": "while (true) {}"}
languages = pytest.mark.parametrize("language", ["python", "javascript", "typescript"])


@languages
def test_output(by_language, language):
    answer = by_language[language].process.code_run(HELLO[language])
    assert answer.exit_code == 0
    assert sorted(answer.result.split()) == ["err", "hello"]
    assert answer.artifacts.stdout == answer.result


@languages
def test_arguments_and_environment(by_language, language):
    params = CodeRunParams(argv=["one", "two words", "--three", ""], env={"WHO": "me & you"})
    answer = by_language[language].process.code_run(ARGV_AND_ENV[language], params)
    assert answer.exit_code == 0, answer.result
    assert answer.result.replace("'", '"').replace(", ", ",") == '["one","two words","--three",""] me & you\n'


@languages
def test_exception(by_language, language):
    answer = by_language[language].process.code_run(RAISES[language])
    assert answer.exit_code == 1
    assert answer.result.startswith("before\n")
    assert "broken" in answer.result
    assert ("ValueError" if language == "python" else "TypeError") in answer.result


@languages
def test_exit_code(by_language, language):
    answer = by_language[language].process.code_run(EXITS[language])
    assert (answer.exit_code, answer.result) == (9, "out\n")


@languages
def test_timeout(by_language, language):
    sandbox = by_language[language]
    began = time.monotonic()
    with pytest.raises(Exception, match="timeout") as caught:  # the SDK passes on its client's own class here
        sandbox.process.code_run(LOOPS[language], timeout=2)
    assert caught.value.status == 408
    assert time.monotonic() - began < 4
    killed = sandbox.process.exec(
        "for i in $(seq 50); do ps -eo comm= | grep -qE 'python|node|tsx' || exit 9; sleep 0.02; done"
    )
    assert killed.exit_code == 9


@languages
def test_nothing_is_left_in_the_file_system(by_language, language):
    sandbox = by_language[language]
    before = sandbox.process.exec("ls -A /tmp . | sort").result
    sandbox.process.code_run(HELLO[language])
    assert sandbox.process.exec("ls -A /tmp . | sort").result == before


def test_syntax_errors(by_language):
    for language, code in {"python": "def", "javascript": "let let", "typescript": "let let"}.items():
        answer = by_language[language].process.code_run(code)
        assert answer.exit_code != 0
        assert "SyntaxError" in answer.result or "error" in answer.result.lower()


def test_python_works_in_the_work_dir(by_language):
    sandbox = by_language["python"]
    sandbox.fs.upload_file(b"answer = 42", "mine.py")
    answer = sandbox.process.code_run("import mine, os; print(mine.answer, os.getcwd())")
    assert answer.result == "42 /home/daytona\n"


def test_python_libraries(by_language):
    answer = by_language["python"].process.code_run(
        "import numpy, pandas, requests, matplotlib\nprint(pandas.DataFrame({'a': numpy.arange(4)}).a.sum())"
    )
    assert answer.result == "6\n", answer.result


def test_python_standard_input_is_not_the_code(by_language):
    answer = by_language["python"].process.code_run(
        "import sys\nprint(repr(sys.stdin.read()))\nprint('after')", timeout=10
    )
    assert answer.result == "''\nafter\n"


def test_python_main_and_large_code(by_language):
    filler = "\n".join(f"v{n} = {n}" for n in range(50_000))
    answer = by_language["python"].process.code_run(f"{filler}\nif __name__ == '__main__': print(v49999)")
    assert answer.result == "49999\n"


def test_javascript_modules(by_language):
    sandbox = by_language["javascript"]
    code = "const os = require('os'); const fs = require('fs'); console.log(typeof os.cpus, fs.existsSync('/'))"
    assert sandbox.process.code_run(code).result == "function true\n"


def test_typescript_types(by_language):
    code = """
interface Point { x: number; y: number }
enum Colour { Red = 'red', Blue = 'blue' }
class Box<T> { constructor(private readonly value: T) {} get(): T { return this.value } }
const p: Point = { x: 1, y: 2 };
async function main(): Promise<void> { console.log(p.x + p.y, Colour.Blue, new Box<string>('in').get()) }
main();
"""
    answer = by_language["typescript"].process.code_run(code)
    assert answer.result == "3 blue in\n", answer.result


@pytest.mark.parametrize("code,result", [
    ("try {\n  const x: number = await Promise.resolve(1); console.log(x)\n} catch {}", "1\n"),
    ("if (true) { console.log(await 2) }", "2\n"),
    ("const f = async (): Promise<number> => await 3; console.log(await f())", "3\n"),
    ("const fs = require('fs'); console.log(typeof fs.statSync, await 4)", "function 4\n"),
    ("import * as fs from 'fs';\nimport type { Stats } from 'fs';\nconst s: Stats = fs.statSync('/')\n"
     "console.log(s.isDirectory(), await 5, typeof require('os'))", "true 5 object\n"),
    ("await (async (): Promise<void> => console.log('called'))()", "called\n"),
    (f"//{'x' * 200_000}\nif (true) {{ const y: number = 6; console.log(await y) }}", "6\n"),
], ids=lambda value: value[-40:])
def test_typescript_waits_wherever_the_language_allows_it(by_language, code, result):
    answer = by_language["typescript"].process.code_run(code)
    assert (answer.exit_code, answer.result) == (0, result)


def test_typescript_errors_name_their_line(by_language):
    answer = by_language["typescript"].process.code_run("interface A {\n  a: number\n}\nawait 0\nthrow new Error('bad')")
    assert answer.exit_code == 1 and "bad" in answer.result and "[eval].ts:5:7" in answer.result


def test_unicode(by_language):
    assert by_language["python"].process.code_run("print('ünï 漢字 🎉')").result == "ünï 漢字 🎉\n"
