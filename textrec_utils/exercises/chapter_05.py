"""Chapter 05: [SEP], a mean without the ends, a masked maximum, the strongest directions, a length, names taken out."""

import numpy as np
import torch

from textrec_utils.baselines.content import HistoryMean
from textrec_utils.evaluation.results import evaluate
from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run

LENGTHS = {"长短不一的三句": [5, 7, 4], "没有填充": [6, 6], "只有一句": [4], "有一句是空文本": [2, 5]}


def states_of(lengths: list[int], dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, tokens, dim) states, all below zero so that a padded 0 would win a maximum; the mask (texts, tokens)."""
    drawn = np.random.default_rng(len(lengths)).normal(size=(len(lengths), max(lengths), dim))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.tensor(-1 - np.abs(drawn), dtype=torch.float32), mask.long()


def judge_pooling(answer, pool):
    """The learner's pooling against `pool(states of one text, less its padding)`; the mask must stay as it was."""
    for what, lengths in LENGTHS.items():
        states, mask = states_of(lengths)
        before = states.clone(), mask.clone()
        require(callable(answer), "答案应当是一个函数：写它的名字，不要加括号调用它")
        found = run(lambda s=states, m=mask: answer(s, m), shown=what)
        kept = torch.equal(states, before[0]) and torch.equal(mask, before[1])
        require(kept, f"{what}时，传进来的states或mask被改掉了")
        require_array(found, np.stack([pool(s[:n].numpy()) for s, n in zip(states, lengths)]), f"{what}时，返回值")


@exercise(
    "05-1",
    "一句里真的词元有几个，`mask.sum(1)`数得出；`[SEP]`是最后一个真的词元，不是最后一个位置",
    "每一行要取的位置不同：用一个行号的数组和一个位置的数组一起作下标",
    "`states[torch.arange(len(mask)), mask.sum(1) - 1]`",
)
def sep_vectors(answer):
    judge_pooling(answer, lambda text: text[-1])


@exercise(
    "05-2",
    "先造一张新的掩码，`[CLS]`和`[SEP]`的位置也是0；别改传进来的那一张",
    "`inner = mask.clone()`，`inner[:, 0] = 0`，`[SEP]`的位置照练习1；以后就是带掩码的平均",
    "空文本没有可以平均的词元，分母是0：用`weight.sum(1).clamp(min=1)`作分母，得到的就是零向量",
)
def inner_mean(answer):
    judge_pooling(answer, lambda text: text[1:-1].mean(axis=0) if len(text) > 2 else np.zeros(text.shape[1]))


@exercise(
    "05-3",
    "填充不能当选。乘以掩码，填充变成0；要是真的词元全是负数，0反而最大",
    "把填充的位置换成负无穷，再沿词元的一维取最大",
    "`states.masked_fill(mask.unsqueeze(-1) == 0, float('-inf')).max(1).values`",
)
def masked_maximum(answer):
    judge_pooling(answer, lambda text: text.max(axis=0))


@exercise(
    "05-4",
    "三步：去均值；求协方差的特征向量；减去每个向量在最强的`d`个方向上的投影",
    "`np.linalg.eigh`的特征值从小到大，最强的在最后几列；`d`是0时，`-0`就是0，`[:, -d:]`取到的是哪几列？",
    "`top = direction[:, len(direction) - d:]`，再`centred - centred @ top @ top.T`",
)
def remove_top(answer):
    rng = np.random.default_rng(2)
    cloud = rng.normal(size=(200, 6)) * [9, 5, 1, 2, 0.5, 3] + np.arange(6)
    turned = cloud @ np.linalg.qr(rng.normal(size=(6, 6)))[0]  # no longer along the axes
    cases = [(cloud, d) for d in (2, 1, 0, 5, 6)] + [(turned, d) for d in (0, 1, 3)] + [(turned[:9, :4], 2)]
    for vectors, d in cases:
        what = f"{vectors.shape[0]}个{vectors.shape[1]}维的向量，d={d}"
        found = run(answer, vectors, d, shown=what)
        centred = vectors - vectors.mean(axis=0)
        strength, direction = np.linalg.svd(centred, full_matrices=False)[1:]
        keep = direction[np.argsort(-strength)[d:]]
        require_array(found, centred @ keep.T @ keep, f"{what}时，返回值", 1e-4)


@exercise(
    "05-5",
    "`(lengths <= n).mean()`是长度为n时全文放得下的比例",
    "从16起，一次加16，头一个达到0.95的就是",
    "`next(n for n in range(16, 513, 16) if (lengths <= n).mean() >= 0.95)`",
)
def long_enough(answer, *, lengths, share=0.95):
    number = isinstance(answer, int | float | np.integer | np.floating) and not isinstance(answer, bool)
    require(number and answer > 0 and answer % 16 == 0, "应当是16的倍数（正整数）")
    lengths = np.asarray(lengths)
    require((lengths <= answer).mean() >= share, "这个长度，还有太多文本被截断")
    require((lengths <= answer - 16).mean() < share, "还可以更短")


@exercise(
    "05-6",
    "`valid_ndcg(v)`给出一种向量在五份验证集上的五个数",
    "两种读法都是白化0.5以后的：`readings['全文，白化']`和`readings['全文去人名，白化']`，各量五个数，逐份相减",
    "`gap = valid_ndcg(去人名的) - valid_ndcg(全文的)`，答案是`[int((gap > 0).sum()), gap.mean()]`",
)
def without_names(answer, *, whole, nameless, parts, metric="ndcg@10"):
    require(np.ndim(answer) == 1 and len(answer) == 2, "应当是两个数：去掉人名更高的份数，平均相差")
    scores = [
        np.array([evaluate(HistoryMean(v, "v"), part, (metric,)).mean(metric) for part in parts])
        for v in (whole, nameless)
    ]
    gap = scores[1] - scores[0]
    require_number(answer[0], int((gap > 0).sum()), "去掉人名更高的份数", 0)
    require_number(answer[1], gap.mean(), "平均相差（去人名的减全文的）", 0.00051)
