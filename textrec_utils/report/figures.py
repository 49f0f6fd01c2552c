"""The report's own figures: quality against time, hit rates by group with their intervals."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from textrec_utils.core.escape import in_figure
from textrec_utils.plotting import GREYS, MARKERS, spread_labels, use_cjk_font
from textrec_utils.report.comparisons import Sides, front
from textrec_utils.report.groups import Grouping
from textrec_utils.report.methods import METHODS
from textrec_utils.report.run import Report


def cost_figure(report: Report, sides: Sides) -> Axes:
    """Each method's main metric over its seconds, the front joined and named. A family has the same colour and marker
    in every report, whichever others are there."""
    use_cjk_font()
    _, ax = plt.subplots(figsize=(7.5, 4.2))
    places = {key: (r.cost.seconds, r.mean(report.main)) for key, r in report.results.items()}
    for i, family in enumerate(dict.fromkeys(method.family for method in METHODS.values())):
        points = [place for key, place in places.items() if METHODS[key].family == family]
        if not points:
            continue
        look = {"marker": MARKERS[i % len(MARKERS)], "color": GREYS[i % len(GREYS)], "label": family}
        ax.scatter(*zip(*points), s=45, zorder=3, **look)
    edge = np.array([places[r.key] for r in front(report)]).reshape(-1, 2)
    ax.plot(edge[:, 0], edge[:, 1], "--", color=GREYS[4], linewidth=1)
    named = {r.key: r for r in (*front(report), sides.text, sides.behaviour)}.values()
    look = {"fontsize": 9, "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}}
    for result in named:
        ax.annotate(in_figure(result.method), places[result.key], (6, 6), textcoords="offset points", **look)
    ax.set(xscale="log", xlabel="总时间（秒，对数轴）", ylabel=report.main)
    ax.margins(x=0.14, y=0.12)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    spread_labels(ax, margin=4, points=list(places.values()))
    return ax


def group_figure(found: list[Grouping], sides: Sides) -> np.ndarray | None:
    """Both methods' hit rates in each group, an Axes a grouping; None where there is nothing to show."""
    shown = [g for g in found if len(g.table)]
    if not shown:
        return None
    use_cjk_font()
    size = (min(9.5, 2.5 * len(shown) + 0.5), 3.6)
    figure, axes = plt.subplots(1, len(shown), figsize=size, squeeze=False, sharex=True)
    for ax, grouping in zip(axes[0], shown):
        y = np.arange(len(grouping.table))
        for shift, side, color in ((-0.2, sides.text, GREYS[0]), (0.2, sides.behaviour, GREYS[2])):
            rate = grouping.table[side.method].to_numpy(dtype=float)
            ax.barh(y + shift, rate, 0.38, color=color, label=side.method)
            if side.method in grouping.spans:
                error = np.abs(grouping.spans[side.method].T - rate)
                ax.errorbar(rate, y + shift, xerr=error, fmt="none", ecolor=GREYS[4], elinewidth=1, capsize=2)
        ax.set_yticks(y, [in_figure(group[:9]) for group in grouping.table["组"]])
        ax.set(xlabel="命中率", title=grouping.name)  # the thin lines are 95% intervals, said beside the figure
        ax.invert_yaxis()
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return axes[0]
