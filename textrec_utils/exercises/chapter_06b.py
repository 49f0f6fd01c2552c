"""Chapter 06b: what LoRA trains, a history that fades, towers added up, lucky seeds, a comparison with its interval."""

from __future__ import annotations

import numpy as np
from scipy.stats import t

from textrec_utils.exercises.judge import Wrong, exercise, require, require_array, require_number, run
from textrec_utils.shipped.ablation import BASELINE
from textrec_utils.shipped.tables import read


@exercise(
    "06b-1",
    "一层旁边的小块是两个矩阵：rank × a 和 b × rank，没有偏置",
    "一层就是 rank × (a + b)；把各层加起来",
)
def lora_parameters(answer):
    mini = 4 * (4 * [(312, 312)] + [(312, 1200), (1200, 312)])
    cases = {
        "一层(2, 3)，秩4": ([(2, 3)], 4, 20),
        "两层，秩4": ([(2, 3), (5, 1)], 4, 44),
        "mini-bert-zh，秩8": (mini, 8, 176640),
        "mini-bert-zh，秩1": (mini, 1, 22080),
        "一层也没有": ([], 8, 0),
    }
    for name, (shapes, rank, wanted) in cases.items():
        require_number(run(answer, shapes, rank, shown=name), wanted, f"“{name}”的参数个数", 0)


@exercise(
    "06b-2",
    "最后一行是最新的，它往前数是0部；第一行最旧，是 n − 1 部",
    "权重是 0.5 ** (往前数的部数 / half_life)；`half_life`是None时人人都是1",
    "加权求和之后除以自己的长度：结果是单位向量，权重要不要先归一都一样",
)
def fading_user(answer):
    rng = np.random.default_rng(2)
    cases = {
        "三部，半衰期1": (np.eye(3), 1.0),
        "三部，不减": (np.eye(3), None),
        "只有一部": (np.array([[3.0, 4.0]]), 2.0),
        "许多部，半衰期10": (rng.normal(size=(40, 6)), 10.0),
        "许多部，半衰期极长": (rng.normal(size=(12, 4)), 1e6),
        "半衰期不是整数": (rng.normal(size=(5, 3)), 0.5),
    }
    for name, (vectors, half_life) in cases.items():
        age = np.arange(len(vectors))[::-1]
        weight = np.ones(len(vectors)) if half_life is None else 0.5 ** (age / half_life)
        wanted = weight @ vectors
        found = run(answer, vectors, half_life, shown=name)
        require_array(found, wanted / np.linalg.norm(wanted), f"“{name}”的用户向量")


@exercise(
    "06b-3",
    "点积是平方的东西：权重w要出现在分数里，向量上就只能乘它的平方根",
    "每座塔乘上 np.sqrt(w)，再用 np.hstack 左右拼起来",
)
def added_towers(answer):
    rng = np.random.default_rng(4)

    def towers(*widths: int) -> list[np.ndarray]:
        return [rng.normal(size=(7, width)) for width in widths]

    cases = {
        "两座，各一半": (towers(4, 4), [0.5, 0.5]),
        "宽度不同，权重不同": (towers(3, 8), [0.3, 0.7]),
        "三座": (towers(2, 5, 3), [0.2, 0.3, 0.5]),
        "一座的权重是0": (towers(4, 2), [0.0, 1.0]),
        "只有一座": (towers(5), [1.0]),
        "权重加起来不是1": (towers(3, 3), [2.0, 0.5]),
    }
    for name, (vectors, weights) in cases.items():
        found = run(answer, vectors, weights, shown=name)
        try:
            found = np.asarray(found, dtype=float)
        except (TypeError, ValueError):
            raise Wrong(f"“{name}”：应当是一个数组，这里是{type(found).__name__}") from None
        require(found.ndim == 2 and len(found) == 7, f"“{name}”：应当一部电影一行，这里的形状是{found.shape}")
        require_array(found @ found.T, sum(w * (v @ v.T) for w, v in zip(weights, vectors)), f"“{name}”：两两的点积")


def ablated(question: str):
    table = read("ablation")
    return table[table["question"] == question]


@exercise(
    "06b-4",
    "`on_last`里一行是一处改动的一个种子：先取基准的几行，最高的减去平均的，就是挑种子白得的",
    '差是各处改动的平均减去基准的平均（`first["difference"]`）；取绝对值，与白得的比',
    '每处改动只数一次，基准不数：`(first["difference"].abs() < 白得的).sum()`',
)
def luck_of_seeds(answer):
    mean = ablated("last").groupby("change")["ndcg@10"].mean()
    base = ablated("last").query("change == @BASELINE")["ndcg@10"]
    moved = (mean.drop(BASELINE) - mean[BASELINE]).abs()
    require_number(answer, int((moved < base.max() - base.mean()).sum()), "处数", 0)


WORDS = ("高", "低", "分不出")


@exercise(
    "06b-5",
    "问的是“加不加难负例”：另一行必须只差这一样，基准那一行同时换了损失",
    "几个种子**成对**相减：第s个种子的“批内＋难负例”减第s个种子的“批内，无难负例”，`on_last.pivot(...)`就能对齐",
    "n个差的95%区间：平均 ± t × 标准差（ddof=1）/ √n，t是`scipy.stats.t.ppf(0.975, n - 1)`",
    "区间含0就是“分不出”；返回（平均差, 下端, 上端, 结论）",
)
def hard_negatives_helped(answer):
    require(isinstance(answer, tuple | list) and len(answer) == 4, "应当是四样：平均差、下端、上端、结论")
    each = ablated("last").pivot(index="seed", columns="change", values="ndcg@10")
    base = (each["批内＋难负例"] - each[BASELINE]).mean()
    gap = each["批内＋难负例"] - each["批内，无难负例"]
    numbers = all(isinstance(value, int | float | np.floating) and np.isfinite(value) for value in answer[:3])
    require(numbers, "前三样应当都是数")
    mean, low, high, told = answer
    require(abs(mean - base) > 5e-5, "平均差是与基准比的：那一行与“批内＋难负例”不止差一样")
    require_number(mean, gap.mean(), "平均差", 5e-5)
    error, times = gap.std(ddof=1) / len(gap) ** 0.5, t.ppf(0.975, len(gap) - 1)
    require(abs(high - mean - 1.96 * error) > 1e-4, "种子这样少，1.96太小：用t分布")
    require_number(low, gap.mean() - times * error, "区间的下端", 1e-4)
    require_number(high, gap.mean() + times * error, "区间的上端", 1e-4)
    require(told in WORDS, f"结论应当是{'、'.join(WORDS)}之一")
    require(told == ("高" if low > 0 else "低" if high < 0 else "分不出"), "结论与你自己的区间对不上：看它含不含0")
