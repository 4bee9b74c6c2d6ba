"""python3 -m unittest discover bench"""

import json
import unittest
from pathlib import Path

import report
from figures import FIGURES, Figure

HERE = Path(__file__).parent
BOUND = Figure("create", ("create", "p50"), "ms", at_most=5, below=("crun", "p50"))


class Promises(unittest.TestCase):
    def test_a_figure_within_its_promise_misses_nothing(self):
        self.assertEqual(BOUND.misses({"create": {"p50": 5}, "crun": {"p50": 5}}), [])
        rate = Figure("rate", ("rate",), "/s", at_least=200)
        self.assertEqual(rate.misses({"rate": 200}), [])

    def test_a_miss_says_by_how_much(self):
        self.assertEqual(
            BOUND.misses({"create": {"p50": 6}, "crun": {"p50": 5.5}}),
            ["is 6.00, promised at most 5 ms", "is 6.00 ms where crun is 5.50"],
        )
        rate = Figure("rate", ("rate",), "/s", at_least=200)
        self.assertEqual(rate.misses({"rate": 189}), ["is 189, promised at least 200 /s"])

    def test_what_was_not_measured_keeps_no_promise(self):
        self.assertEqual(BOUND.misses({}), ["was not measured"])
        self.assertEqual(BOUND.misses({"create": {"p50": 1}}), ["could not be compared: crun was not measured"])
        self.assertEqual(Figure("beside", ("beside",), "ms").misses({}), [])

    def test_alike_allows_what_machines_drift(self):
        alike = Figure("with", ("with",), "ms", like=("without",))
        self.assertEqual(alike.misses({"with": 4.3, "without": 4}), [])
        self.assertEqual(len(alike.misses({"with": 4.5, "without": 4})), 1)


class Tables(unittest.TestCase):
    def setUp(self):
        self.results = json.loads((HERE / "last.json").read_text(encoding="utf-8"))

    def test_the_written_tables_are_of_the_last_run(self):
        self.assertEqual(report.table(self.results), (HERE / "RESULTS.md").read_text(encoding="utf-8"))
        specification = (HERE.parent / "SPECIFICATION.md").read_text(encoding="utf-8")
        self.assertIn(report.specification(self.results), specification)

    def test_names_and_paths_are_of_one_figure_each(self):
        for key in ("name", "path"):
            values = [getattr(figure, key) for figure in FIGURES]
            self.assertEqual(len(set(values)), len(values))


if __name__ == "__main__":
    unittest.main()
