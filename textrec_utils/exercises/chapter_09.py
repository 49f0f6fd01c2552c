"""Chapter 09: cooling popularity, visits, one request's score, whose interval, what is known in time, a portrait."""

from collections.abc import Iterable
from functools import cache

import numpy as np

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.statistics import bootstrap_interval
from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run
from textrec_utils.splits import make_split


@exercise(
    "09-1",
    "一次点击的年龄是`now - hours`；年龄每满一个`half_life`，权重减半，所以权重是0.5的几次方",
    "请求那一刻还没有发生的点击，服务器不知道：年龄小于0的，权重是多少？",
    "`np.bincount(items, weights=…, minlength=n_items)`按物品把权重加起来，没有点击的物品得0",
)
def cooling(answer):
    cases = [
        ("一次刚刚的点击", [2], [10.0], 10.0, 6.0, 4),
        ("年龄正好一个半衰期", [0], [4.0], 10.0, 6.0, 2),
        ("同一物品的几次点击要相加", [1, 1, 1, 0], [0.0, 3.0, 9.0, 8.0], 9.0, 3.0, 3),
        ("最后几件物品没有人点", [0, 1], [1.0, 2.0], 3.0, 1.0, 6),
        ("now之后的点击还没有发生", [0, 1, 1, 2], [1.0, 2.0, 5.0, 7.5], 4.0, 2.0, 3),
        ("一次点击也没有", [], [], 5.0, 2.0, 3),
    ]
    rng = np.random.default_rng(90)
    cases.append(("随机的60次点击", rng.integers(0, 7, 60), rng.uniform(0, 90, 60), 70.0, 11.0, 9))
    for what, items, hours, now, half_life, n_items in cases:
        items, hours = np.asarray(items, dtype=int), np.asarray(hours, dtype=float)
        age = now - hours
        weight = np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / half_life), 0.0)
        wanted = np.bincount(items, weights=weight, minlength=n_items)
        found = run(answer, items, hours, now, half_life, n_items, shown=what)
        require_array(found, wanted, f"“{what}”的结果")


@exercise(
    "09-2",
    "n次点击有n−1个间隔；先排好序，再看每个间隔",
    "每个**超过**`gap`的间隔开始一次新的访问，再加上最早的那一次；一次点击也没有，就没有来过",
    "`(np.diff(np.sort(times)) > gap).sum()`",
)
def visits(answer):
    cases = [
        ("三次连着的点击", [0, 60, 120], {}, 1),
        ("只有一次点击", [500], {}, 1),
        ("一次点击也没有", [], {}, 0),
        ("间隔正好是gap", [0, 1800], {}, 1),
        ("间隔比gap多一秒", [0, 1801], {}, 2),
        ("时间没有排好序", [90_000, 0, 30, 200_000], {}, 3),
        ("慢慢点，首尾相隔很久", list(range(0, 20_000, 1000)), {}, 1),
        ("同一秒点了几次", [7, 7, 7], {}, 1),
        ("换一个gap", [0, 100, 300, 301, 900], {"gap": 150}, 3),
    ]
    for what, times, options, wanted in cases:
        found = run(answer, np.array(times, dtype=float), shown=what, **options)
        require_number(found, wanted, f"“{what}”的访问数", 0)


@exercise(
    "09-3",
    "先想清楚两种零分：点的不许推荐；或者许推荐，却没排进前k",
    "名次r＝许推荐的里分数更高的件数，加上并列而行号更小的件数，再加1",
    "许推荐而且r不大于k：`1 / np.log2(1 + r)`；不然是0",
)
def one_request(answer):
    rng = np.random.default_rng(93)
    many = rng.permutation(40).astype(float)
    cases = [
        ("点的排第一", [0.1, 0.9, 0.5], [True, True, True], 1, 2),
        ("点的排第二", [0.9, 0.1, 0.5], [True, True, True], 2, 2),
        ("更高的一件不许推荐", [0.9, 0.5, 0.7], [False, True, True], 1, 2),
        ("点的本身不许推荐", [0.9, 0.5, 0.7], [False, True, True], 0, 3),
        ("正好排在第k", [5.0, 4.0, 3.0, 2.0], [True] * 4, 2, 3),
        ("排在第k+1", [5.0, 4.0, 3.0, 2.0], [True] * 4, 3, 3),
        ("并列时行号小的在前", [0.5, 0.5, 0.5], [True] * 3, 2, 3),
        ("并列的另一件行号更大", [0.5, 0.5, 0.1], [True] * 3, 0, 1),
        ("许推荐的比k少", [-1.0, -2.0, -3.0], [True, False, True], 2, 10),
        ("一件也不许推荐", [1.0, 2.0], [False, False], 1, 5),
        ("随机的40件", many, rng.random(40) < 0.6, int(np.argsort(-many)[6]), 10),
    ]
    for what, scores, allowed, clicked, k in cases:
        scores, allowed = np.asarray(scores, dtype=float), np.asarray(allowed, dtype=bool)
        found = run(answer, scores, allowed, clicked, k, shown=what)
        require_number(found, _worth(scores, allowed, clicked, k), f"“{what}”的得分")


