"""Chapter 07: the k best by the rules, a bias in the dot product, weighted reasons, lists of two blocks, variety."""

from functools import cache
from math import comb

import numpy as np

from textrec_utils.datasets.registry import load_dataset
from textrec_utils.exercises.judge import Wrong, exercise, require, require_array, require_number, run


def _whole(index, k: int) -> np.ndarray:
    """The indices of an answer, refused unless k whole numbers."""
    found = np.asarray(index)
    require(found.shape == (k,), f"要返回长度是{k}的一维数组，这里的形状是{found.shape}")
    require(found.dtype.kind in "iu", "下标应当是整数，不然不能拿去取物品")
    return found


def _ordered(scores: np.ndarray, k: int) -> np.ndarray:
    order = sorted((i for i in range(len(scores)) if scores[i] != -np.inf), key=lambda i: (-float(scores[i]), i))[:k]
    return np.array(order + [-1] * (k - len(order)))


@exercise(
    "07-1",
    "先想次序：要稳定地按“得分的相反数”从小到大排",
    "取前k个之后，去掉得分是−∞的；长度不够，用`np.pad(…, constant_values=-1)`补",
    "无符号整数取负会绕回去，所以第一步先转成`float`；有NaN就`raise ValueError(…)`",
)
def best_k(answer):
    inf = np.inf
    cases = {
        "有并列": (np.array([0.5, 0.9, 0.9, 0.2, 0.9]), 2),
        "k比物品多": (np.array([0.1, 0.7, 0.3]), 5),
        "k等于物品数": (np.array([0.1, 0.7, 0.3]), 3),
        "只有一件物品": (np.array([0.4]), 1),
        "一件物品取三个": (np.array([-2.0]), 3),
        "全部不能推荐": (np.full(4, -inf), 2),
        "有的不能推荐": (np.array([0.3, -inf, 0.8, -inf]), 3),
        "全是负分": (np.array([-3.0, -1.0, -2.0]), 2),
        "有+∞": (np.array([1.0, inf, 2.0]), 2),
        "得分是整数": (np.array([2, 5, 5, 1]), 3),
        "得分是无符号整数": (np.array([0, 3, 1], dtype=np.uint8), 2),
        "得分是float32": (np.array([0.25, 0.5, 0.5], dtype=np.float32), 2),
        "没有物品": (np.array([]), 2),
    }
    draw = np.random.default_rng(7)
    cases |= {f"随机的第{i}个": (draw.integers(0, 4, 30).astype(float), 10) for i in range(20)}
    for name, (scores, k) in cases.items():
        found = _whole(run(answer, scores, k, shown=name), k)
        require((found == _ordered(scores, k)).all(), f"“{name}”取{k}个，取出的不对")
    try:
        answer(np.array([0.2, np.nan, 0.5]), 2)
    except ValueError:
        return
    except Exception as error:
        raise Wrong(f"有NaN时应当报ValueError，这里报的是{type(error).__name__}") from error
    raise Wrong("得分里有NaN，应当报ValueError，不能悄悄排下去")


@exercise(
    "07-2",
    "点积多一维，就多一项：用户的那一维乘物品的那一维，要正好等于$b_i$",
    "$b_i$与用户无关，所以每位用户多出的那一维都一样；物品多出的那一维各不相同",
    "`np.ones((len(users), 1))`接在用户后面，`bias[:, None]`接在物品后面，都用`np.hstack`",
)
def with_bias(answer):
    draw = np.random.default_rng(8)
    sizes = {"30位用户，50件物品": (30, 50, 8), "一位用户，一件物品": (1, 1, 3), "一维的向量": (4, 6, 1)}
    for name, (n, m, dim) in sizes.items():
        users, items, bias = draw.normal(size=(n, dim)), draw.normal(size=(m, dim)), draw.normal(size=m) * 3
        for case, given in ((name, bias), (f"{name}，偏置全是0", bias * 0)):
            both = run(answer, users, items, given, shown=case)
            require(isinstance(both, tuple | list) and len(both) == 2, "要返回两组向量：用户的和物品的")
            u, v = (np.asarray(one) for one in both)
            wanted = ((n, dim + 1), (m, dim + 1))
            require((u.shape, v.shape) == wanted, f"“{case}”：形状应当是{wanted}，这里是{(u.shape, v.shape)}")
            require_array(u @ v.T, users @ items.T + given, f"“{case}”的点积")


