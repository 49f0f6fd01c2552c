"""Chapter 02: neighbours by hand, shrinkage, EASE with a huge weight, and a baseline that nobody tuned."""

from functools import cache

import numpy as np

from textrec_utils import tuning
from textrec_utils.baselines.ease import EASE
from textrec_utils.baselines.neighbours import RP3Beta
from textrec_utils.datasets.registry import load_dataset
from textrec_utils.evaluation.results import evaluate
from textrec_utils.evaluation.statistics import compare
from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run
from textrec_utils.ranking import top_k
from textrec_utils.splits import make_split

FIVE = [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]


@exercise(
    "02-1",
    "先求这个人与每个人的共同喜欢数，再除以两人历史长度之积的平方根",
    "自己不能当自己的邻居；没有历史的人，分母要换成不为零的数，相似度算0",
    "`np.argsort(-alike)[:neighbours]`取最近的几位，分数是`alike[near] @ X[near]`",
)
def by_neighbours(answer):
    cases = [
        (FIVE, 0, 4, "邻居够多"),
        (FIVE, 0, 1, "只取一位邻居"),
        (FIVE, 2, 3, "换一位用户"),
        (FIVE, 1, 99, "邻居数多过用户数"),
        (FIVE, 4, 3, "没有历史的用户"),
        ([[1, 0, 1]], 0, 2, "只有一位用户"),
        ([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]], 0, 1, "历史长短不同"),
    ]
    for likes, user, neighbours, why in cases:
        likes = np.array(likes, dtype=float)
        length = np.sqrt(likes.sum(axis=1))
        alike = likes @ likes[user] / np.maximum(length * length[user], 1)
        alike[user] = 0
        near = np.argsort(-alike, kind="stable")[:neighbours]
        found = run(answer, likes, user, neighbours, shown=why)
        require_array(found, alike[near] @ likes[near], f"分数（{why}）")


@exercise(
    "02-2",
    "共同喜欢的人数是`X.T @ X`，它的对角线是每部影片的喜欢数",
    "收缩加在分母上；对角线最后要清零",
    "没人喜欢的影片：收缩为0时分母是0，先把分母里的0换成1，分子本来就是0",
)
def shrunk(answer):
    for likes, shrink, why in [
        (FIVE, 0, "不收缩"),
        (FIVE, 1.0, "收缩1"),
        (FIVE, 20.0, "收缩20"),
        ([[1, 0, 1], [1, 0, 0]], 0, "一部没人喜欢的影片"),
        ([[1]], 3.0, "只有一部影片"),
    ]:
        likes = np.array(likes, dtype=float)
        together = likes.T @ likes
        below = np.sqrt(np.outer(np.diag(together), np.diag(together))) + shrink
        wanted = together / np.where(below == 0, 1, below)
        np.fill_diagonal(wanted, 0)
        require_array(run(answer, likes, shrink, shown=why), wanted, f"相似度（{why}）")


@cache
def _split():
    return make_split(load_dataset("movielens-zh"), "leave_last_out", seed=0)


@cache
def _in_common() -> dict[str, float]:
    """How many of ten films EASE with a huge weight shares with each guess, on average over users."""
    split = _split()
    likes = split.train_matrix
    gram = (likes.T @ likes).toarray().astype(float)
    popular = np.diag(gram).copy()
    inverse = np.linalg.inv(gram + 1e7 * np.eye(len(gram)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.fill_diagonal(gram, 0)
    guesses = {"热门": np.tile(popular, (likes.shape[0], 1)), "共同观众": likes @ gram}
    ease = top_k(likes @ weights, 10, exclude=likes)
    lists = {name: top_k(scores, 10, exclude=likes) for name, scores in guesses.items()}
    return {name: np.mean([len(set(a) & set(b)) for a, b in zip(ease, found)]) for name, found in lists.items()}


@exercise(
    "02-3",
    "正则极大时，逆矩阵近似为$(I-X^\\top X/\\lambda)/\\lambda$：不在对角线上的元素与什么成正比？",
    "按第5节的五行求权重，`top_k(X @ weights, k, exclude=X)`取名单，再数每人两份名单的交集",
    "对全部用户取平均，写到小数点后两位；整数多半是猜的",
)
def heavy(answer):
    require(isinstance(answer, tuple | list) and len(answer) == 2, "应当是（名称，相同的部数）两项")
    name, shared = answer
    require(name in ("随机", "热门", "共同观众"), "名称请从三个里选一个")
    common = _in_common()
    require(name == max(common, key=common.get), "名单最像的不是它：把三种名单都与EASE的比一比")
    require_number(shared, common[name], "平均相同的部数", 0.006)


@cache
def _after_tuning() -> tuple[float, float]:
    """EASE with a half-life less RP3β that was tuned and given one on validation too: the interval of NDCG@10."""
    split, metric = _split(), "ndcg@10"
    found = tuning.tune_one("rp3beta", split, metric, fading=True)
    new, old = (evaluate(model, split, [metric]) for model in (EASE(half_life=5), RP3Beta(**found.best)))
    between = compare(new.users[metric], old.users[metric])
    return between.low, between.high


@exercise(
    "02-4",
    "新方法在验证集上选过什么？三个对手里，哪些也有可调的，却照默认用？",
    '`tuning.tune_one("itemknn", split, fading=True)`只看验证集，`.best`是选中的设置；另一个对手照样做',
    "选好以后各在测试上评一次，用`evaluation.compare(新, 旧)`：区间含0的那一句站不住",
)
def untuned(answer):
    require(isinstance(answer, tuple | list) and len(answer) == 3, "应当是（哪一句，区间下端，区间上端）三项")
    claim, low, high = answer
    require(claim in ("甲", "乙", "丙"), "哪一句，请从甲、乙、丙里选一个")
    require(claim == "乙", "给这一句里的对手同样的旋钮，结论仍然成立；或者它根本没有这个旋钮")
    for end, wanted, found in zip(("下端", "上端"), _after_tuning(), (low, high)):
        require_number(found, wanted, f"调过以后，新方法减对手的区间的{end}", 1e-3)
