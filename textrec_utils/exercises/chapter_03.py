"""Chapter 03: unseen words, counting pairs, a step of negative sampling, IDF, two signals in one, shaky neighbours."""

import numpy as np
from gensim.models import KeyedVectors

from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run
from textrec_utils.word_vectors import document_vectors

WORDS = {"电影": [1.0, 0.0, 2.0], "律师": [0.0, 3.0, -1.0], "法庭": [2.0, 1.0, 0.5], "好": [-1.0, 0.5, 0.0]}


def small_table() -> KeyedVectors:
    """Four words; a vector that a learner changes spoils no other case, since each case builds the table anew."""
    table = KeyedVectors(3)
    table.add_vectors(list(WORDS), np.array(list(WORDS.values()), dtype=np.float32))
    return table


@exercise(
    "03-1",
    "第3节的框里说了`KeyError`从哪里来；先问词在不在表里",
    "`word in wv`是真是假；一个向量有几维，写在`wv.vector_size`里",
    "一行条件表达式：`wv[word] if word in wv else np.zeros(wv.vector_size)`",
)
def vector_or_zeros(answer):
    for word in [*WORDS, "苹果", "", "电"]:
        wanted = WORDS.get(word, [0.0, 0.0, 0.0])
        shown = f"词“{word}”" if word in WORDS else f"没见过的词“{word}”"
        require_array(run(answer, small_table(), word, shown=shown), wanted, f"{shown}的向量")
    wide = KeyedVectors(5)
    wide.add_vectors(["甲"], np.ones((1, 5), dtype=np.float32))
    require_array(run(answer, wide, "乙", shown="五维的表里没见过的词"), np.zeros(5), "五维的表里没见过的词，它的向量")


@exercise(
    "03-2",
    "按两个词隔多远来数：隔1位的有几对，隔2位的呢",
    "隔`j`位的两个词有`n - j`组，每组两个方向各算一对；`j`最大到`min(m, n - 1)`",
    "`q = min(m, n - 1)`，求和得`2 * n * q - q * (q + 1)`；句子是空的时候也试一试",
)
def number_of_pairs(answer):
    cases = [(n, m) for n in range(9) for m in range(11)] + [(40, 5), (1000, 999), (1000, 3000), (10**9, 5)]
    for n, m in cases:
        q = max(0, min(m, n - 1))
        what = f"{n}个词、窗口{m}时，训练对的个数"
        found = run(answer, n, m, shown=f"n={n}，m={m}")
        require_number(found, 2 * n * q - q * (q + 1), what, 0)


@exercise(
    "03-3",
    "误差是“预测的概率减去标签”，每个上下文向量一个；两个梯度的公式在第2节",
    "两个新值都要用旧的`v`和旧的`u`来算：先改了`v`，再用新的`v`去改`u`，就不是同一步了",
    "`error = sigmoid(u @ v) - label`，`v`减去`rate * error @ u`，`u`减去`rate * np.outer(error, v)`（这里是旧的`v`）",
)
def one_step(answer):
    rng = np.random.default_rng(3)
    cases = [
        (rng.normal(size=3), rng.normal(size=(3, 3)), np.array([1, 0, 0]), 0.5, "两个负样本"),
        (rng.normal(size=4), rng.normal(size=(1, 4)), np.array([1]), 0.1, "没有负样本"),
        (rng.normal(size=2), rng.normal(size=(4, 2)), np.array([0, 0, 1, 0]), 1.0, "真的那个不在头一个"),
        (rng.normal(size=3), rng.normal(size=(3, 3)), np.array([1, 0, 0]), 0.0, "步长是0"),
    ]
    for v, u, label, rate, what in cases:
        found = run(answer, v, u, label, rate, shown=what)
        pair = isinstance(found, tuple | list) and len(found) == 2
        require(pair, f"{what}时，应当返回两样：新的v，新的u")
        error = 1 / (1 + np.exp(-(u @ v))) - label
        require_array(found[0], v - rate * error @ u, f"{what}时，新的v")
        require_array(found[1], u - rate * np.outer(error, v), f"{what}时，新的u")