@exercise(
    "07-3",
    "得分是$\\sum_h w_h\\,\\mathbf{v}_h \\cdot \\mathbf{v}_i$：每一项就是一部的贡献，不必再除以什么",
    "`vectors[history] @ vectors[item]`一次算出所有的点积，再逐项乘权重",
    '`np.argsort(-terms, kind="stable")[:n]`给出次序，并列的自然是历史里靠前的在前',
)
def explain_weighted(answer):
    draw = np.random.default_rng(9)
    vectors = draw.normal(size=(20, 4))
    vectors[[4, 6]] = vectors[3]  # three of one kind: ties
    cases = {
        "四部历史": ([3, 11, 5, 8], [0.1, 0.2, 0.3, 0.4], 4),
        "只要两条": ([3, 11, 5, 8], [0.1, 0.2, 0.3, 0.4], 2),
        "权重之和不是1": ([9, 2, 14], [2.0, 1.0, 0.5], 3),
        "n比历史长": ([1, 2], [0.5, 0.5], 5),
        "一部历史": ([12], [1.0], 3),
        "有并列": ([6, 15, 3, 4], [0.25] * 4, 4),
        "有权重是0": ([1, 2, 9], [0.0, 1.0, 0.0], 3),
        "没有历史": ([], [], 3),
    }
    for name, (history, weights, n) in cases.items():
        history, weights = np.array(history, dtype=int), np.array(weights)
        terms = [float(w * (vectors[h] @ vectors[7])) for h, w in zip(history, weights)]
        wanted = sorted(range(len(terms)), key=lambda j: (-round(terms[j], 9), j))[:n]
        found = run(answer, 7, history, weights, vectors, n, shown=name)
        pairs = isinstance(found, list | tuple) and all(isinstance(p, list | tuple) and len(p) == 2 for p in found)
        require(pairs, "要返回`(物品行号, 贡献)`的列表")
        require(len(found) == len(wanted), f"“{name}”：应当有{len(wanted)}条，这里有{len(found)}条")
        require_array([p for _, p in found], [terms[j] for j in wanted], f"“{name}”的贡献")
        require([i for i, _ in found] == history[wanted].tolist(), f"“{name}”：贡献配错了物品，或次序不对")


@exercise(
    "07-4",
    "点积 = 长度 × 余弦（用户的长度对大家都一样）：方向越偏的，要让它越长",
    "取u = (1, 0)，点积就是物品的第一个坐标，余弦看第二个坐标相对有多大",
    "例如三件的第一个坐标是1、2、3，再让第二个坐标涨得更快",
)
def reversed_order(answer):
    require(isinstance(answer, tuple | list) and len(answer) == 2, "要写成`(u, V)`：用户向量和三件物品的向量")
    try:
        u, items = (np.asarray(part, dtype=float) for part in answer)
    except (TypeError, ValueError):
        raise Wrong("u和V里都应当是数") from None
    require(u.shape == (2,) and items.shape == (3, 2), f"形状应当是(2,)和(3, 2)，这里是{u.shape}和{items.shape}")
    require(np.isfinite(u).all() and np.isfinite(items).all(), "每个数都应当是有限的")
    lengths = np.linalg.norm(items, axis=1)
    require(np.linalg.norm(u) > 0 and (lengths > 0).all(), "零向量没有方向，也就没有余弦")
    dot = items @ u
    cosine = dot / lengths / np.linalg.norm(u)
    require((dot > 0).all(), "有的点积不是正的")
    require(min(np.diff(np.sort(dot))) > 1e-9 and min(np.diff(np.sort(cosine))) > 1e-9, "有并列：次序不唯一")
    by_dot, by_cosine = np.argsort(-dot), np.argsort(-cosine)
    found = f"点积的次序是{by_dot.tolist()}，余弦的是{by_cosine.tolist()}"
    require((by_dot == by_cosine[::-1]).all(), f"{found}，还没有全倒过来")


@exercise(
    "07-5",
    "全库的前k名，一定在两块各自的前k名里：把两份接起来，再取一次前k名",
    "并列要比**物品编号**，不是比在哪一份里、排第几：`np.lexsort((编号, -得分))`先比最后一个",
    "补上的−1先丢掉（`index >= 0`），最后不够k个再补−1和−∞",
)
def merge(answer):
    draw = np.random.default_rng(11)
    cases = {"两块一样大": (20, 10, 5), "第二块很小": (12, 10, 5), "第一块是空的": (8, 0, 3), "k比全库大": (6, 3, 8),
             "k = 1": (9, 4, 1), "一件物品": (1, 1, 2)}  # fmt: skip
    for name, (n, cut, k) in cases.items():
        for turned in (False, True):
            scores = draw.integers(0, 4, n).astype(float)
            scores[draw.random(n) < 0.2] = -np.inf
            parts = []
            for members in (np.arange(cut), np.arange(cut, n)):
                first = _ordered(scores[members], k)
                index = np.array([members[i] if i >= 0 else -1 for i in first])
                parts.append((index, np.array([scores[i] if i >= 0 else -np.inf for i in index])))
            (a, sa), (b, sb) = reversed(parts) if turned else parts
            case = name + "，后一块先给" * turned
            both = run(answer, a, sa, b, sb, k, shown=case)
            require(isinstance(both, tuple | list) and len(both) == 2, "要返回两样：编号和得分")
            wanted = _ordered(scores, k)
            require((_whole(both[0], k) == wanted).all(), f"“{case}”：合出的编号与全库一起排的不同")
            require_array(both[1], [scores[i] if i >= 0 else -np.inf for i in wanted], f"“{case}”的得分")


@cache
def _expected_kinds(k: int = 10) -> float:
    """Genres in k films drawn from all, on average: a genre of m is in with chance 1 − C(n−m, k) / C(n, k)."""
    items = load_dataset("movielens-zh").items
    n, counts = len(items), items["category"].str.get_dummies("|").sum()
    return sum(1 - comb(n - int(m), k) / comb(n, k) for m in counts)


@exercise(
    "07-6",
    '`items["category"].str.get_dummies("|")`给出每部电影有哪些类型',
    "一份名单有几种类型：十行相加，数大于0的列；随手抽几千份，取平均",
    "也可以不抽样：一种类型有m部，十部里一部也没有它的机会是$C(n-m, 10) / C(n, 10)$",
)
def random_kinds(answer):
    require_number(answer, _expected_kinds(), "平均的类型数", 0.1)
