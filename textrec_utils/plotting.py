"""Figures with Chinese labels that stay readable in grey, each with axis names and units."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from textrec_utils.core.escape import in_figure

GREYS = ["#1b3a5c", "#4f86b8", "#9cc3e0", "#d9a441", "#8a8a8a", "#c44e52", "#5b8c5a"]  # distinct in lightness too
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


@lru_cache(maxsize=1)
def use_cjk_font() -> str:
    """Register the font that mplfonts carries and set the course's style. Returns the font's name.

    The file itself is registered: a name alone fails where matplotlib's font cache is stale.
    """
    import mplfonts

    path = Path(mplfonts.__file__).parent / "fonts" / "NotoSansCJKsc-Regular.otf"
    font_manager.fontManager.addfont(str(path))
    name = font_manager.FontProperties(fname=str(path)).get_name()
    matplotlib.rcParams.update({
        "font.family": [name, "DejaVu Sans"], "axes.unicode_minus": False, "figure.dpi": 96, "savefig.dpi": 96,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
        "axes.axisbelow": True,
        "axes.prop_cycle": matplotlib.cycler(color=GREYS), "figure.figsize": (7.5, 4.2), "font.size": 10.5,
        "figure.constrained_layout.use": True,
    })  # fmt: skip
    _show_sharply()
    return name


def _show_sharply() -> None:
    """In a notebook, show figures with two dots where the page has one: fine print stays readable on dense screens."""
    from IPython import get_ipython

    if shell := get_ipython():
        plt.switch_backend(matplotlib.get_backend())  # it brings a formatter of its own when loaded: ours comes after
        shell.display_formatter.formatters["image/png"].for_type(Figure, sharp_png)


def sharp_png(figure: Figure, dots: int = 2) -> tuple[bytes, dict] | None:
    """(PNG, {"width", "height"} in pixels of the page) of a figure; None where there is nothing on it.

    A palette of 256 colours makes the file a third of the size, so that a chapter with ten figures stays below 1 MB.
    """
    from PIL import Image

    if not figure.axes:
        return None
    raw, small = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names of data in Thai, say: drawn as boxes
        figure.savefig(raw, format="png", dpi=dots * figure.dpi, bbox_inches="tight")
    picture = Image.open(raw).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue(), {"width": picture.width // dots, "height": picture.height // dots}


def plot_leaderboard(results, metric: str, ax: Axes | None = None, title: str = "") -> Axes:
    """Horizontal points with 95% intervals, best on top; `results` as `evaluation.leaderboard` takes them."""
    use_cjk_font()
    ordered = sorted(results, key=lambda r: -r.mean(metric))[::-1]  # equal ones as in the tables
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 0.8 + 0.34 * len(ordered)))
    means = np.array([r.mean(metric) for r in ordered])
    spans = np.array([r.interval(metric) for r in ordered])
    error = np.abs(spans.T - means)
    ax.errorbar(means, range(len(ordered)), xerr=error, fmt="o", color=GREYS[0], ecolor=GREYS[1], capsize=3)
    ax.set_yticks(range(len(ordered)), [in_figure(r.method) for r in ordered])
    ax.set_xlabel(f"{metric}（点为均值，横线为 95% 区间）")
    ax.set_xlim(left=0)
    ax.set_title(in_figure(title))
    return ax


def plot_curves(curves: dict[str, np.ndarray], x_label: str, y_label: str, ax: Axes | None = None) -> Axes:
    """Lines told apart by colour and marker; each curve is (points, 2): x, y."""
    use_cjk_font()
    if ax is None:
        _, ax = plt.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        look = {"marker": MARKERS[i % len(MARKERS)], "color": GREYS[i % len(GREYS)], "markersize": 4}
        ax.plot(curve[:, 0], curve[:, 1], label=in_figure(name), **look)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.legend(frameon=False)
    return ax


class LiveCurve:
    """A learning curve that grows in the notebook while the model trains; give it to a trainer as `watch`.

    Called with the curve so far, (points, 2 or 3): step, training loss and, where there is a judge, its value.
    """

    def __init__(self, judged: str = "验证分数"):
        self.judged, self._handle = judged, None

    def __call__(self, curve: np.ndarray) -> None:
        from IPython.display import display

        use_cjk_font()
        names = ["训练损失（nat）", self.judged][: curve.shape[1] - 1]
        figure, axes = plt.subplots(1, len(names), figsize=(4.5 * len(names), 3.2), squeeze=False)
        for i, (ax, name) in enumerate(zip(axes[0], names)):
            ax.plot(curve[:, 0], curve[:, i + 1], marker=MARKERS[i], markersize=4, color=GREYS[i])
            ax.set_xlabel("步")
            ax.set_title(name)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)  # shown once, not again at the end of the cell


def plot_map(points: np.ndarray, labels: list[str], groups: pd.Series, ax: Axes | None = None) -> Axes:
    """A 2-D map of labelled points; groups by colour and marker. points: (n, 2)."""
    use_cjk_font()
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 7))
    for i, group in enumerate(groups.unique()):
        chosen = (groups == group).to_numpy()
        look = {"marker": MARKERS[i % len(MARKERS)], "color": GREYS[i % len(GREYS)], "s": 26}
        ax.scatter(*points[chosen].T, label=in_figure(group), **look)
    for (x, y), label in zip(points, labels):
        ax.annotate(in_figure(label), (x, y), fontsize=8.5, xytext=(3, 3), textcoords="offset points")
    ax.legend(frameon=False, loc="best")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("第一维（无单位）")
    ax.set_ylabel("第二维（无单位）")
    return ax


def spread_labels(ax: Axes, margin: float = 2, points: Sequence[tuple[float, float]] = ()) -> None:
    """Move the labels of `plot_map` apart; call it last, when legend, title and limits are final.

    Each label goes to the place around its point where it covers least of the markers and of the other labels, and
    leaves the axes least; near places come first. Two rounds, since the first labels don't know of the last.
    margin: what stays free around a label, in pixels. points: markers without a label, to be left free as well, in
    the axes' units.
    """
    ax.figure.canvas.draw()  # the layout must be final before boxes are measured
    places = list(dict.fromkeys([*(tuple(label.xy) for label in ax.texts), *points]))
    markers = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in ax.transData.transform(places)]
    frame, boxes = ax.get_window_extent(), {}
    sides = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    around = [(far, *side) for far in (6, 11, 17, 24) for side in sides]

    def put(label, place: tuple[int, int, int]) -> Bbox:
        far, x, y = place
        label.set_position((far * x, far * y))  # in points, from its marker
        label.set_horizontalalignment({-1: "right", 0: "center", 1: "left"}[x])
        label.set_verticalalignment({-1: "top", 0: "center", 1: "bottom"}[y])
        return label.get_window_extent().padded(margin)

    def covered(box: Bbox, others: list[Bbox]) -> float:
        shared = [common for other in others if (common := Bbox.intersection(box, other))]
        inside = Bbox.intersection(box, frame)
        outside = box.width * box.height - (inside.width * inside.height if inside else 0)
        return sum(common.width * common.height for common in shared) + outside

    for i, label in [*enumerate(ax.texts)] * 2:
        others = markers + [box for j, box in boxes.items() if j != i]
        best = min(around, key=lambda place: covered(put(label, place), others) + 2 * place[0])
        boxes[i] = put(label, best)