@exercise(
    "03-4",
    "先数每个词的$\\mathrm{df}$，再逐部电影加权平均。一部电影里同一个词出现两次，$\\mathrm{df}$只加1，求平均时却算两次",
    "数$\\mathrm{df}$时，对每部电影先取`set(document)`；$N$是电影数，没有一个认识的词的电影也算在内",
    "一部电影：`known = [w for w in document if w in wv]`，权重`np.log((N + 1) / (df[w] + 1)) + 1`，"
    "再`np.average(wv[known], axis=0, weights=…)`；`known`是空的，就给零向量",
)
def idf_vectors(answer):
    cases = {
        "各词都认识": [["电影", "律师"], ["电影", "法庭"], ["好"]],
        "同一个词出现两次": [["电影", "律师", "律师"], ["电影", "电影", "法庭"], ["律师"]],
        "有没见过的词": [["电影", "苹果"], ["法庭", "律师", "手机"], ["苹果", "好"]],
        "有一部一个词也不认识": [["电影", "好"], ["苹果"], ["好", "法庭"]],
        "有一部没有词": [["电影", "好"], [], ["好", "法庭"]],
        "只有一部电影": [["电影", "好", "好"]],
    }
    for what, documents in cases.items():
        found = run(answer, documents, small_table(), shown=what)
        wanted = document_vectors(documents, small_table(), "idf")
        require_array(found, wanted, f"{what}时，电影的向量", 1e-4)


@exercise(
    "03-5",
    "两段向量首尾相接以后，点积是两段点积之和",
    "点积里两边各乘一次：两边都乘$s$，点积乘的是$s^2$",
    "乘平方根：`np.hstack([np.sqrt(1 - alpha) * text, np.sqrt(alpha) * behaviour])`",
)
def both_signals(answer):
    rng = np.random.default_rng(5)
    text, behaviour = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    text, behaviour = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (text, behaviour))
    behaviour[2] = 0  # nobody liked it
    for alpha in (0.3, 0.5, 0.9, 0.0, 1.0):
        what = f"alpha={alpha}时"
        found = run(answer, text, behaviour, alpha, shown=what)
        try:
            found = np.asarray(found, dtype=float)
        except (TypeError, ValueError):
            found = np.empty(0)
        require(found.ndim == 2 and len(found) == len(text), f"{what}，应当返回一个矩阵，一部电影一行")
        wanted = (1 - alpha) * text @ text.T + alpha * behaviour @ behaviour.T
        require_array(found @ found.T, wanted, f"{what}，两部电影的点积")


@exercise(
    "03-6",
    "`wv.most_similar(word, topn=10)`给出10个邻居；第3节的`part`记着每个词的次数，按次数挑出两组词",
    "对一个词，数`gensim_0`的10个邻居里有几个也在`gensim_1`的10个里；再对一组词取平均",
    "`near = [{w for w, _ in wv.most_similar(word, topn=10)} for wv in (gensim_0, gensim_1)]`，"
    "一个词的答案是`len(near[0] & near[1])`；两组词是`[w for w in slice_words if part[w] > 10]`和`part[w] == 3`的",
)
def shaky_neighbours(answer, *, first, second, often=10, seldom=3, n=10):
    groups = {
        f"出现超过{often}次的词": lambda count: count > often,
        f"只出现{seldom}次的词": lambda count: count == seldom,
    }
    require(np.ndim(answer) == 1 and len(answer) == 2, f"应当是两个数：{'，'.join(f'{name}的平均' for name in groups)}")
    for found, (name, belongs) in zip(answer, groups.items()):
        some = [word for word in first.index_to_key if belongs(first.get_vecattr(word, "count"))]
        near = [[{w for w, _ in wv.most_similar(word, topn=n)} for word in some] for wv in (first, second)]
        require_number(found, np.mean([len(a & b) for a, b in zip(*near)]), f"{name}的平均", 0.006)
