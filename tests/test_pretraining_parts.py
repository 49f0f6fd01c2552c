"""Pretraining's parts: vocabulary, corruption, losses, batches, what a teacher gives; masked language modelling."""

import json
import lzma
import math
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

from textrec_utils.core import DataError, TooLittleData
from textrec_utils.core.paths import project_data
from textrec_utils.corpora import read_corpus, read_pairs
from textrec_utils.datasets import load_film_texts
from textrec_utils.encoder import Encoder, load_pretrained, weights_checksum
from textrec_utils.pretraining import (
    SPECIAL,
    Stage,
    adapt_to_texts,
    cosent_loss,
    cosine_loss,
    join_texts,
    length_sorted_batches,
    mask_tokens,
    read_config,
    similarity_loss,
    student_targets,
    teacher_embeddings,
    train_masked_lm,
    train_wordpiece,
)

MODEL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return [s for s in load_film_texts()["synopsis_zh"] if s][:240]


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


# ---------------------------------------------------------------- corruption, losses, batches


def test_mask_tokens_keeps_berts_proportions():
    ids = torch.randint(100, 1000, (400, 50), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = SPECIAL.index("[CLS]")
    maskable = ids >= len(SPECIAL)
    corrupted, chosen = mask_tokens(ids, maskable, 0.2, 4, 1000, torch.Generator().manual_seed(1))
    assert not chosen[:, 0].any() and (corrupted[~chosen] == ids[~chosen]).all()
    assert chosen[maskable].float().mean() == pytest.approx(0.2, abs=0.01)
    assert (corrupted[chosen] == 4).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (corrupted[chosen] == ids[chosen]).float().mean() == pytest.approx(0.1, abs=0.02)
    again, _ = mask_tokens(ids, maskable, 0.2, 4, 1000, torch.Generator().manual_seed(1))
    assert (again == corrupted).all()


def test_distillation_losses_are_zero_for_a_perfect_student():
    target, bank = unit(6, 8), unit(20, 8, seed=1)
    assert cosine_loss(target, target).item() == pytest.approx(0, abs=1e-6)
    assert similarity_loss(target, target, bank).item() == pytest.approx(0, abs=1e-5)
    other = unit(6, 8, seed=2)
    assert similarity_loss(other, target, bank) > 0.1 and cosine_loss(other, target) > 0.1


def test_similarity_loss_of_a_small_case_by_hand():
    """Row 1: teacher's cosines to the others are 0 and 0.6, the student's 0.8 and 1; row 2 is the teacher's own."""
    target, bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.6, 0.8]])
    student = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    assert similarity_loss(student, target, bank, temperature=1.0).item() == pytest.approx(0.0094567, abs=1e-6)


def test_cosent_of_a_small_case_by_hand():
    """Cosines 0.6 (label 1), 0.8 and 0 (label 0): ln(1 + e^4 + e^-12)."""
    left = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    right = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    assert cosent_loss(left, right, torch.tensor([1.0, 0.0, 0.0])).item() == pytest.approx(4.01815, abs=1e-4)
    assert cosent_loss(left, right, torch.ones(3)).item() == 0  # nothing to order


def test_something_is_always_hidden_where_it_can_be():
    ids = torch.tensor([[2, 7, 3, 0], [2, 8, 9, 3]])
    for seed in range(20):
        _, chosen = mask_tokens(ids, ids > 4, 1e-6, 4, 10, torch.Generator().manual_seed(seed))
        assert chosen.sum() == 1 and (ids[chosen] > 4).all()
    corrupted, chosen = mask_tokens(ids, ids > 9, 0.9, 4, 10, torch.Generator())
    assert not chosen.any() and (corrupted == ids).all()


def test_batches_cover_every_row_once_and_repeat():
    lengths = np.random.default_rng(0).integers(5, 80, 1000)
    batches = length_sorted_batches(lengths, 32, (0, 1))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    spread = np.mean([np.ptp(lengths[b]) for b in batches])
    assert spread < 10  # random batches of 32 would spread over about 70
    assert all((a == b).all() for a, b in zip(batches, length_sorted_batches(lengths, 32, (0, 1))))
    short = length_sorted_batches(lengths, 32, (0, 1), max_tokens=640)
    assert max(len(b) * lengths[b].max() for b in short) <= 640 and max(map(len, short)) == 32


def test_a_lone_text_waits_unless_all_are_alone():
    assert [len(b) for b in length_sorted_batches(np.full(9, 5), 4, (0,))] == [4, 4]
    assert [b.tolist() for b in length_sorted_batches(np.array([5]), 1, (0,))] == [[0]]
    assert sorted(np.concatenate(length_sorted_batches(np.full(3, 5), 1, (0,)))) == [0, 1, 2]


