"""Chapter 06: the temperature, a step of training by hand, losses, hard negatives, early stopping, a control."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from textrec_utils.exercises.judge import Wrong, exercise, require, require_array, require_number, run
from textrec_utils.losses import in_batch_loss


def plain(answer: Any) -> Any:
    """A tensor without its graph, anything else as it is."""
    return answer.detach() if isinstance(answer, torch.Tensor) else answer


@exercise(
    "06-1",
    "最理想时，正例的分数是1/τ，其余1681部都是−1/τ：先写出softmax给正例的概率",
    "分子分母同除以正例的指数：概率是 1 / (1 + 1681·exp(−2/τ))；令它不小于0.99，解出τ",
    "解出的上限有许多位小数；“最大的两位小数”要往小的方向取，不是四舍五入",
)
def temperature(answer):
    def best_case(tau: float) -> float:
        return 1 / (1 + 1681 * np.exp(-2 / tau))

    number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
    require(number and np.isfinite(answer), f"温度应当是一个数，这里是{type(answer).__name__}")
    require(answer > 0, "温度应当是正数")
    require(abs(answer * 100 - round(answer * 100)) < 1e-6, "只要两位小数")
    require(best_case(answer) >= 0.99, "太大了：最理想时，概率也到不了0.99")
    require(best_case(answer + 0.01) < 0.99, "还可以再大一点")


def stepped(weight: torch.Tensor, x: torch.Tensor, history: list, target: int, tau: float, rate: float) -> torch.Tensor:
    weight = weight.clone().requires_grad_()
    z = F.normalize(x @ weight.T, dim=1)
    u = F.normalize(z[history].sum(0), dim=0)
    others = [i for i in range(len(x)) if i not in history]
    loss = -F.log_softmax(z[others] @ u / tau, dim=0)[others.index(target)]
    (gradient,) = torch.autograd.grad(loss, weight)
    return weight.detach() - rate * gradient


@exercise(
    "06-2",
    "照第3节的`log_probability`写，只是头换成一个矩阵：`z = F.normalize(x @ weight.T, dim=1)`",
    "候选是不在历史里的全部物品；损失是候选上softmax给`target`的概率取负对数，注意`target`在候选里排第几",
    "`torch.autograd.grad(损失, 矩阵)`给出梯度；先`weight.clone().requires_grad_()`，不要改动传进来的矩阵",
    "返回 `weight.detach() - rate * 梯度`：往损失变小的方向走一步",
)
def training_step(answer):
    generator = torch.Generator().manual_seed(6)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    cases = {
        "7部，历史2部": (drawn(3, 5), drawn(7, 5), [0, 1], 2, 0.1, 0.05),
        "历史在中间，只有1部": (drawn(4, 6), drawn(6, 6), [3], 5, 0.5, 0.1),
        "历史不按行号排": (drawn(3, 4), drawn(8, 4), [6, 1, 4], 0, 1.0, 0.5),
        "候选只剩要找的那一部": (drawn(2, 3), drawn(3, 3), [0, 2], 1, 0.1, 0.1),
    }
    for name, case in cases.items():
        found = plain(run(answer, *case, shown=name))
        require_array(found, stepped(*case), f"“{name}”：走完一步的矩阵", 1e-4)
    weight = cases["7部，历史2部"][0]
    require(not np.allclose(stepped(*cases["7部，历史2部"]), weight), "矩阵没有动")


@exercise(
    "06-3",
    "先算分数矩阵 `users @ items.T / tau`：第p行是第p对的用户，第c列是第c对的物品",
    "logQ减在**列**上：第c列减去`log_q[target[c]]`，正例那一列也减",
    "要遮的有两种：`target`相同的列、这位用户喜欢的列（`barred[:, target]`）；对角线永远不遮",
    "遮住的填`-torch.inf`，最后 `F.cross_entropy(分数, torch.arange(对数))`",
)
def in_batch(answer):
    generator = torch.Generator().manual_seed(3)

    def made(target: list, likes: list, catalogue: int = 6, tau: float = 0.5, even: bool = False):
        users, items = (torch.randn(len(target), 4, generator=generator) for _ in range(2))
        share = torch.ones(catalogue) if even else torch.rand(catalogue, generator=generator) + 0.05
        barred = torch.zeros(len(target), catalogue, dtype=torch.bool)
        for row, rows in enumerate(likes):
            barred[row, rows] = True
            barred[row, target[row]] = False
        return users, items, torch.tensor(target), barred, torch.log(share / share.sum()), tau

    cases = {
        "没有重复，别的都没有喜欢": made([0, 1, 2], [[0], [1], [2]]),
        "每部机会均等": made([3, 1, 2], [[3], [1], [2]], even=True),
        "同一部出现两次": made([2, 0, 2, 3], [[2], [0], [2], [3]]),
        "有的用户也喜欢别人的正例": made([0, 1, 2], [[0, 1], [1], [2, 0, 5]], tau=0.1),
        "两种都有": made([4, 4, 1, 0, 5], [[4], [4, 0], [1, 4], [0, 2], [5]]),
        "只有一对": made([3], [[3]]),
        "除了自己全被遮住": made([0, 1], [[0, 1], [1, 0]]),
    }
    for name, (users, items, target, barred, log_q, tau) in cases.items():
        found = plain(run(answer, users, items, target, barred, log_q, tau, shown=name))
        found = found.item() if isinstance(found, torch.Tensor) and found.numel() == 1 else found
        require_number(found, in_batch_loss(users, items, target, barred, tau, log_q).item(), f"“{name}”的损失", 1e-4)


@exercise(
    "06-4",
    "先定一条上限：`margin`乘以他喜欢的各部的平均分；高过上限的跳过，正好等于的留着",
    '再去掉喜欢的；余下的从高到低排，同分的行号小的在前：`np.argsort(-scores, kind="stable")`',
    "逐个看排好的行号，条件都合的收下，收满`depth`个为止；不够就有几个给几个",
)
def hard_negatives(answer):
    cases = {
        "普通的一位": ([0.9, 0.2, 0.8, 0.7, 0.1, 0.97], [1, 0, 0, 0, 0, 1], 2, 0.8),
        "正好在上限上": ([1.0, 0.5, 0.6, 0.4, 1.0], [1, 0, 0, 0, 1], 2, 0.5),
        "同分": ([0.3, 0.5, 0.3, 1.0, 0.3, 0.5], [0, 0, 0, 1, 0, 0], 4, 0.95),
        "不够depth个": ([1.0, 0.2, 0.99, 0.3], [1, 0, 0, 0], 5, 0.95),
        "一个也不剩": ([0.5, 0.9, 0.8], [1, 0, 0], 2, 0.95),
        "margin是1": ([0.5, 0.5, 0.4, 0.51], [1, 0, 0, 0], 3, 1.0),
        "喜欢的有高有低": ([0.2, 0.6, 0.9, 1.0, 0.5], [1, 0, 0, 1, 0], 1, 0.95),
    }
    for name, (scores, liked, depth, margin) in cases.items():
        scores, liked = np.array(scores), np.array(liked, dtype=bool)
        found = plain(run(answer, scores, liked, depth, margin, shown=name))
        limit = margin * scores[liked].mean()
        fair = [int(i) for i in np.argsort(-scores, kind="stable") if not liked[i] and scores[i] <= limit]
        try:
            found = [int(i) for i in found]
        except (TypeError, ValueError):
            raise Wrong(f"“{name}”：应当是行号的列表，这里是{type(found).__name__}") from None
        require(not any(liked[i] for i in found if 0 <= i < len(liked)), f"“{name}”：里面有他喜欢的")
        require(len(found) == len(fair[:depth]), f"“{name}”：该有{len(fair[:depth])}个，这里有{len(found)}个")
        require(found == fair[:depth], f"“{name}”：挑的或排的不对")


@exercise(
    "06-5",
    "一边走一边记：到目前为止最好的是第几点，它之后已经看了几点",
    "“变好”是严格地更高；打平不算，计数照样加一",
    "连着`patience`点没有变好，看完这一点就停：返回（看过的点数, 最好的一点的下标）",
)
def stopping(answer):
    cases = {
        "中途最高": ([0.1, 0.3, 0.2, 0.25, 0.28, 0.9], 3, (5, 1)),
        "一路变好": ([0.1, 0.2, 0.3], 2, (3, 2)),
        "一路变差": ([0.5, 0.4, 0.3, 0.2], 2, (3, 0)),
        "打平": ([0.2, 0.3, 0.3, 0.3, 0.4], 2, (4, 1)),
        "掉了又回来": ([0.1, 0.3, 0.2, 0.35, 0.3, 0.4], 2, (6, 5)),
        "耐心比曲线长": ([0.3, 0.2, 0.1], 10, (3, 0)),
        "只有一点": ([0.3], 1, (1, 0)),
        "都是负的": ([-3.0, -2.0, -2.5, -2.2], 2, (4, 1)),
        "耐心为1": ([0.2, 0.1, 0.9], 1, (2, 0)),
    }
    for name, (values, patience, wanted) in cases.items():
        found = run(answer, values, patience, shown=name)
        require(isinstance(found, tuple | list) and len(found) == 2, f"“{name}”：应当返回两个数")
        require_number(found[0], wanted[0], f"“{name}”：看过的点数", 0)
        require_number(found[1], wanted[1], f"“{name}”：最好的一点", 0)


@exercise(
    "06-6",
    "对照要与真的那次只差一样：文字对不对得上。形状、训练、种子都相同",
    "两种做法都行：把`vectors`的行打乱，或者换成同样形状的随机向量；只换列的次序不行，电影之间谁近谁远没有变",
    "每个种子：用`np.random.default_rng(seed)`重抽一份对照，`measure(真的, seed) - measure(对照, seed)`",
)
def control(answer):
    rng = np.random.default_rng(66)
    centres = rng.normal(size=(5, 12))
    vectors = (centres[np.arange(60) % 5] + 0.4 * rng.normal(size=(60, 12))).astype(np.float32)
    seeds, calls = [0, 1, 5], []

    def measure(given, seed):
        given = np.array(plain(given), dtype=float)
        calls.append((given, int(seed), 0.01 * len(calls) + 0.1 * float(seed)))
        return calls[-1][2]

    require(callable(answer), "答案应当是一个函数：写它的名字，不要加括号调用它")
    kept = vectors.copy()
    try:
        found = answer(measure, vectors, list(seeds))
    except Exception as error:  # a learner's code may raise anything
        raise Wrong(f"你的函数出错了：{type(error).__name__}: {error}") from error
    require(np.array_equal(vectors, kept), "传进来的向量被改动了，后面的人会读到打乱的文字：先复制一份")
    real = {s: v for given, s, v in calls if given.shape == kept.shape and np.allclose(given, kept)}
    others = [(given, s, v) for given, s, v in calls if given.shape != kept.shape or not np.allclose(given, kept)]
    require(set(real) == set(seeds), "真的向量应当每个种子各量一次")
    require(sorted(s for _, s, _ in others) == seeds, "对照应当每个种子各量一次，种子与真的那次相同")
    for given, _, _ in others:
        require(given.shape == kept.shape, f"对照的形状{given.shape}与真的{kept.shape}不同，差的就不止文字了")
        require(len(np.unique(given.round(6), axis=0)) == len(kept), "对照里有几部电影的向量一模一样：认不出是哪一部了")
        require(abs(alike(given, kept)) < 0.3, "对照里电影之间谁近谁远还和真的差不多：文字没有去掉")
    require(
        not any(np.allclose(a[0], b[0]) for n, a in enumerate(others) for b in others[:n]), "换了种子，对照没有重抽"
    )
    wanted = [real[s] - value for s in seeds for _, at, value in others if at == s]
    require_array(found, wanted, "各个种子的差（真的 − 对照）")


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation between two sets of vectors of who is near to whom: 0 where the second says nothing of the first."""
    upper = np.triu_indices(len(a), 1)
    a, b = (v - v.mean(axis=0) for v in (a, b))
    near = [(v @ v.T / np.outer(*[np.linalg.norm(v, axis=1) + 1e-9] * 2))[upper] for v in (a, b)]
    return float(np.corrcoef(*near)[0, 1])
