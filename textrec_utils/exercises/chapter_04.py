"""Chapter 04: heads, masks, whole words, a training step, what is hard to guess."""

import numpy as np
import torch
import torch.nn.functional as F

from textrec_utils.encoder_quality import masked_characters, masked_language_model, read_eval_sets
from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run, run_in_place


def tensor_of(answer, shape: tuple[int, ...], what: str) -> torch.Tensor:
    """The answer where it is a tensor of that shape; else `Wrong`."""
    require(isinstance(answer, torch.Tensor), f"{what}应当是张量，这里是{type(answer).__name__}")
    require(tuple(answer.shape) == shape, f"{what}的形状应当是{shape}，这里是{tuple(answer.shape)}")
    return answer


@exercise(
    "04-1",
    "先乘三个矩阵，再切头：（句数，词元数，宽）要变成（句数，头数，词元数，宽除以头数）",
    "`unflatten(-1, (heads, -1)).transpose(1, 2)`切开，`transpose(1, 2).flatten(2)`拼回",
    "缩放用的宽度是每个头的宽度，不是总宽；拼回以后别忘了`@ wo`",
)
def many_heads(answer):
    generator = torch.Generator().manual_seed(4)
    for texts, tokens, dim, heads in ((1, 3, 4, 1), (2, 5, 12, 4), (3, 1, 6, 3), (2, 7, 8, 8)):
        x = torch.randn(texts, tokens, dim, generator=generator)
        wq, wk, wv, wo = (torch.randn(dim, dim, generator=generator) / dim**0.5 for _ in range(4))
        q, k, v = ((x @ w).unflatten(-1, (heads, -1)).transpose(1, 2) for w in (wq, wk, wv))
        wanted = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ wo
        case = f"{texts}句，{tokens}个词元，宽{dim}，{heads}个头"
        found = run(answer, x, wq, wk, wv, wo, heads, shown=case)
        require_array(tensor_of(found, (texts, tokens, dim), "输出").detach(), wanted, f"输出（{case}）", 1e-4)


@exercise(
    "04-2",
    "两个条件都要满足：不在右边，而且不是填充。布尔张量用`&`合起来",
    "因果的那一半是`torch.ones(n, n, dtype=torch.bool).tril()`；填充的那一半看的是**被看**的词元，也就是列",
    "`mask[:, None, None, :].bool()`是（句数，1，1，词元数），与三角形广播到一起",
)
def causal_and_padding(answer):
    masks = {"没有填充": [[1, 1, 1]], "填充在右边": [[1, 1, 1, 1], [1, 1, 0, 0]],
             "填充在左边": [[0, 0, 1, 1], [1, 1, 1, 1]], "只有一个词元": [[1]]}  # fmt: skip
    for case, rows in masks.items():
        mask = torch.tensor(rows)
        texts, tokens = mask.shape
        found = tensor_of(run(answer, mask, shown=case), (texts, 1, tokens, tokens), f"掩码（{case}）")
        require(found.dtype == torch.bool, f"掩码应当是布尔张量，这里是{found.dtype}")
        for text in range(texts):
            for i in range(tokens):
                wanted = [j <= i and bool(mask[text, j]) for j in range(tokens)]
                require(found[text, 0, i].tolist() == wanted, f"{case}：第{text + 1}句第{i + 1}个词元准看的不对")


