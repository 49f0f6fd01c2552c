"""How many tokens of a text an encoder reads: what it can, what its makers say, what the data ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from textrec_utils.core.errors import DataError

UNBOUNDED = 2**20  # of a model whose positions are relative: as many as one likes
LEAST = 128  # tokens that are always read: shorter texts cost nothing more
SHARE = 0.95  # of the texts shall be read whole
OPERATIONS = 5e12  # that reading a catalogue once may take: one to four minutes on two cores


def most_tokens(model: nn.Module) -> int:
    """How many tokens the model can read: its table of positions has so many rows, of RoBERTa's two less."""
    for name, table in model.named_modules():
        if isinstance(table, nn.Embedding) and name.split(".")[-1] in (
            "position_embeddings", "position_embedding", "embed_positions", "wpe",
        ):  # fmt: skip
            before = getattr(table, "offset", None)  # BART's first places are not used
            if before is None:
                before = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - before
    said = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return said if isinstance(said, int) and 0 < said < UNBOUNDED else UNBOUNDED


def chosen_length(asked: int | str, said: int, most: int, specials: int, name: str) -> int:
    """The number of tokens to read. asked: a number, or auto: what the makers say, at most what the model can (`most`).
    specials: tokens that are no text. name: of the encoder. Raises DataError for a number that can't be."""
    if asked == "auto":
        return int(min(most, said))
    try:
        length = int(asked)
    except (TypeError, ValueError):
        raise DataError(f"max_length 应是 auto 或一个整数，得到 {asked!r}。") from None
    if not specials < length <= most:
        raise DataError(
            f"编码器 {name} 一次读 {specials + 1} 到 {most} 个词元，max_length 不能是 {length}："
            "请写这中间的数，或 auto。"
        )
    return length


@dataclass(frozen=True)
class ReadingLength:
    """What `length_for` chose: tokens to read of each text, the share of texts that are longer and lose their end, and
    how many times the tokens of the course's LEAST all texts then are."""

    max_length: int
    cut: float
    cost: float

    def __str__(self) -> str:
        cut = f"{self.cut:.1%}的文字更长，会被截短" if self.cut else "全部文字都读完"
        return f"每段文字读{self.max_length}个词元，{cut}；要算的词元是只读{LEAST}个时的{self.cost:.1f}倍"


def length_for(lengths: Sequence[int], most: int, parameters: int = 0) -> ReadingLength:
    """How much of a catalogue's texts to read: LEAST tokens, or as many as SHARE of the texts have, rounded up to
    eights, where `most` and OPERATIONS allow it.

    lengths: tokens of each text, uncut. most: what the encoder can read. parameters: of its layers, for the cost: each
    token takes two operations for each of them. Passes hold texts of one length, so that a long text costs its own
    tokens and no short text's.
    """
    lengths = np.asarray(lengths)

    def tokens(length: int) -> int:
        return int(np.minimum(lengths, length).sum())

    wanted = int(np.ceil(np.quantile(lengths, SHARE) / 8) * 8) if len(lengths) else LEAST
    length = least = min(most, LEAST)
    for more in range(least, max(least, min(most, wanted)) + 1):
        if more > least and 2 * parameters * tokens(more) > OPERATIONS:
            break
        length = more
    cut = float((lengths > length).mean()) if len(lengths) else 0.0
    return ReadingLength(length, cut, tokens(length) / max(1, tokens(least)))
