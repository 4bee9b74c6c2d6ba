"""Charts that `code_run` finds in matplotlib figures."""

import base64

import pytest
from daytona import BarChart, BoxAndWhiskerChart, ChartType, CompositeChart, LineChart, PieChart, ScatterChart


def charts(sandbox, code):
    answer = sandbox.process.code_run(f"import matplotlib.pyplot as plt\n{code}")
    assert answer.exit_code == 0, answer.result
    assert "dtn_artifact" not in answer.result
    return answer.artifacts.charts


def test_line(sandbox):
    (chart,) = charts(
        sandbox,
        "plt.plot([1, 2, 3], [4, 5, 6], label='a')\nplt.plot([1, 2], [0, 1], label='b')\n"
        "plt.title('T'); plt.xlabel('X'); plt.ylabel('Y'); plt.legend(); plt.show()",
    )
    assert isinstance(chart, LineChart) and chart.type == ChartType.LINE
    assert (chart.title, chart.x_label, chart.y_label) == ("T", "X", "Y")
    assert (chart.x_scale, chart.y_scale) == ("linear", "linear")
    assert [element.label for element in chart.elements] == ["a", "b"]
    assert chart.elements[0].points == [[1, 4], [2, 5], [3, 6]]
    assert chart.x_ticks and len(chart.x_ticks) == len(chart.x_tick_labels)
    assert base64.b64decode(chart.png).startswith(b"\x89PNG")


def test_scatter(sandbox):
    (chart,) = charts(sandbox, "plt.scatter([1, 2], [3, 4], label='s'); plt.show()")
    assert isinstance(chart, ScatterChart)
    assert chart.elements[0].points == [[1, 3], [2, 4]]


def test_bar(sandbox):
    (chart,) = charts(sandbox, "plt.bar(['a', 'b'], [10, 20]); plt.title('Bars'); plt.show()")
    assert isinstance(chart, BarChart)
    assert [(element.label, float(element.value)) for element in chart.elements] == [("a", 10.0), ("b", 20.0)]


def test_pie(sandbox):
    (chart,) = charts(sandbox, "plt.pie([1, 3], labels=['a', 'b']); plt.show()")
    assert isinstance(chart, PieChart)
    assert [element.label for element in chart.elements] == ["a", "b"]
    assert chart.elements[0].angle == pytest.approx(90)


def test_box(sandbox):
    (chart,) = charts(sandbox, "plt.boxplot([[1, 2, 3, 4, 5, 100]]); plt.show()")
    assert isinstance(chart, BoxAndWhiskerChart)
    (box,) = chart.elements
    assert box.median == pytest.approx(3.5)
    assert box.outliers == [100]


def test_composite(sandbox):
    (chart,) = charts(
        sandbox, "f, (a, b) = plt.subplots(1, 2)\na.plot([1, 2]); b.bar(['x'], [1])\nf.suptitle('Two'); plt.show()"
    )
    assert isinstance(chart, CompositeChart)
    assert [element.type for element in chart.elements] == ["line", "bar"]


def test_several_figures(sandbox):
    found = charts(sandbox, "plt.plot([1]); plt.show(); plt.figure(); plt.bar(['a'], [1]); plt.show()")
    assert [chart.type for chart in found] == ["line", "bar"]


@pytest.mark.parametrize(
    "drawn,kind",
    [
        ("plt.boxplot([[1, float('nan'), 3]])", "box_and_whisker"),
        ("plt.boxplot([[]])", "box_and_whisker"),
        ("plt.bar([1, float('nan')], [1, float('nan')])", "bar"),
        ("plt.plot([1, 2], [float('inf'), 3])", "line"),
        ("plt.fill_between([1, 2], [3, 4])", "unknown"),
        ("plt.imshow([[1, 2], [3, 4]])", "unknown"),
        ("plt.figure().add_subplot(projection='3d').scatter([1, 2], [3, 4], [5, 6])", "scatter"),
    ],
)
def test_odd_figures(sandbox, drawn, kind):
    """What a chart cannot tell is left out of it; the code never hears of it."""
    (chart,) = charts(sandbox, f"{drawn}; plt.show()")
    assert (chart.type, base64.b64decode(chart.png)[:4]) == (kind, b"\x89PNG")


def test_large_charts(sandbox):
    """More than 16 MiB in all: an image that does not compress, and many points."""
    made = charts(
        sandbox,
        "import numpy as np\n"
        "plt.figure(figsize=(10, 10), dpi=300); plt.imshow(np.random.rand(2400, 2400, 3), interpolation='nearest')\n"
        "plt.figure(); plt.plot(np.arange(400000), np.random.rand(400000))\nplt.show()",
    )
    assert len(made) == 2
    assert sum(len(chart.png) for chart in made) > 8_000_000
    assert len(made[1].elements[0].points) == 400_000


def test_no_charts(sandbox):
    assert sandbox.process.code_run("print(1)").artifacts.charts == []