@exercise(
    "04-3",
    "一个词掷一次骰子，不是一个字掷一次",
    "先给每个词一个布尔值，再照词的长度重复：`np.repeat`",
    "`rng.random(len(words)) < rate`，再`np.repeat(…, [len(word) for word in words])`",
)
def whole_words(answer):
    sentence = ["导演", "重拍", "了", "一", "部", "老电影", "，", "观众", "不", "买账"] * 200
    for words, rate in ((sentence, 0.15), (sentence, 0.4), (sentence, 0.0), (sentence, 1.0), ([], 0.15)):
        case = f"{len(words)}个词，比例{rate}"
        found = run(answer, words, rate, np.random.default_rng(5), shown=case)
        require(isinstance(found, np.ndarray) and found.dtype == bool, "应当返回布尔的NumPy数组")
        require(found.shape == (sum(map(len, words)),), f"长度应当等于总字数（{case}）")
        start = 0
        for word in words:
            part = found[start : start + len(word)]
            require(part.all() or not part.any(), f"“{word}”只遮了一半")
            start += len(word)
        if words:
            first = np.cumsum([0, *map(len, words[:-1])])
            require(abs(found[first].mean() - rate) < 0.03, f"挑中的词太多或太少（{case}）")
    twice = [run(answer, sentence, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    require((twice[0] == twice[1]).all(), "同一个骰子应当得到同样的结果：只用传进来的rng")
    require((twice[0] != twice[2]).any(), "换了骰子，结果却没有变")


class Scores(torch.nn.Module):
    """As small as a language model gets: a table of scores. Its loss is steep, so that an unclipped step shows."""

    def __init__(self, scale: float):
        super().__init__()
        self.table, self.scale = torch.nn.Parameter(torch.linspace(-1, 1, 30).reshape(6, 5)), scale

    def forward(self, inputs):
        return self.scale * self.table[inputs]


@exercise(
    "04-4",
    "次序：梯度清零，算分数，算损失，反向传播，裁剪，走一步",
    "`F.cross_entropy`的分数要（题数，词表），答案要（题数，）：两边先摊平；它自己就不理会−100",
    "裁剪用`torch.nn.utils.clip_grad_norm_`，在`backward()`之后、`step()`之前；返回`loss.item()`",
)
def one_step(answer):
    inputs = torch.tensor([[0, 1, 2], [3, 4, 5]])
    labels = torch.tensor([[4, -100, 1], [-100, 0, -100]])
    for case, scale, dirty in (("梯度小", 0.1, False), ("梯度大", 50.0, False), ("梯度里还留着上一步的", 0.1, True)):
        nets = [Scores(scale), Scores(scale)]
        for net in nets if dirty else []:
            net.table.grad = torch.full_like(net.table, 3.0)
        theirs, ours = (torch.optim.SGD(net.parameters(), lr=0.1) for net in nets)
        ours.zero_grad()
        wanted = F.cross_entropy(nets[1](inputs).flatten(0, 1), labels.flatten())
        wanted.backward()
        torch.nn.utils.clip_grad_norm_(nets[1].parameters(), 1.0)
        ours.step()
        found = run_in_place(answer, nets[0], inputs.clone(), labels.clone(), theirs, shown=case)
        require_number(found, wanted.item(), f"返回的损失（{case}）", 1e-4)
        right = torch.allclose(nets[0].table, nets[1].table, atol=1e-5)
        require(right, f"走完以后权重不对（{case}）")


@exercise(
    "04-5",
    "`masked_characters`返回的对象有`accuracy`和`loss`；困惑度是损失的指数",
    '按`genre`挑句子：`[s for s, g in zip(sets.sentences, genre) if g == "film"]`；遮的比例用`rate=`，其余参数不动',
)
def hard_to_guess(answer):
    require(isinstance(answer, dict), "应当是字典")
    require(set(answer) == {"film", "review", 0.15, 0.4}, '键应当是"film"、"review"、0.15和0.4')
    model, tokenizer = masked_language_model("mini-bert-zh")
    sentences = read_eval_sets().sentences
    for kind, texts in genres(sentences).items():
        wanted = float(np.exp(masked_characters(model, tokenizer, texts).loss))
        require_number(answer[kind], wanted, f"{kind}的困惑度", 1e-3 * wanted)
    for rate in (0.15, 0.4):
        wanted = masked_characters(model, tokenizer, sentences, rate=rate).accuracy
        require_number(answer[rate], wanted, f"遮{rate:.0%}时猜对的汉字", 0.002)


def genres(sentences: list[str]) -> dict[str, list[str]]:
    """The sentences of two genres, in the order of the file."""
    import pandas as pd

    from textrec_utils.core.paths import project_data

    genre = pd.read_csv(project_data() / "encoder_eval" / "sentences.csv")["genre"]
    return {kind: [s for s, g in zip(sentences, genre) if g == kind] for kind in ("film", "review")}
