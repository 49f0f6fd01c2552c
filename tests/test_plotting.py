"""Figures: a curve that grows is one figure, not many; names from data are shown as they are written."""

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from PIL import Image

from textrec_utils.core import Cost
from textrec_utils.evaluation import Result, leaderboard
from textrec_utils.plotting import LiveCurve, plot_curves, plot_leaderboard, plot_map, sharp_png, spread_labels


def test_a_live_curve_is_one_figure_that_is_updated(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", [ax.lines[0].get_ydata().tolist() for ax in figure.axes]))

    def display(figure, display_id):
        shown.append(("display", [ax.lines[0].get_ydata().tolist() for ax in figure.axes]))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    curve, before = LiveCurve("验证 ndcg@10"), plt.get_fignums()
    curve(np.array([[10, 5.0, 0.1]]))
    curve(np.array([[10, 5.0, 0.1], [20, 4.0, 0.2]]))
    assert shown == [("display", [[5.0], [0.1]]), ("update", [[5.0, 4.0], [0.1, 0.2]])]
    assert plt.get_fignums() == before  # nothing is left open to be drawn a second time


def test_dollars_and_backslashes_in_names_are_no_formulas():
    name = r"$\frac$ 和 $x_1$ \a"
    users = pd.DataFrame({"ndcg@10": [0.0, 0.5, 1.0]})
    result = SimpleNamespace(method=name, users=users, mean=lambda m: 0.5, interval=lambda m: (0.2, 0.8))
    axes = [
        plot_map(np.array([[0.0, 1.0]]), [name], pd.Series([name])),
        plot_leaderboard([result], "ndcg@10", title=name),
        plot_curves({name: np.array([[0.0, 1.0], [1.0, 2.0]])}, "步", "损失"),
    ]
    for ax in axes:
        ax.figure.canvas.draw()  # a broken formula raises here
    legend = axes[0].get_legend().get_texts()[0]
    alone = plt.figure().text(0, 0, r"\$\frac\$ 和 \$x_1\$ \a", font=legend.get_fontproperties())
    assert legend.get_window_extent().width == alone.get_window_extent().width
    plt.close("all")


def test_labels_of_a_map_keep_off_each_other():
    points = np.array([[0.0, 0.0], [0.01, 0.0], [0.0, 0.02], [1.0, 1.0]])
    ax = plot_map(points, ["一个长长的片名"] * 4, pd.Series(list("甲甲乙乙")))

    def overlaps():
        boxes = [label.get_window_extent() for label in ax.texts]
        dots = ax.transData.transform(points)
        pairs = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        return pairs + sum(box.count_contains(dots) for box in boxes)

    ax.figure.canvas.draw()
    assert overlaps() > 0
    spread_labels(ax)
    assert overlaps() == 0
    plt.close("all")


def test_labels_keep_off_markers_without_a_label_too():
    _, ax = plt.subplots()
    others = [(x / 40, 0.0) for x in range(1, 12)]  # to the right of the one that is named
    ax.scatter(*zip((0.0, 0.0), *others, (1.0, 1.0)))
    ax.annotate("一个长长的名字", (0.0, 0.0), (6, 0), textcoords="offset points")
    for known, free in (((), False), (others, True)):
        spread_labels(ax, points=known)
        box = ax.texts[0].get_window_extent()
        assert (box.count_contains(ax.transData.transform(others)) == 0) == free
    plt.close("all")


def test_equal_methods_stand_in_the_chart_as_in_the_table():
    results = [Result(n, np.zeros((0, 1), int), pd.DataFrame({"ndcg@1": v}), Cost(), {}, n)
               for n, v in (("甲", [0.1]), ("乙", [0.2]), ("丙", [0.2]), ("丁", [0.1]))]  # fmt: skip
    labels = [label.get_text() for label in plot_leaderboard(results, "ndcg@1").get_yticklabels()][::-1]
    assert labels == list(leaderboard(results)["方法"]) == ["乙", "丙", "甲", "丁"]
    plt.close("all")


def test_a_figure_in_a_notebook_has_two_dots_to_a_pixel_of_the_page_and_few_bytes():
    figure, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).random((9, 9)), cmap="viridis")
    png, size = sharp_png(figure)
    picture, plain = Image.open(io.BytesIO(png)), io.BytesIO()
    figure.savefig(plain, format="png", dpi=2 * figure.dpi, bbox_inches="tight")
    assert picture.size == Image.open(plain).size and len(png) < len(plain.getvalue())
    assert (size["width"], size["height"]) == tuple(n // 2 for n in picture.size)
    assert len(set(picture.convert("RGB").get_flattened_data())) > 81  # no colour of the picture is lost to the palette
    plt.close(figure)
    assert sharp_png(plt.Figure()) is None


def test_a_script_without_a_font_leaves_no_warning_in_the_page():
    figure, ax = plt.subplots()
    ax.set_title("ไทย")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sharp_png(figure)
    plt.close(figure)
