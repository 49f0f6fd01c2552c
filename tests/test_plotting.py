"""Figures: a curve that grows is one figure, not many."""

import numpy as np
from matplotlib import pyplot as plt

from textrec_utils.plotting import LiveCurve


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
