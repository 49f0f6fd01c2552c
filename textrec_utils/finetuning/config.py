"""All settings of a training run, in groups; their sentences are Chinese, since the command line shows them."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from textrec_utils.core.errors import DataError
from textrec_utils.encoder.pooling import EVERY_POOLING, known_pooling
from textrec_utils.losses import LOSSES

FEATURES = ("encoder", "lexical", "both", "shuffled", "random", "ids")
ENCODED = ("encoder", "both", "shuffled")  # of these, what needs an encoder
MEANING_SCALE = 0.5  # of the encoder's vector beside the lexical one, chosen on validation splits of movielens-zh


@dataclass(frozen=True, kw_only=True)
class Reading:
    """读什么，编码器训练多少"""

    rung: str = "head"
    """训练什么：head（编码器不动）、last_layer（加最后一层）、lora（加低秩矩阵，Hu et al. 2021）、whole（全部）。"""
    features: str = "encoder"
    """头读什么：encoder（编码器的向量）、lexical（字的TF-IDF降维，认得名字）、both（并排）；作对照的有 shuffled
    （编码器的向量在物品之间打乱）、random（随机向量）、ids（每个编号学一个向量）。encoder 之外的只配 rung=head。"""
    meaning: float = MEANING_SCALE
    """both 里编码器那一半乘上多少。"""
    whitening: float = 0.5
    """编码器的向量先白化（第05章）到什么程度：1 是完全，0 只减去均值。"""
    pooling: str = "auto"
    """各个词元怎样并成一个向量：auto（照编码器自己的文件，课程自带的是 mean），或 mean、cls、cls_sep、first_last、max、
    weightedmean、lasttoken。"""
    max_length: int | str = "auto"
    """每段文字最多读多少个词元，长的截断：auto（照编码器自己的文件，课程自带的是 128），或一个整数。"""
    lora_rank: int = 8
    """lora 的低秩矩阵的秩。"""

    def _check(self) -> None:
        _one_of(self, rung=("head", "last_layer", "lora", "whole"), features=FEATURES)
        if self.pooling != "auto" and not known_pooling(self.pooling):
            raise ValueError(f"pooling 应是 auto、{'、'.join(EVERY_POOLING)} 之一，得到 {self.pooling!r}。")
        if str(self.max_length).isdecimal():  # as the command line gives it
            object.__setattr__(self, "max_length", int(self.max_length))
        if self.max_length != "auto":
            if type(self.max_length) is not int:
                raise ValueError(f"max_length 应是 auto 或一个整数，得到 {self.max_length!r}。")
            _at_least(self, max_length=3)
        _at_least(self, lora_rank=1)
        _positive(self, "meaning")
        if self.features != "encoder" and self.rung != "head":
            raise ValueError(f"features={self.features!r} 不训练编码器，rung 只能是 'head'。")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """头的样子，分数怎么算"""

    head: str = "mlp"
    """头：mlp（两层），或 linear（从恒等映射起步，背不下物品，对没见过的物品更好）。"""
    hidden: int = 512
    """mlp 中间一层的宽度。"""
    dim: int = 128
    """mlp 给出的物品向量的维数。"""
    dropout: float = 0.3
    """训练时随机丢掉的比例。"""
    similarity: str = "cosine"
    """分数：cosine（余弦除以温度）、learned（温度也学）、dot（不归一，没有温度）。"""
    temperature: float = 0.1
    """温度：越小，越只在意最难分的负例。"""

    def _check(self) -> None:
        _one_of(self, head=("mlp", "linear"), similarity=("cosine", "learned", "dot"))
        _at_least(self, hidden=1, dim=1)
        _positive(self, "temperature")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout 是一个比例，从 0 到 1（不含 1），得到 {self.dropout}。")


@dataclass(frozen=True, kw_only=True)
class UserSide:
    """历史怎样变成用户向量"""

    user: str = "mean"
    """mean（平均）、recency（近的重）、attention（权重 ∝ exp(q · z_i) / (1 + age)^r，q 和 r 从 0 学起）。"""
    half_life: float = 10.0
    """recency：往前数这么多件，权重减半。"""
    history: int = 0
    """只看最近多少件，0 是全部。"""
    profile: bool = False
    """再学一个从用户资料文字出发的线性映射，给没有历史的用户：每步四分之一的用户不给看历史。"""

    def _check(self) -> None:
        _one_of(self, user=("mean", "recency", "attention"))
        _at_least(self, history=0)
        _positive(self, "half_life")


@dataclass(frozen=True, kw_only=True)
class Asking:
    """训练时问什么，怎样算错"""

    question: str = "hidden"
    """hidden（藏起历史的一部分，问藏了什么），或 cut（历史在随机一刻切开，拿前面猜后面）。"""
    history_dropout: float = 0.5
    """hidden 藏起多大的比例。"""
    loss: str = "full"
    """{LOSSES}。"""  # `describe` fills in the table's words
    hard_negatives: int = 0
    """每一对再加几个难负例，从模型自己排在前面的里挑，一次训练里重挑十次（full 没有；bpr 的 0 是随手抽一个）。"""

    def _check(self) -> None:
        _one_of(self, question=("hidden", "cut"), loss=tuple(LOSSES))
        _at_least(self, hard_negatives=0)
        if not 0 < self.history_dropout < 1:
            raise ValueError(f"history_dropout 是一个比例，在 0 和 1 之间（都不含），得到 {self.history_dropout}。")
        if self.hard_negatives and LOSSES[self.loss].negatives == "none":
            readers = "、".join(name for name, loss in LOSSES.items() if loss.negatives != "none")
            raise ValueError(f"loss={self.loss!r} 不读另抽的负例，hard_negatives 只用于 {readers}。")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """走多少步，每步多大（几个进程一起训练时，数的是它们合起来的一步）"""

    steps: int = 300
    """只更新头的步数。头先学：随机的头会把噪声传进编码器。"""
    encoder_steps: int = 80
    """头和编码器一起更新的步数（rung=head 时没有）。"""
    stop: int = 0
    """走到第几步就停，0 是走完；早停会填上它，学习率的日程不变。"""
    users: int = 128
    """每步多少位用户（full 那样问整个目录的 loss）。"""
    pairs: int = 1024
    """每步多少对用户和物品（in_batch、bpr 那样成对的 loss）。"""
    items: int = 64
    """每步最多给多少件物品带梯度地编码（rung=head 时全部物品都有梯度）。"""
    chunk: int = 64
    """同时留着多少段文字的中间结果；一步里比这多，就缓存梯度（Gao et al. 2021），内存随它而不随步子增长。"""
    accumulate: int = 1
    """几批的梯度加起来更新一次。"""

    def _check(self) -> None:
        _at_least(self, steps=0, encoder_steps=0, stop=0, users=1, pairs=1, items=1, chunk=1, accumulate=1)


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """怎样更新"""

    learning_rate: float = 2e-3
    """头的学习率（最高处；先升后降）。"""
    encoder_learning_rate: float = 1e-4
    """编码器的学习率。"""
    weight_decay: float = 1e-2
    """权重衰减（AdamW）。"""
    precision: str = "auto"
    """编码器带梯度时的精度：float32、bf16，或 auto（处理器有bf16就用它，数字会略有不同；用了哪一种写在结果里）。"""
    seed: int = 0
    """随机种子。"""

    def _check(self) -> None:
        _one_of(self, precision=("float32", "bf16", "auto"))
        _at_least(self, seed=0)
        _positive(self, "learning_rate", "encoder_learning_rate", or_zero=True)  # at rate 0 a part stays as it is


@dataclass(frozen=True, kw_only=True)
class TwoTowerConfig(Optimiser, Schedule, Asking, UserSide, Shape, Reading):
    """All settings of a training run; every field belongs into the table of results. Each group checks its own.

    Raises ValueError, one sentence, for unknown words and impossible numbers.
    """

    def __post_init__(self):
        for group in GROUPS:
            group._check(self)
        if self.rung != "head" and LOSSES[self.loss].batch == "pairs" and self.items < self.pairs:
            said = f"items={self.items} 比 pairs={self.pairs} 小"
            raise ValueError(f"{said}：每一对的物品都要带梯度编码，请调大 items 或调小 pairs。")
        if not self.steps and (self.rung == "head" or not self.encoder_steps):
            raise ValueError("steps 和 encoder_steps 合起来一步也没有；请至少训练一步。")

    def to_dict(self) -> dict[str, object]:
        """Every field by name, plain JSON values."""
        return asdict(self)

    def read(self) -> dict[str, object]:
        """`to_dict` without what such a run never reads: configs that differ in nothing else train the same tower."""
        unread = {"users" if LOSSES[self.loss].batch == "pairs" else "pairs"}
        if self.rung == "head":
            unread |= {"encoder_steps", "encoder_learning_rate", "items", "chunk", "precision"}
        for name, needed in (("lora_rank", self.rung == "lora"), ("meaning", self.features == "both"),
                             ("half_life", self.user == "recency")):  # fmt: skip
            if not needed:
                unread.add(name)
        return {name: value for name, value in self.to_dict().items() if name not in unread}

    @classmethod
    def from_dict(cls, settings: Mapping[str, object]) -> TwoTowerConfig:
        """What `to_dict` gave; fields left out keep their defaults. Raises DataError for names that are no field."""
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
                hint = f"；是不是 {'、'.join(near)}？" if near else f"；可用的有 {'、'.join(known)}。"
                raise DataError(f"双塔没有 {name} 这一项设置{hint}")
        return cls(**settings)

    @staticmethod
    def describe() -> dict[str, tuple[str, object, str]]:
        """{field: (its group, its default, the sentence under it)}, group by group."""
        found = {}
        losses = "、".join(f"{name}（{loss.says}）" if loss.says else name for name, loss in LOSSES.items())
        for group in GROUPS:
            body = ast.parse(inspect.getsource(group)).body[0].body
            for line, below in zip(body, body[1:]):
                if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr):
                    said = below.value.value.replace("{LOSSES}", losses)
                    found[line.target.id] = (group.__doc__, getattr(group, line.target.id), said)
        return found


GROUPS = (Reading, Shape, UserSide, Asking, Schedule, Optimiser)


def _one_of(config, **words: tuple[str, ...]) -> None:
    for name, allowed in words.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name} 应是 {'、'.join(allowed)} 之一，得到 {getattr(config, name)!r}。")


def _at_least(config, **least: int) -> None:
    for name, number in least.items():
        if getattr(config, name) < number:
            raise ValueError(f"{name} 至少是 {number}，得到 {getattr(config, name)}。")


def _positive(config, *names: str, or_zero: bool = False) -> None:
    for name in names:
        value = getattr(config, name)
        if not (0 < value < float("inf") or or_zero and value == 0):
            raise ValueError(f"{name} 应是正数，得到 {value}。")