def test_rate_rises_then_falls_in_a_line():
    stage = Stage("a", 10, 2.0, warm_up_steps=4, final_share=0.25, weights={"mlm": 1.0})
    assert [stage.rate(step) for step in (0, 1, 3, 4, 7)] == [0.5, 1.0, 2.0, 2.0, 1.25]
    assert stage.rate(10) == 0.5
    assert Stage("b", 10, 2.0, final_share=1.0).rate(9) == 2.0


# ---------------------------------------------------------------- vocabulary, texts, targets


def test_wordpiece_repeats_and_splits_han(sentences):
    texts = [*sentences, "hello world hello world", "罕"]
    first, second = train_wordpiece(texts, 3000, 2), train_wordpiece(texts, 3000, 2)
    assert first.get_vocab() == second.get_vocab() and len(first) <= 3000
    assert len(train_wordpiece(texts, 500)) == 500
    assert [first.convert_ids_to_tokens(i) for i in range(5)] == SPECIAL
    assert first.tokenize("一个男人") == ["一", "个", "男", "人"]
    assert first.tokenize("罕") == ["[UNK]"]
    assert "".join(first.tokenize("hello")).replace("##", "") == "hello"


def test_wordpiece_is_the_librarys_up_to_ties():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    # Names of film people, each character spelled with two Latin letters: words that come back, with like beginnings.
    films = pd.read_csv(project_data() / "movielens-zh" / "items.csv", keep_default_na=False)
    names = "|".join([*films.director_zh, *films.cast_zh]).replace("|", "·").split("·")
    words = ["".join("bcdfghjklmnprstwz"[ord(c) % 17] + "aeiou"[ord(c) // 17 % 5] for c in name) for name in names]
    lines = [" ".join(words[start : start + 8]) for start in range(0, len(words), 8)]
    ours = train_wordpiece(lines, 2000)
    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer(lowercase=True)
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = sorted({p for p in ours.get_vocab() if len(p) == 1})
    theirs.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=2000, min_frequency=2, special_tokens=SPECIAL, initial_alphabet=alphabet,
        limit_alphabet=len(alphabet), show_progress=False,
    ))  # fmt: skip
    shared = set(ours.get_vocab()) & set(theirs.get_vocab())
    assert len(shared) > 0.9 * 2000  # a small corpus has many ties
    text = " ".join(lines[::40])
    assert len(ours.tokenize(text)) == pytest.approx(len(theirs.encode(text).tokens), rel=0.02)


def merged_by_recounting(words: Counter, room: int) -> set[str]:
    """Every pair counted anew before each merge: slow and plain."""
    splits, made = {word: [word[0], *("##" + c for c in word[1:])] for word in words}, set()
    while len(made) < room:
        pairs = Counter()
        for word, split in splits.items():
            for pair in zip(split, split[1:]):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        joined = best[0] + best[1][2:]
        made.add(joined)
        for split in splits.values():
            at = 0
            while at + 1 < len(split):
                if (split[at], split[at + 1]) == best:
                    split[at : at + 2] = [joined]
                at += 1
    return made


def test_wordpiece_merges_as_recounting_would():
    """Words over two or three letters, where a pair stands twice in a word and comes back after it was gone."""
    for seed in range(300):
        dice = random.Random(seed)
        letters = "ab" if seed % 2 else "abc"
        words = Counter({"".join(dice.choices(letters, k=dice.randint(2, 9))): dice.randint(1, 6) for _ in range(12)})
        base = set("".join(words)) | {"##" + c for word in words for c in word[1:]}
        made = set(train_wordpiece(words.elements(), len(SPECIAL) + len(base) + 10).get_vocab()) - base - set(SPECIAL)
        assert made == merged_by_recounting(words, 10), seed


def test_join_texts_reach_late_positions(sentences):
    joined = join_texts(sentences, 50, seed=0)
    assert joined == join_texts(sentences, 50, seed=0) and len(joined) == 50
    assert max(map(len, joined)) <= 250 and np.mean([len(t) for t in joined]) > 100


def test_student_targets_keep_the_teachers_neighbourhoods():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 24)) + 5  # a narrow cone with four directions
    unit_vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit_vectors - unit_vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for dim in (8, 24, 30):
        targets = student_targets(vectors.astype(np.float16), dim).astype(np.float32)
        assert targets.shape == (300, dim)
        assert targets @ targets.T == pytest.approx(centred @ centred.T, abs=0.06)


