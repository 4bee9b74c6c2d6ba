"""Makes of the results of a run

report.py table RESULTS                 all figures, as Markdown
report.py specification RESULTS FILE    those that are promised, into FILE between its marks
report.py check RESULTS [PART...]       a line for each promise that was missed; fails when there is one. With parts,
                                        only what they measure.
"""

import json
import re
import sys
from pathlib import Path

from figures import FIGURES, find, shown

BLOCK = re.compile(r"(<!-- figures: made by bench/run -->\n).*(<!-- end of figures -->\n)", re.DOTALL)


def machine(results):
    machine = results["machine"]
    return f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['memory']}; Linux {machine['kernel']}."


def table(results):
    lines = [
        "# Figures of the last run",
        "",
        machine(results),
        "Made by `bench/run`; the raw results are in [last.json](last.json). The same command drifts by a third",
        "between minutes on shared machines: compare rows of one run only. `crun` and `podman` make an empty network",
        "namespace and no agent; their figures hold the start of their own processes.",
        "",
        "| what | measured | promised |",
        "|---|---|---|",
    ]
    for figure in FIGURES:
        value = figure.value(results)
        if value is not None:
            lines.append(f"| {figure.name} | {shown(value)} {figure.unit} | {figure.promise} |")
    return "\n".join(lines) + "\n"


def specification(results):
    lines = [
        machine(results),
        "In bold what missed its promise in this run; `bench/run --check` fails then.",
        "",
        "| what | promised | measured |",
        "|---|---|---|",
    ]
    for figure in FIGURES:
        value = figure.value(results)
        if not figure.is_promised or value is None:
            continue
        measured = f"{shown(value)} {figure.unit}"
        if figure.misses(results):
            measured = f"**{measured}**"
        other = find(results, figure.below) if figure.below else None
        beside = f"; `crun run` {shown(other)} {figure.unit}" if other is not None else ""
        lines.append(f"| {figure.name} | {figure.promise} | {measured}{beside} |")
    return "\n".join(lines) + "\n"


def main(what, path, *more):
    results = json.loads(Path(path).read_text(encoding="utf-8"))
    match what:
        case "table":
            print(table(results), end="")
        case "specification":
            (file,) = map(Path, more)
            text, count = BLOCK.subn(
                lambda found: f"{found[1]}{specification(results)}{found[2]}", file.read_text(encoding="utf-8")
            )
            if count != 1:
                sys.exit(f"{file} has {count} places for figures, not one")
            file.write_text(text, encoding="utf-8")
        case "check":
            wanted = [figure for figure in FIGURES if not more or figure.path[0] in more]
            missed = [f"{figure.name}: {miss}" for figure in wanted for miss in figure.misses(results)]
            promised = sum(figure.is_promised for figure in wanted)
            print(*missed, f"{promised} figures are promised, missed: {len(missed)}", sep="\n")
            sys.exit(1 if missed or promised == 0 else 0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
