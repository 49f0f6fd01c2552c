"""Chapter 08: blended scores, ranks of one request, a prior that fades, fair negatives, new films alone and mixed."""

import numpy as np
from scipy.special import softmax
from scipy.stats import rankdata

from textrec_utils.exercises.judge import Wrong, exercise, require, require_number, run
from textrec_utils.shipped.tables import read


def _standard(scores: np.ndarray, open_: np.ndarray) -> np.ndarray:
    found = np.zeros(scores.shape)
    for row, (values, may) in enumerate(zip(scores, open_)):
        if may.any() and values[may].std() > 1e-12:
            found[row] = (values - values[may].mean()) / values[may].std()
    return found


def _numbers(answer, shape: tuple[int, ...], case: str) -> np.ndarray:
    """The array of an answer, refused where the shape is another or a NaN is in it."""
    try:
        found = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise Wrong(f"“{case}”：要返回数组，这里是{type(answer).__name__}") from None
    require(found.shape == shape, f"“{case}”：形状应当是{shape}，这里是{found.shape}")
    require(not np.isnan(found).any(), f"“{case}”：结果里有NaN")
    return found


@exercise(
    "08-1",
    "平均和标准差都只在能推荐的物品里算，每位用户各算各的：`np.where(open_, …, 0)`相加，再除以个数",
    "一行得分全都相等，标准差是0：这一方对他无话可说，添0分",
    "除以`np.where(std > 1e-12, std, np.inf)`，标准差是0的就成了0；没有能推荐的，个数按1算",
    "`np.where(open_, w * z_text + (1 - w) * z_cf, -np.inf)`",
)
def blend(answer):
    draw = np.random.default_rng(81)
    text, cf = draw.normal(size=(5, 12)), draw.gamma(1.0, 30.0, size=(5, 12))
    open_ = draw.random((5, 12)) < 0.7
    cf[~open_] = 1e4  # what has been seen scores highest
    silent, one, none = cf.copy(), open_.copy(), open_.copy()
    silent[2] = 7.0
    one[1], none[3] = np.arange(12) == 4, False
    cases = {
        "行为的刻度大得多": (text, cf, open_, 0.3),
        "只听文字": (text, cf, open_, 1.0),
        "只听行为": (text, cf, open_, 0.0),
        "行为给他的得分全都相等": (text, silent, open_, 0.4),
        "有人只有一件能推荐": (text, cf, one, 0.4),
        "有人一件也不能推荐": (text, cf, none, 0.4),
    }
    for name, (a, b, may, w) in cases.items():
        found = _numbers(run(answer, a, b, may, w, shown=name), a.shape, name)
        require(np.isneginf(found[~may]).all(), f"“{name}”：不能推荐的应当是−∞")
        wanted = w * _standard(a, may) + (1 - w) * _standard(b, may)
        require(np.isfinite(found[may]).all(), f"“{name}”：能推荐的应当都是有限的数")
        require(np.allclose(found[may], wanted[may], atol=1e-6), f"“{name}”：能推荐的物品，得分不对")


@exercise(
    "08-2",
    "先把不能推荐的压到最后，再排；名次从1数起",
    "`scipy.stats.rankdata`给并列的平分名次，但它从小到大数：给它得分的相反数",
    "`np.where(open_, rankdata(-np.where(open_, scores, -np.inf)), np.inf)`",
)
def request_ranks(answer):
    everything = np.ones(6, dtype=bool)
    cases = {
        "没有并列": ([0.1, 0.9, 0.4, 0.7, 0.2, 0.3], everything),
        "两件并列第一": ([5.0, 5.0, 1.0, 2.0, 3.0, 0.0], everything),
        "三件并列在中间": ([9.0, 2.0, 2.0, 2.0, 1.0, 0.0], everything),
        "得分全都相等": ([0.0] * 6, everything),
        "看过的得分最高": ([9.0, 8.0, 1.0, 3.0, 2.0, 2.0], np.array([0, 0, 1, 1, 1, 1], dtype=bool)),
        "看过的与没看过的同分": ([2.0, 2.0, 2.0, 1.0, 0.0, 5.0], np.array([1, 0, 1, 1, 0, 0], dtype=bool)),
        "只有一件能推荐": ([1.0, 4.0, 2.0, 0.0, 0.0, 0.0], np.arange(6) == 2),
        "一件也不能推荐": ([1.0, 4.0, 2.0, 0.0, 0.0, 0.0], ~everything),
        "全是负分": ([-1.0, -4.0, -2.0, -9.0, -3.0, -5.0], np.array([1, 1, 0, 1, 1, 1], dtype=bool)),
    }
    for name, (scores, may) in cases.items():
        scores, wanted = np.array(scores), np.full(6, np.inf)
        wanted[may] = rankdata(-scores[may])
        found = _numbers(run(answer, scores, may, shown=name), (6,), name)
        require((found[~may] == np.inf).all(), f"“{name}”：不能推荐的，名次应当是∞（倒数就是0）")
        require(np.allclose(found[may], wanted[may]), f"“{name}”：能推荐的，名次不对")


