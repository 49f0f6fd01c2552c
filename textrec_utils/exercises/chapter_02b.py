"""Chapter 02b: NDCG and Holm by hand, sampled hits, ties that flatter, a split by time."""

import numpy as np
from scipy.stats import hypergeom

from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run


@exercise(
    "02b-1",
    "先求每个名次的折扣，再看理想的名单有几个位置能填",
    "理想的名单填min(|R|, k)个位置；推荐的名单可能比k长，也可能比k短",
    "DCG只看`ranked[:k]`；理想DCG是`sum(1 / np.log2(r + 1) for r in range(1, min(len(truth), k) + 1))`",
)
def by_hand(answer):
    for ranked, truth, k, why in [
        ("abcde", "adxy", 5, "真值有没推出来的"),
        ("abcde", "e", 5, "命中在最后一名"),
        ("abcde", "e", 3, "命中在k名之后"),
        ("ab", "abcdef", 2, "真值比k多"),
        ("ab", "ab", 10, "名单比k短"),
        ("ab", "abcd", 10, "名单比k短，真值还有没推出来的"),
        ("abc", "x", 3, "一个也没命中"),
        ("", "a", 3, "名单是空的"),
    ]:
        gains = [1 / np.log2(r + 2) for r, item in enumerate(ranked[:k]) if item in truth]
        wanted = sum(gains) / sum(1 / np.log2(r + 2) for r in range(min(len(truth), k)))
        require_number(run(answer, list(ranked), set(truth), k, shown=why), wanted, f"NDCG（{why}）")


@exercise(
    "02b-2",
    "先从小到大排：最小的乘m，次小的乘m−1，依此类推",
    "后面的不能比前面的小（`np.maximum.accumulate`），也不能超过1",
    "算完要放回原来的次序：`back[order] = 校正后的值`",
)
def corrected(answer):
    for p, why in [
        ([0.004, 0.030, 0.012, 0.200, 0.011], "五个p值"),
        ([0.5, 0.6], "乘完超过1"),
        ([0.02, 0.02, 0.02], "三个相同的p值"),
        ([0.03], "只有一个"),
        ([0.01, 0.011, 0.04], "乘完次序颠倒"),
    ]:
        p, order = np.array(p), np.argsort(p, kind="stable")
        wanted = np.empty(len(p))
        wanted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
        require_array(run(answer, p, shown=why), wanted, f"校正后的p值（{why}）", 1e-9)


@exercise(
    "02b-3",
    "排在它前面的有`rank - 1`部；抽出的负例里，前面的最多只许有几部？",
    "没看过的影片共`items`部，除去它自己还剩`items - 1`部可抽",
    "`hypergeom.cdf(k - 1, items - 1, rank - 1, negatives)`",
)
def sampled(answer):
    for rank, items, negatives, k in [
        (60, 1500, 99, 10),
        (1, 1500, 99, 10),
        (10, 1500, 99, 10),
        (11, 100, 99, 10),
        (10, 100, 99, 10),
        (700, 1500, 99, 10),
        (3, 5, 0, 1),
        (2, 1500, 99, 1),
    ]:
        wanted = hypergeom.cdf(k - 1, items - 1, rank - 1, negatives)
        why = f"第{rank}名，共{items}部，抽{negatives}部，前{k}"
        require_number(run(answer, rank, items, negatives, k, shown=why), wanted, f"概率（{why}）", 1e-6)


def _fair(scores, target: int, k: int) -> float:
    above, level = np.sum(scores > scores[target]), np.sum(scores == scores[target])
    return float(np.clip((k - above) / level, 0, 1))


@exercise(
    "02b-4",
    "给谁都打0分，这段代码会给出多大的HR@10？",
    "数两个数：分数比它高的有几个，与它同分的（连它自己）有几个",
    "同分的里面，能进前k的位置还剩`k - 更高的`个，随机抽时每个机会相等；结果限制在0与1之间",
)
def ties(answer, scores):
    require(isinstance(answer, tuple | list) and len(answer) == 3, "应当是（哪一处，函数，剩下的命中率）三项")
    place, function, left = answer
    require(place in ("甲", "乙", "丙", "丁"), "哪一处，请从甲、乙、丙、丁里选一个")
    require(place == "乙", "陷阱不在这一处：只改它，别的不动，看HR@10变不变")
    for row, target, k, why in [
        ([0, 0, 0, 0], 0, 1, "人人同分"),
        ([0, 0, 0, 0], 3, 2, "人人同分，测试的在最后"),
        ([3, 2, 1], 0, 1, "没有同分"),
        ([3, 2, 1], 2, 2, "没有同分，没进前k"),
        ([2, 1, 1, 1, 0], 1, 2, "一个更高，三个同分"),
        ([2, 2, 1, 1], 2, 2, "更高的已占满"),
        ([5, 5, 1], 1, 10, "k多过候选"),
        ([7], 0, 1, "只有一个候选"),
    ]:
        row = np.array(row, dtype=float)
        require_number(run(function, row, target, k, shown=why), _fair(row, target, k), f"概率（{why}）")
    require_number(left, np.mean([_fair(row, 0, 10) for row in scores]), "剩下的命中率", 1e-4)


@exercise(
    "02b-5",
    "一条切线分两边：早于`at`的训练，其余测试；每个人各有各的最后一部，不是这里的切法",
    "测试里只留两种都满足的：训练里有这位用户，而且他没有在训练里喜欢过这一部",
    "先求训练里的用户集合与（用户，物品）集合，再筛`time >= at`的行",
)
def by_time(answer):
    rows = [(0, "a", 1), (0, "b", 5), (1, "a", 6), (1, "b", 7), (2, "c", 2), (2, "c", 8), (2, "d", 5), (3, "e", 4)]
    rows += [(0, "c", 9)]  # somebody else's film of the training part: new to this user
    for at, why in ((5, "正好在切线上"), (0, "全部在切线之后"), (99, "全部在切线之前"), (6, "切在中间")):
        for given in (rows, rows[::-1], []):
            train = {row for row in given if row[2] < at}
            users, seen = {u for u, _, _ in train}, {(u, i) for u, i, _ in train}
            test = {(u, i, t) for u, i, t in given if t >= at and u in users and (u, i) not in seen}
            found = run(answer, given, at, shown=why)
            require(isinstance(found, tuple | list) and len(found) == 2, "应当返回（训练，测试）两项")
            try:
                parts = [sorted(tuple(row) for row in part) for part in found]
            except TypeError:
                parts = None
            require(parts is not None, "训练和测试都应当是（用户，物品，时间）的列表")
            require(parts[0] == sorted(train), f"训练不对（{why}）")
            require(parts[1] == sorted(test), f"测试不对（{why}）")
