"""Chapter 00: a score by hand, neighbours, a list of what is new, a metric for one user, and where popularity wins."""

import numpy as np

from textrec_utils.exercises.judge import exercise, require, require_number, run

WEB = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.5], [-2.0, 1.0], [4.0, 1.0]])  # rows 1 and 3 look alike


@exercise(
    "00-1",
    "分两步：先由历史得到用户向量，再和电影的向量作点积",
    "`vectors[history]`取出历史里的几行；用户向量是这几行的平均，`mean`要沿着行（`axis=0`）",
    "`vectors[history].mean(axis=0)`再`@ vectors[item]`",
)
def score(answer):
    cases = [
        ([0, 2], 5, "两部历史"),
        ([4], 0, "只有一部历史"),
        ([1, 2, 4, 5], 3, "四部历史"),
        ([0, 1], 1, "历史里的电影"),
    ]
    for history, item, what in cases:
        found = run(answer, WEB, history, item, shown=what)
        wanted = float(np.mean([WEB[one] @ WEB[item] for one in history]))
        require_number(found, wanted, f"{what}时的得分")


@exercise(
    "00-2",
    "余弦只看方向：先把每一行的长度缩放到1，再作点积",
    "自己不一定排在第0位：另一部电影和它一模一样时，谁在前由排序的细节定。把自己那一个余弦设成负无穷，就不会选到它",
    "`cosines[item] = -np.inf`，再`np.argsort(-cosines)`，取前`n`个；最多只有`len(vectors) - 1`部可取",
)
def nearest(answer):
    cases = [
        (WEB, 0, 2, [5, 2], "向量有长有短"),
        (WEB, 3, 1, [1], "有一部和它方向完全相同"),
        (WEB, 1, 2, [3, 2], "有一部和它方向完全相同"),
        (WEB, 4, 9, [1, 3, 2, 5, 0], "要的比有的多"),
        (WEB[:2], 0, 1, [1], "一共两部电影"),
        (WEB[:1], 0, 3, [], "只有它自己"),
    ]
    for vectors, item, n, wanted, what in cases:
        found = rows_of(run(answer, vectors, item, n, shown=what), what)
        require(item not in found, f"{what}时，名单里有它自己")
        require(len(found) == len(wanted), f"{what}时，应当有{len(wanted)}部，这里有{len(found)}部")
        alike = [{1: 3}.get(row, row) for row in found]  # either of two that look alike may come first
        require(alike == [{1: 3}.get(row, row) for row in wanted], f"{what}时，选的或排的不对")
        require(len(set(found)) == len(found), f"{what}时，有一部出现了两次")


@exercise(
    "00-3",
    "和第7节一样：得分、去掉历史、从高到低排。另有两种情形要想到：剩下的不够`k`部，历史是空的",
    "把历史的得分设成负无穷，它们就排在最后；可是剩下的不够`k`部时，直接取前`k`名仍会取到它们",
    "可以先数出剩下几部，只取`min(k, 剩下的)`名；历史是空的，就返回空列表",
)
def unseen(answer):
    cases = [
        ([0], 2, [5, 2], "一部历史"),
        ([1, 4], 3, [3, 2, 5], "两部历史"),
        ([0, 2, 5], 10, [1, 3, 4], "剩下的不够k部"),
        ([0, 1, 2, 3, 4, 5], 3, [], "全都看过"),
        ([], 3, [], "历史是空的"),
    ]
    for history, k, wanted, what in cases:
        found = rows_of(run(answer, WEB, history, k, shown=what), what)
        require(not set(found) & set(history), f"{what}时，名单里有看过的")
        require(len(found) == len(wanted), f"{what}时，应当有{len(wanted)}部，这里有{len(found)}部")
        require(found == wanted, f"{what}时，选的或排的不对")


@exercise(
    "00-4",
    "第9节的公式里，名次$r$从1数起；列表的下标从0数起",
    "先看答案在不在`ranked[:k]`里；不在就是0分",
    "在的话，下标是`list(ranked[:k]).index(answer)`，名次比它大1，得分是`1 / np.log2(名次 + 1)`",
)
def ndcg_of_one(answer):
    cases = [
        ([7, 3, 9], 7, 3, 1.0, "答案排第1"),
        ([7, 3, 9], 9, 3, 0.5, "答案排第3"),
        (np.array([4, 8, 2, 6, 0]), 6, 5, 1 / np.log2(5), "名单是数组"),
        ([7, 3, 9, 5], 5, 3, 0.0, "答案在前k名之外"),
        ([7, 3, 9], 9, 10, 0.5, "名单比k短"),
        ([7, 3, 9], 1, 3, 0.0, "答案不在名单里"),
        ([0, 3, 9], 0, 3, 1.0, "答案的编号是0"),
        ([], 4, 10, 0.0, "名单是空的"),
    ]
    for ranked, film, k, wanted, what in cases:
        require_number(run(answer, ranked, film, k, shown=what), wanted, f"{what}时的得分")


@exercise(
    "00-5",
    "`split.test`一行是一位用户留下的那一部；`split.train`里数得出每部电影有多少人喜欢",
    "`np.bincount(split.train['item'], minlength=split.n_items)`是每部电影的喜欢数；"
    "`split.test_matrix[split.test_users].indices`是各位测试用户的答案，次序和`frozen.users`里的数组相同",
    "`found = frozen.users['recall@10'] > 0`说的是每位用户找到没有；`common`说的是答案热门不热门："
    "`(found & common).sum()`、`(found & ~common).sum()`，另一个方法也这样数",
)
def where_popularity_wins(answer, *, frozen, popular, split, least=100):
    require(np.ndim(answer) == 1 and len(answer) == 4, "应当是四个整数的列表")
    likes = np.bincount(split.train["item"], minlength=split.n_items)
    common = likes[split.test_matrix[split.test_users].indices] >= least
    (metric,) = (name for name in frozen.users if name.startswith("recall@"))
    for place, (result, group) in enumerate(
        ((frozen, common), (popular, common), (frozen, ~common), (popular, ~common))
    ):
        wanted = int(((result.users[metric] > 0) & group).sum())
        require_number(answer[place], wanted, f"第{place + 1}个数", 0)


def rows_of(found, what: str) -> list[int]:
    """The learner's rows as a list of whole numbers."""
    rows = np.asarray(found if found is not None else "")
    fits = rows.ndim == 1 and (rows.size == 0 or np.issubdtype(rows.dtype, np.integer))
    require(fits, f"{what}时，应当返回行号的列表（整数）")
    return rows.tolist()
