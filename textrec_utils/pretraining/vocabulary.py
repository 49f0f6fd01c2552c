"""A WordPiece vocabulary from texts, the same on every run."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_wordpiece(texts: Iterable[str], vocab_size: int = 8192, min_frequency: int = 2):
    """A BERT tokenizer (WordPiece; every 汉字 is a token of its own, Latin letters and digits form pieces).

    Pieces grow by merging the most frequent neighbours (Schuster & Nakajima 2012; Sennrich et al. 2016), as in
    the `tokenizers` library, whose trainer however breaks ties by chance; here they go to the pair that sorts
    first, so that two runs give one vocabulary. Characters rarer than min_frequency, or for which there is no
    room, become [UNK]. Lower case. Returns a `transformers.BertTokenizer`.
    """
    from tokenizers import normalizers, pre_tokenizers
    from transformers import BertTokenizer

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters: Counter[str] = Counter()
    for word, count in words.items():
        characters.update({character: count for character in dict.fromkeys(word)})
    ranked = sorted(((n, c) for c, n in characters.items() if n >= min_frequency), key=lambda pair: (-pair[0], pair[1]))
    kept = {c for _, c in ranked[: vocab_size - len(SPECIAL)]}
    pieces = dict.fromkeys(sorted(kept))
    longer = {word: n for word, n in sorted(words.items()) if len(word) > 1 and kept.issuperset(word)}
    inner = dict.fromkeys("##" + c for c in sorted({c for word in longer for c in word[1:]}))
    room = vocab_size - len(SPECIAL) - len(pieces) - len(inner)
    if room >= 0:
        pieces |= inner | dict.fromkeys(_merged_pieces(longer, room, min_frequency))
    ordered = sorted(pieces, key=lambda p: (p.startswith("##"), len(p), p))
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(SPECIAL + ordered)}, do_lower_case=True)


def _merged_pieces(words: dict[str, int], room: int, min_frequency: int) -> list[str]:
    """At most `room` new pieces, by merging the most frequent pair of neighbouring pieces again and again."""
    counts = list(words.values())
    splits = [[word[0], *("##" + c for c in word[1:])] for word in words]
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for i, split in enumerate(splits):
        for pair in zip(split, split[1:]):
            pairs[pair] += counts[i]
            where.setdefault(pair, set()).add(i)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    made: dict[str, None] = {}
    while heap and len(made) < room:
        negative, best = heapq.heappop(heap)
        if pairs[best] != -negative:  # an old entry: the pair's count has changed since
            if pairs[best] >= min_frequency:
                heapq.heappush(heap, (-pairs[best], best))
            continue
        if pairs[best] < min_frequency:
            break
        joined = best[0] + best[1].removeprefix("##")
        made[joined] = None
        change: Counter[tuple[str, str]] = Counter()
        for i in where.pop(best):
            old = splits[i]
            for pair in zip(old, old[1:]):
                change[pair] -= counts[i]
            new, j = [], 0
            while j < len(old):
                both = j + 1 < len(old) and (old[j], old[j + 1]) == best
                new.append(joined if both else old[j])
                j += 2 if both else 1
            splits[i] = new
            for pair in zip(new, new[1:]):
                change[pair] += counts[i]
                where.setdefault(pair, set()).add(i)
        for pair, n in change.items():  # once all words are done: a count on its way would stand too low in the heap
            pairs[pair] += n
            if n > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
    return list(made)