def test_teacher_embeddings_begin_with_what_the_teacher_knows(sentences):
    teacher = Encoder("mini-bert-zh")
    tokenizer = train_wordpiece([*sentences, "㕛", "㕛"], 3000)
    table = teacher_embeddings(tokenizer, teacher, 128)
    assert table.shape == (len(tokenizer), 128) and table.std() == pytest.approx(0.02, rel=0.2)
    own, theirs = tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    words = [w for w in own if w in theirs and len(w) == 1][:300]
    full = teacher.model.get_input_embeddings().weight.detach().numpy()[[theirs[w] for w in words]]
    kept = table[[own[w] for w in words]]
    assert np.corrcoef(np.corrcoef(full).ravel(), np.corrcoef(kept).ravel())[0, 1] > 0.5


def test_corpus_and_pairs_from_files(tmp_path):
    with lzma.open(tmp_path / "a.txt.xz", "wt", encoding="utf-8") as f:
        f.write("一句话\n\n一句话\nＡＢＣ\n")
    (tmp_path / "b.txt").write_text("一句话\n另一句\n", encoding="utf-8")
    assert read_corpus(tmp_path, {"a.txt.xz": "", "b.txt": ""}) == ["一句话", "ABC", "另一句"]
    with pytest.raises(DataError, match="校验和"):
        read_corpus(tmp_path, {"b.txt": "0" * 64})
    with pytest.raises(DataError, match="找不到文件 .*c.txt"):
        read_corpus(tmp_path, {"c.txt": ""})
    (tmp_path / "p.csv").write_text('\ufeffs1,s2,label\n甲,"乙,丙",1\n丁,戊,0\n', encoding="utf-8")
    (tmp_path / "p.tsv").write_text('1\t\ufeff说"好"\t乙\t1\n2\t丙\t丁\t4.5\n', encoding="utf-8")
    (tmp_path / "line.tsv").write_text("甲\u2028乙\t丙\t1\n", encoding="utf-8")  # a line separator is no end of line
    assert read_pairs(tmp_path / "line.tsv").right == ["丙"]
    assert read_pairs(tmp_path / "p.csv").right == ["乙,丙", "戊"]
    tabs = read_pairs(tmp_path / "p.tsv")
    assert tabs.left == ['说"好"', "丙"] and tabs.label.tolist() == [1, 4.5]
    (tmp_path / "bad.tsv").write_text("甲\t乙\t1\n甲\t乙\t高\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 2 行的分数 '高'"):
        read_pairs(tmp_path / "bad.tsv")
    (tmp_path / "short.tsv").write_text("甲\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 1 行只有 2 列"):
        read_pairs(tmp_path / "short.tsv")


def test_config_errors_name_file_and_key(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(DataError, match="找不到"):
        read_config(path)
    for text, sentence in (
        ("seed = ", "读不懂"), ("speed = 1\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3", "speed"),
        ("[corpus]\n[model]", r"\[\[stages\]\]"),
        ("[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3\nweights={mml=1}", "mml"),
        ("model = 3\ncorpus = 'a.txt'\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3", "应是表"),
    ):  # fmt: skip
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=sentence):
            read_config(path)
    path.write_bytes("# 我的配方\nseed = 0".encode("gbk"))
    with pytest.raises(DataError, match="run.toml 不是UTF-8"):
        read_config(path)
    with pytest.raises(DataError, match="读不了"):
        read_config(tmp_path)


# ---------------------------------------------------------------- going on from a checkpoint


def small(tokenizer) -> BertForMaskedLM:
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **MODEL))


def test_train_masked_lm_learns(sentences):
    tokenizer = train_wordpiece(sentences, 1500)
    model = small(tokenizer)
    curve = train_masked_lm(
        model, tokenizer, sentences[40:], steps=40, learning_rate=3e-3, held_out=sentences[:40], every=20
    )
    assert [row["step"] for row in curve] == [0, 20, 40] and math.isnan(curve[0]["train_loss"])
    assert curve[0]["held_out_loss"] == pytest.approx(math.log(len(tokenizer)), abs=0.3)  # it knows nothing yet
    assert curve[-1]["held_out_loss"] < curve[0]["held_out_loss"] - 0.5