def _worth(scores: np.ndarray, allowed: np.ndarray, clicked: int, k: int) -> float:
    order = np.argsort(-scores, kind="stable")
    (place,) = np.nonzero(order[allowed[order]] == clicked)
    return float(1 / np.log2(place[0] + 2)) if len(place) and place[0] < k else 0.0


@exercise(
    "09-4",
    "一位读者的几次请求彼此很像：先把每位读者的几个数变成一个",
    "`pd.Series(values).groupby(users).mean()`；均值和区间都从这一列算",
    "区间交给`bootstrap_interval`：给它每位读者一个数，不要给它每次请求一个数",
)
def over_readers(answer):
    rng = np.random.default_rng(94)
    cases = {"每人5次": np.full(60, 5), "各人次数不同": rng.integers(1, 40, 50), "每人一次": np.ones(30, int)}
    for what, sizes in cases.items():
        own = rng.random(len(sizes))
        order = rng.permutation(sizes.sum())  # a reader's requests need not stand together
        users = np.repeat(np.arange(len(sizes)) * 3 + 1, sizes)[order]
        values = (own.repeat(sizes) + 0.01 * rng.random(sizes.sum()))[order]
        each = np.array([values[users == user].mean() for user in np.unique(users)])
        found = run(answer, users, values, shown=what)
        require(
            isinstance(found, tuple | list | np.ndarray) and np.shape(found) == (3,), "应当返回三个数：均值，下端，上端"
        )
        require_number(found[0], each.mean(), f"{what}：均值（每位读者一样重）")
        low, high = bootstrap_interval(each)
        width = (found[2] - found[1]) / (high - low)
        require(found[1] < found[0] < found[2], f"{what}：均值应当落在下端和上端之间")
        require(width > 0.8, f"{what}：区间太窄，像是把每次请求都当成了独立的")
        require(width < 1.25, f"{what}：区间太宽，不是均值的95%区间")
        require(abs(found[1] - low) + abs(found[2] - high) < 0.25 * (high - low), f"{what}：区间的位置不对")


KNOWN = frozenset("ABEGH")  # of the eight in the chapter
THERE = frozenset("ABCDEFGH")


@exercise(
    "09-5",
    "对每一样只问一句：请求的那一刻，它已经有了吗？训练集里有没有，是另一回事",
    "别人写的、别人买的，只要在请求之前就算数；从买家的评价里来的标签，商品上架时还没有",
    "一共有五样；三样不能用的，都含着请求以后（或买完以后）才发生的事",
)
def known_in_time(answer):
    usable = isinstance(answer, Iterable) and all(isinstance(one, str) for one in answer)
    require(usable, "应当是字母的集合，例如{'A', 'B'}")
    chosen = {letter for one in answer for letter in one.strip().upper()}
    require(chosen <= THERE, "字母只有A到H")
    late, missed = len(chosen - KNOWN), len(KNOWN - chosen)
    require(not late, f"里面有{late}样在请求的那一刻还没有")
    require(not missed, f"还有{missed}样那一刻已经有了，没有选上")


@exercise(
    "09-6",
    "照第1节的`portrait`：密度的分母是有历史的用户数乘以有人喜欢的物品数，不是全部的用户和物品",
    "最热1%的件数向上取整（`math.ceil`），物品也只数有人喜欢的；新物品按测试的**喜欢**数，不按物品数",
    "`split.likes`是每件的喜欢数，`split.cold[split.test['item']].mean()`是第三个数",
)
def portrait(answer):
    require(isinstance(answer, tuple | list) and len(answer) == 3, "应当是三个数：密度，最热1%占的份额，新物品占的份额")
    for found, wanted, what in zip(answer, _portrait(), ("密度", "最热1%占的份额", "测试里新物品占的份额")):
        require_number(found, wanted, what, 0.0006)


@cache
def _portrait() -> tuple[float, float, float]:
    split = make_split(load_dataset("movielens-zh"), "temporal", seed=0)
    likes = np.sort(split.likes[split.likes > 0])[::-1]
    readers = sum(len(history) > 0 for history in split.histories)
    return (
        likes.sum() / (readers * len(likes)),
        likes[: int(np.ceil(len(likes) / 100))].sum() / likes.sum(),
        split.cold[split.test["item"]].mean(),
    )
