"""Says at the end what each version can do, in the form that COMPATIBILITY.md has it."""

import pytest

WALKS = pytest.StashKey()


def pytest_configure(config):
    config.stash[WALKS] = {}


@pytest.fixture
def tell(request):
    """`tell(sdk, version, report)` keeps a walk for the table."""

    def keep(sdk, version, report):
        request.config.stash[WALKS].setdefault(sdk, {})[version] = report

    return keep


def pytest_terminal_summary(terminalreporter, config):
    for sdk, walks in config.stash[WALKS].items():
        for line in table(sdk, walks):
            terminalreporter.write_line(line)


def table(sdk, walks):
    """Methods by versions: `+` works, `–` is not there, a number is a note below."""
    methods, notes = dict.fromkeys(method for report in walks.values() for method in report), {}

    def cell(result):
        if result in ("ok", "absent"):
            return "+" if result == "ok" else "–"
        return str(notes.setdefault(" ".join(result.split())[:160], len(notes) + 1))

    yield ""
    yield f"| {sdk} | {' | '.join(walks)} |"
    yield f"|---|{':-:|' * len(walks)}"
    for method in methods:
        cells = (cell(report[method]) if method in report else " " for report in walks.values())
        yield f"| {method.replace('_', ' ')} | {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {note}" for note, number in notes.items())