def test_train_masked_lm_follows_from_its_seed_and_leaves_torchs_alone(sentences):
    tokenizer = train_wordpiece(sentences, 1500)
    sums = []
    for seed, before in ((1, 5), (1, 6), (2, 5)):
        model = small(tokenizer)  # with dropout
        torch.manual_seed(before)
        state = torch.get_rng_state()
        train_masked_lm(model, tokenizer, sentences[:40], steps=3, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        sums.append(weights_checksum(model))
    assert sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize("texts", [["好看"], ["好看", ""], ["好", "看"]])
def test_few_and_short_texts_train(sentences, texts):
    tokenizer = train_wordpiece(sentences, 1500)
    model = small(tokenizer)
    before = weights_checksum(model)
    curve = train_masked_lm(model, tokenizer, texts, steps=8, batch_size=1, every=4)
    assert weights_checksum(model) != before
    assert all(math.isfinite(row["train_loss"]) for row in curve[1:])
    assert all(p.isfinite().all() for p in model.parameters())


def test_train_masked_lm_wants_texts_that_it_can_read(sentences):
    with pytest.raises(TooLittleData, match="没有可训练的文本"):
        train_masked_lm(None, None, [], steps=1)
    tokenizer = train_wordpiece(sentences, 1500)
    with pytest.raises(TooLittleData, match="没有一个字"):
        train_masked_lm(small(tokenizer), tokenizer, ["㕛㕛", ""], steps=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_adapted_checkpoint_is_kept_and_checked(sentences, cache, capsys):
    texts, held_out = [s[:24] for s in sentences[:60]], [s[:24] for s in sentences[60:80]]
    state = torch.get_rng_state()
    folder, curve = adapt_to_texts("mini-bert-zh", texts, steps=3, held_out=held_out)
    assert torch.equal(torch.get_rng_state(), state)
    assert curve[-1]["step"] == 3
    first = weights_checksum(Encoder(folder).model)
    assert first != weights_checksum(Encoder("mini-bert-zh").model)
    state = torch.get_rng_state()
    again, kept = adapt_to_texts("mini-bert-zh", texts, steps=3, held_out=held_out)
    assert torch.equal(torch.get_rng_state(), state)  # a notebook's later cells don't depend on the cache
    assert again == folder and kept[1:] == curve[1:]  # the first row's training loss is NaN
    assert not capsys.readouterr().err
    for name in ("model.safetensors", "tokenizer.json"):
        with open(f"{folder}/{name}", "r+b") as f:  # a damaged file is made anew, not trusted
            f.seek(-8, 2)
            f.write(b"12345678")
        assert adapt_to_texts("mini-bert-zh", texts, steps=3, held_out=held_out)[0] == folder
        assert "已损坏" in capsys.readouterr().err
        assert weights_checksum(Encoder(folder).model) == first


def test_adapted_checkpoint_knows_what_it_depends_on(sentences, cache, tmp_path, monkeypatch):
    """Everything but the weights' change counts too: the tokenizer's order, the config, texts and numbers."""
    monkeypatch.setattr("textrec_utils.pretraining.masked_lm.train_masked_lm", lambda *_, **__: [])
    tokenizer = train_wordpiece(sentences, 1500)
    model, saved = small(tokenizer), tmp_path / "model"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    seen = [adapt_to_texts(str(saved), ["一", "二"], steps=1)[0]]
    assert adapt_to_texts(str(saved), ["一", "二"], steps=1)[0] == seen[0]
    for texts, how in ((["一二"], {}), (["二", "一"], {}), (["一\0二"], {}), (["一", "二"], {"held_out": ["一"]}),
                       (["一", "二"], {"seed": 1}), (["一", "二"], {"learning_rate": 1e-3})):  # fmt: skip
        seen.append(adapt_to_texts(str(saved), texts, steps=1, **how)[0])
    seen.append(adapt_to_texts(str(saved), ["一", "二"], steps=2)[0])
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    seen.append(adapt_to_texts(str(saved), ["一", "二"], steps=1)[0])
    (saved / "config.json").write_text(json.dumps(config))
    pieces = tokenizer.get_vocab()
    pieces["一"], pieces["人"] = pieces["人"], pieces["一"]
    type(tokenizer)(vocab=pieces, do_lower_case=True).save_pretrained(saved)
    assert load_pretrained(str(saved), AutoTokenizer).get_vocab()["一"] == pieces["一"]
    seen.append(adapt_to_texts(str(saved), ["一", "二"], steps=1)[0])
    assert len(set(seen)) == len(seen) == 10


def test_nobody_meets_half_an_adapted_checkpoint(sentences, cache, monkeypatch):
    texts = [s[:24] for s in sentences[:20]]

    def full(*_, **__):
        assert not [path for path in cache.rglob("model.safetensors") if ".part" not in str(path)]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)  # after the weights are written
        with pytest.raises(OSError):
            adapt_to_texts("mini-bert-zh", texts, steps=1)
    assert not list(cache.rglob("model.safetensors"))
    folder, _ = adapt_to_texts("mini-bert-zh", texts, steps=1)
    assert Encoder(folder).dim == 312


def test_adapting_needs_a_language_model_head(tmp_path):
    BertModel(BertConfig(vocab_size=50, **MODEL)).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="掩码语言模型"):
        adapt_to_texts(str(tmp_path), ["一句话"])