@exercise(
    "08-3",
    "先验占$c/(n+c)$，自己的占$n/(n+c)$：两个比例之和是1，每位用户各有一对",
    "`n`是（用户，），要写成`n[:, None]`，才会沿着物品那一维铺开",
    "0乘NaN仍是NaN：n是0的人，自己的那一行要先换成0（`np.where`）",
    "n和c都是0时，比例是0/0：没有历史，就全听先验",
)
def faded(answer):
    draw = np.random.default_rng(83)
    prior, own = draw.normal(size=(2, 4, 7))
    unheard = own.copy()
    unheard[[0, 2]] = np.nan
    cases = {
        "历史有长有短": (own, np.array([1, 3, 50, 7]), 5.0),
        "人数与物品数相同": (draw.normal(size=(4, 4)), np.array([1, 2, 3, 40]), 2.0),
        "历史极长": (own, np.array([10**7] * 4), 5.0),
        "有人没有历史": (unheard, np.array([0, 3, 0, 7]), 5.0),
        "c = 0": (own, np.array([1, 3, 50, 7]), 0.0),
        "c = 0，又有人没有历史": (unheard, np.array([0, 3, 0, 7]), 0.0),
        "c极大": (own, np.array([1, 3, 50, 7]), 1e9),
    }
    for name, (mine, n, c) in cases.items():
        before = prior[:, : mine.shape[1]]
        share = np.array([1.0 if i == 0 else c / (i + c) for i in n])[:, None]
        wanted = share * before + (1 - share) * np.nan_to_num(mine)
        with np.errstate(all="ignore"):
            found = _numbers(run(answer, before, mine, n, c, shown=name), mine.shape, name)
        require(np.allclose(found, wanted, atol=1e-6), f"“{name}”：得分不对")


@exercise(
    "08-4",
    "先在参加的物品里算softmax：$p_i$；不参加的，梯度是0",
    "$-\\log p_h$对得分的导数是$(p_i - [i = h]) / \\tau$；对几件藏起来的取平均",
    "指数会溢出：得分先减去参加者里最大的一个，softmax不变",
    "`y = hidden / hidden.sum()`，参加的是`(p - y) / temperature`",
)
def push(answer):
    draw = np.random.default_rng(84)
    n = 9

    def flags(*where):
        return np.isin(np.arange(n), where)

    cases = {
        "藏一件，都参加": (draw.uniform(-1, 1, n), flags(3), flags(), 0.1),
        "藏两件": (draw.uniform(-1, 1, n), flags(3, 6), flags(), 0.1),
        "历史和新片不参加": (draw.uniform(-1, 1, n), flags(0), flags(4, 5, 8), 0.2),
        "不参加的得分最高": (np.linspace(-1, 1, n), flags(2), flags(7, 8), 0.1),
        "温度很低": (draw.uniform(-1, 1, n), flags(1), flags(2), 0.001),
        "温度是1": (draw.uniform(-1, 1, n), flags(1, 2, 3), flags(0), 1.0),
        "只有藏起来的参加": (draw.uniform(-1, 1, n), flags(1), ~flags(1), 0.1),
    }
    for name, (scores, hidden, left_out, temperature) in cases.items():
        logits = np.where(left_out, -np.inf, scores / temperature)
        wanted = np.where(left_out, 0, (softmax(logits) - hidden / hidden.sum()) / temperature)
        with np.errstate(all="ignore"):
            found = _numbers(run(answer, scores, hidden, left_out, temperature, shown=name), (n,), name)
        require((found[left_out] == 0).all(), f"“{name}”：不参加的物品，不该受到推力")
        require(np.allclose(found, wanted, atol=1e-6), f"“{name}”：推力不对")


