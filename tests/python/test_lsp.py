"""Language servers."""

import pytest
import sdk
from daytona import DaytonaError, LspCompletionPosition, LspLanguageId

PYTHON = b"""import os


class Greeter:
    def greet(self, name):
        return os.path.join("hello", name)


def main():
    greeter = Greeter()
    greeter.
"""
TYPESCRIPT = b"""export class Greeter {
  greet(name: string): string {
    return `hello ${name}`
  }
}
const greeter = new Greeter()
greeter.
"""


@pytest.fixture(scope="module", params=["/home/daytona/lsp-absolute", "lsp-relative"])
def project(request, sandbox):
    path = request.param
    sandbox.fs.upload_file(PYTHON, f"{path}/main.py")
    sandbox.fs.upload_file(TYPESCRIPT, f"{path}/main.ts")
    sandbox.fs.upload_file(b"{}", f"{path}/tsconfig.json")
    return path


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "language,name,line", [(LspLanguageId.PYTHON, "main.py", 10), (LspLanguageId.TYPESCRIPT, "main.ts", 6)]
)
def test_symbols_and_completions(sandbox, project, language, name, line):
    server = sandbox.create_lsp_server(language, project)
    server.start()
    assert "Greeter" in [symbol.name for symbol in server.sandbox_symbols("greet")]
    path = f"{project}/{name}"
    server.did_open(path)
    symbols = server.document_symbols(path)
    assert "Greeter" in [symbol.name for symbol in symbols]
    found = server.completions(path, LspCompletionPosition(line=line, character=12 if name.endswith("py") else 8))
    assert any(item.label.startswith("greet") for item in found.items)
    assert "Greeter" in [symbol.name for symbol in server.sandbox_symbols("greet")]
    assert "Greeter" in [symbol.name for symbol in server.workspace_symbols("greet")], "its older name"
    assert server.sandbox_symbols("no-such-symbol") == []
    server.did_close(path)
    server.stop()


def test_not_started(sandbox):
    server = sandbox.create_lsp_server(LspLanguageId.PYTHON, "/tmp")
    with pytest.raises(sdk.BAD_REQUEST):
        server.did_open("/tmp/x.py")


def test_start_twice(sandbox, project):
    server = sandbox.create_lsp_server(LspLanguageId.PYTHON, project)
    server.start()
    server.start()
    server.stop()
    with pytest.raises(DaytonaError):
        server.document_symbols(f"{project}/main.py")