def _ndcg(scores: np.ndarray, answers: np.ndarray, k: int) -> float:
    order = sorted((i for i in range(len(scores)) if scores[i] > -np.inf), key=lambda i: (-scores[i], i))[:k]
    gain = sum(1 / np.log2(place + 2) for place, i in enumerate(order) if answers[i])
    return gain / sum(1 / np.log2(place + 2) for place in range(min(int(answers.sum()), k)))


@exercise(
    "08-5",
    "两次问的答案相同，只是候选不同：一次只有新片，一次是能推荐的全部",
    "把不是候选的压成−∞，再取前k个；−∞的不能进名单",
    "理想的一份名单把min(|答案|, k)件答案放在最前；两次用的是同一个理想值",
    '`per_user(top_k(…), sparse.csr_matrix(answers[None]), ["ndcg@10"])`也能用；没有答案，先返回两个NaN',
)
def both_ways(answer):
    draw = np.random.default_rng(85)
    n, new = 30, np.arange(30) >= 22
    answers = np.isin(np.arange(n), [23, 27])
    low = np.where(new, draw.random(n) - 5, draw.random(n))
    barred = low.copy()
    barred[[3, 9, 23]] = -np.inf
    cases = {
        "新片的得分整个偏低": (low, answers, 10),
        "新片和老片一样高": (draw.random(n), answers, 5),
        "新片在最前": (np.where(new, 3.0, 1.0) + draw.random(n) / 10, answers, 3),
        "得分全都相等": (np.zeros(n), answers, 10),
        "有的不能推荐": (barred, answers, 10),
        "k比新片多": (draw.random(n), answers, 20),
        "答案比k多": (draw.random(n), new, 3),
    }
    for name, (scores, liked, k) in cases.items():
        both = run(answer, scores, new, liked, k, shown=name)
        require(isinstance(both, tuple | list) and len(both) == 2, "要返回两个数：新片之间的、混在全库里的")
        among = _ndcg(np.where(new, scores, -np.inf), liked, k)
        for found, wanted, what in zip(both, (among, _ndcg(scores, liked, k)), ("新片之间", "混在全库里")):
            require_number(found, wanted, f"“{name}”{what}的NDCG", 1e-6)
    nothing = run(answer, low, new, answers & False, 10, shown="没有答案")
    require(isinstance(nothing, tuple | list) and len(nothing) == 2, "没有答案时也要返回两个数")
    require(np.isnan(np.asarray(nothing, dtype=float)).all(), "没有答案的用户算不出NDCG，应当是两个NaN")


@exercise(
    "08-6",
    '表是`read("newcomers")`，只看`group`是`validation`的行；先对喜欢数取平均',
    "老片的尺子是`method`为`tower_both`、`places`为`none`的`old`",
    "在`method`为`hybrid`、`places`不是`none`的里头，留下`old`不低于那把尺子的，再取`mixed`最高的",
)
def places_without_loss(answer):
    shipped = read("newcomers")
    means = shipped[shipped["group"] == "validation"].groupby(["method", "places"])[["mixed", "old"]].mean()
    tried = means.loc["hybrid"].drop("none")
    require(isinstance(answer, str), "答案是一个字符串，写成表里`places`一栏的样子")
    require(answer in tried.index, "表里没有试过这一组：照`places`一栏的写法")
    safe = tried[tried["old"] >= means.loc[("tower_both", "none"), "old"]]
    require(answer in safe.index, "这一组的老片低于只有读两样的塔、不留位置时的")
    require(answer == safe["mixed"].idxmax(), "老片守住了，新片还有得分更高的一组")
