"""Pretraining: corruption and losses by the book, a run that survives any stop, adapted checkpoints that load."""

import copy
import json
import lzma
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors.torch import load_file

from textrec_utils import pretraining
from textrec_utils.cache import sha256_of
from textrec_utils.corpora import read_corpus, read_pairs
from textrec_utils.course import main
from textrec_utils.datasets import DataError, load_film_texts
from textrec_utils.encoder import Encoder, pool_mean, weights_checksum
from textrec_utils.pretraining import (
    SPECIAL,
    PretrainConfig,
    Pretraining,
    Stage,
    adapt_to_texts,
    center_output,
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
    ids = torch.randint(100, 1000, (400, 50))
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


def test_similarity_loss_is_the_formula():
    student, target, bank = unit(3, 4), unit(3, 4, seed=1), unit(2, 4, seed=2)
    expected = 0.0
    for i in range(3):
        keys = [target[j] for j in range(3) if j != i] + list(bank)
        p = torch.softmax(torch.stack([target[i] @ k for k in keys]) / 0.1, 0)
        q = torch.softmax(torch.stack([student[i] @ k for k in keys]) / 0.1, 0)
        expected += float((p * (p / q).log()).sum()) / 3
    assert similarity_loss(student, target, bank, 0.1).item() == pytest.approx(expected, rel=1e-4)


def test_cosent_is_the_formula():
    left, right = torch.randn(5, 8), torch.randn(5, 8)
    label = torch.tensor([0.0, 2.0, 1.0, 2.0, 0.0])
    cosine = F.cosine_similarity(left, right)
    total = sum(math.exp(20 * (cosine[j] - cosine[i])) for i in range(5) for j in range(5) if label[i] > label[j])
    assert cosent_loss(left, right, label).item() == pytest.approx(math.log(1 + total), rel=1e-4)
    assert cosent_loss(left, right, torch.ones(5)).item() == 0  # nothing to order


def test_batches_cover_every_row_once_and_repeat():
    lengths = np.random.default_rng(0).integers(5, 80, 1000)
    batches = length_sorted_batches(lengths, 32, (0, 1))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    spread = np.mean([np.ptp(lengths[b]) for b in batches])
    assert spread < 10  # random batches of 32 would spread over about 70
    assert all((a == b).all() for a, b in zip(batches, length_sorted_batches(lengths, 32, (0, 1))))


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

    lines = [line for path in Path(pretraining.__file__).parent.glob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    ours = train_wordpiece(lines, 3000)
    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer(lowercase=True)
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = sorted({p for p in ours.get_vocab() if len(p) == 1})
    theirs.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=3000, min_frequency=2, special_tokens=SPECIAL, initial_alphabet=alphabet, limit_alphabet=len(alphabet),
        show_progress=False,
    ))  # fmt: skip
    shared = set(ours.get_vocab()) & set(theirs.get_vocab())
    assert len(shared) > 0.85 * 3000  # a small corpus has many ties
    text = "the vectors of every recommendation are normalised, training evaluates embeddings"
    assert len(ours.tokenize(text)) == pytest.approx(len(theirs.encode(text).tokens), abs=2)


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
    assert read_pairs(tmp_path / "p.tsv").left == ['说"好"', "丙"] and read_pairs(tmp_path / "p.tsv").label.tolist() == [1, 4.5]
    (tmp_path / "bad.tsv").write_text("甲\t乙\t1\n甲\t乙\t高\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 2 行的分数 '高'"):
        read_pairs(tmp_path / "bad.tsv")
    (tmp_path / "short.tsv").write_text("甲\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 1 行只有 2 列"):
        read_pairs(tmp_path / "short.tsv")


def test_a_vocabulary_beside_the_config_is_used(corpora, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "一", "人", "的"]), encoding="utf-8")
    path = tmp_path / "run.toml"
    path.write_text("vocabulary = 'vocab.txt'\nheld_out = 40\n[corpus]\n'films.txt' = ''\n[model]\nhidden_size = 32\n"
                    "num_attention_heads = 2\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3\nweights={mlm=1}\n", encoding="utf-8")  # fmt: skip
    run = Pretraining(read_config(path), corpora, tmp_path / "out", progress=False)
    assert run.tokenizer.tokenize("一个人") == ["一", "[UNK]", "人"]
    path.write_text(path.read_text().replace("vocab.txt", "gone.txt"))
    with pytest.raises(DataError, match="gone.txt"):
        read_config(path)


def test_config_errors_name_file_and_key(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(DataError, match="找不到"):
        read_config(path)
    for text, sentence in (
        ("seed = ", "读不懂"), ("speed = 1\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3", "speed"),
        ("[corpus]\n[model]", r"\[\[stages\]\]"), ("[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3\nweights={mml=1}", "mml"),
    ):  # fmt: skip
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=sentence):
            read_config(path)


# ---------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def corpora(tmp_path_factory, sentences):
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "films.txt").write_text("\n".join(sentences), encoding="utf-8")
    rows = [f"{a}\t{b}\t{i % 2}" for i, (a, b) in enumerate(zip(sentences[::2], sentences[1::2]))]
    (folder / "pairs.tsv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def configured(**changes) -> PretrainConfig:
    weights = {"mlm": 0.5, "cosine": 1.0, "similarity": 0.5}
    stages = (
        Stage("distil", 60, 3e-3, warm_up_steps=6, batch_size=32, weights=weights),
        Stage("pairs", 4, 1e-3, batch_size=32, pair_batch=8, weights={**weights, "pairs": 0.1}),
    )
    base = {
        "corpus": {"films.txt": ""}, "pairs": {"pairs.tsv": ""}, "stages": stages, "model": MODEL, "vocab_size": 1500,
        "held_out": 40, "joined": 5, "teacher": "mini-bert-zh", "bank": 32,
    }  # fmt: skip
    return PretrainConfig(**(base | changes))


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


@pytest.fixture(scope="module")
def finished(corpora, tmp_path_factory):
    run = Pretraining(configured(), corpora, tmp_path_factory.mktemp("run"), progress=False)
    run.train(log_every=4)
    return run


def prepare(folder, run):
    """Give a folder the run's vocabulary and teacher vectors: bf16 teachers may differ in the last bit between runs."""
    for name in ("teacher.f16", "teacher.json", "vocab.txt"):
        (folder / name).write_bytes((run.folder / name).read_bytes())


def test_run_learns(finished):
    curve = finished.curve
    assert [row["step"] for row in curve] == list(range(4, 65, 4))
    assert curve[14]["mlm"] < curve[0]["mlm"] and curve[14]["cosine"] < curve[0]["cosine"]
    assert curve[14]["similarity"] < curve[0]["similarity"]
    assert "pairs" in curve[-1] and "pairs" not in curve[0] and 0 <= curve[-1]["held_out_accuracy"] <= 1


@pytest.mark.parametrize("stop", [3, 40, 60, 62])  # in the first epoch, in a later one, between stages, with pairs
def test_interrupted_run_goes_on_as_if_nothing_happened(finished, corpora, tmp_path, monkeypatch, stop):
    prepare(tmp_path, finished)
    run = Pretraining(configured(), corpora, tmp_path, progress=False)
    step = Pretraining._step

    def interrupted(self):
        if self.step == stop - 1:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C in the middle of a step
        return step(self)

    monkeypatch.setattr(Pretraining, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train(log_every=4)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = Pretraining(configured(), corpora, tmp_path, progress=False)
    assert again.step == stop
    again.train(log_every=4)
    assert torch.equal(weights(again), weights(finished))


def test_clean_texts_alone_meet_the_teacher(finished, corpora, tmp_path, monkeypatch):
    prepare(tmp_path, finished)
    run = Pretraining(configured(), corpora, tmp_path, progress=False)
    stage = Stage("clean", 1, 1e-3, mask_rate=0.9, clean=0.25, weights={"mlm": 1.0, "cosine": 1.0, "similarity": 1.0})
    seen, hidden = [], run._hidden
    monkeypatch.setattr(run, "_hidden", lambda ids, mask: seen.append(ids) or hidden(ids, mask))
    rows = np.arange(32)
    losses = run._text_losses(stage, rows, torch.Generator().manual_seed(0))
    clean = (seen[0] == run.tokens.batch(rows)[0]).all(1)
    assert clean.sum() == 8
    run.targets[torch.from_numpy(rows)[~clean]] = 0  # what the masked texts should be like is never asked
    again = run._text_losses(stage, rows, torch.Generator().manual_seed(0))
    assert again["cosine"] == losses["cosine"] and again["mlm"] == losses["mlm"]
    run.targets[torch.from_numpy(rows)[clean]] = 0
    assert run._text_losses(stage, rows, torch.Generator().manual_seed(0))["cosine"] != losses["cosine"]
    with pytest.raises(DataError, match="clean"):
        Stage("clean", 1, 1e-3, clean=1.0)


def test_distillation_alone_is_resumed_too(finished, corpora, tmp_path):
    stages = (Stage("distil", 4, 1e-3, batch_size=32, weights={"cosine": 1.0}),)
    prepare(tmp_path, finished)
    Pretraining(configured(stages=stages), corpora, tmp_path, progress=False).train(until=2)
    again = Pretraining(configured(stages=stages), corpora, tmp_path, progress=False)
    again.train()  # the language-model head, which no loss has used, has no optimizer state
    assert again.step == 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": ""}, "没有 teacher"), ({"pairs": {}}, r"没有 \[pairs\]"), ({"max_length": 600}, "max_position_embeddings"),
        ({"stages": (Stage("empty", 1, 1e-3),)}, "权重大于 0"), ({"center": "gone.tsv"}, "center 是 gone.tsv"),
    ],
)  # fmt: skip
def test_stages_that_ask_for_what_is_not_there(corpora, tmp_path, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        Pretraining(configured(**changes), corpora, tmp_path, progress=False)


def test_later_stages_may_change_but_not_what_was_done(finished, corpora, tmp_path):
    first, last = configured().stages
    longer = configured(stages=(first, last, Stage("more", 2, 1e-4, batch_size=32, weights={"mlm": 1.0})))
    assert Pretraining(longer, corpora, finished.folder, progress=False).step == 64
    before = (finished.folder / "teacher.f16").read_bytes()
    with pytest.raises(DataError, match="另一份配置"):
        Pretraining(configured(seed=1), corpora, finished.folder, progress=False)
    (tmp_path / "films.txt").write_text((corpora / "films.txt").read_text(encoding="utf-8") + "\n多出来的一句", encoding="utf-8")
    (tmp_path / "pairs.tsv").write_bytes((corpora / "pairs.tsv").read_bytes())
    with pytest.raises(DataError, match="另外的语料"):
        Pretraining(configured(), tmp_path, finished.folder, progress=False)
    assert (finished.folder / "teacher.f16").read_bytes() == before  # hours of work are not thrown away


def test_teacher_vectors_go_on_where_they_stopped(finished, corpora, tmp_path):
    prepare(tmp_path, finished)
    note = json.loads((finished.folder / "teacher.json").read_text())
    data = bytearray((tmp_path / "teacher.f16").read_bytes())
    row = len(data) // note["done"]
    data[100 * row :] = bytes(len(data) - 100 * row)  # stopped after 100 texts
    (tmp_path / "teacher.f16").write_bytes(data)
    (tmp_path / "teacher.json").write_text(json.dumps(note | {"done": 100}))
    run = Pretraining(configured(), corpora, tmp_path, progress=False)
    ours, theirs = (r.targets.float() for r in (run, finished))  # a weak direction's sign may turn, cosines may not
    assert torch.allclose(ours @ ours.T, theirs @ theirs.T, atol=0.02)
    assert (tmp_path / "teacher.f16").read_bytes()[: 100 * row] == data[: 100 * row]  # what was done stays
    (tmp_path / "teacher.json").write_text(json.dumps(note | {"key": "of other texts"}))
    Pretraining(configured(), corpora, tmp_path, progress=False)
    assert json.loads((tmp_path / "teacher.json").read_text()) == note


def test_export_is_a_checkpoint_for_everybody(finished, tmp_path):
    folder = finished.export(tmp_path / "model")
    encoder = Encoder(str(folder))
    assert encoder.encode(["一部电影"], cache=False).shape == (1, 32)
    assert (folder / "curve.csv").read_text().splitlines()[0].startswith("step,seconds,mlm")
    assert not list(folder.glob("*.bin")) and sha256_of(folder / "model.safetensors") in (folder / "SHA256SUMS").read_text()
    from transformers import AutoModelForMaskedLM

    head = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    kept, trained = (m.cls.predictions.transform.dense.weight.detach().numpy() for m in (head, finished.model))
    assert kept == pytest.approx(trained, abs=1e-3)


def test_export_between_the_weights_before_and_after_the_last_stage(finished, corpora, tmp_path):
    prepare(tmp_path, finished)
    config = configured(interpolation=0.25)
    run = Pretraining(config, corpora, tmp_path, progress=False)
    run.train(until=60)
    before = weights(run)
    run = Pretraining(config, corpora, tmp_path, progress=False)  # and a stop between the stages loses nothing
    run.train(log_every=4)
    assert torch.equal(weights(run), weights(finished))  # what is exported doesn't disturb what is trained
    made = torch.cat([tensor.flatten() for tensor in run._interpolated().values()])
    assert torch.allclose(made, 0.75 * before + 0.25 * weights(run)) and not torch.allclose(made, before, atol=1e-4)
    kept = load_file(run.export(tmp_path / "model") / "model.safetensors")["cls.predictions.transform.dense.weight"]
    assert torch.allclose(kept.float(), run._interpolated()["cls.predictions.transform.dense.weight"], atol=1e-3)
    (tmp_path / "before_last_stage.safetensors").unlink()
    with pytest.raises(DataError, match="before_last_stage"):
        run.export(tmp_path / "model")


def test_centring_moves_the_vectors_but_no_guess(finished):
    model = copy.deepcopy(finished.model).eval()
    ids, mask = finished.tokens.batch(np.arange(50))
    with torch.no_grad():
        before, pooled = model(input_ids=ids, attention_mask=mask).logits, pool_mean([model.bert(ids, mask).last_hidden_state], mask)
        center_output(model, finished.tokenizer, finished.texts[:50])
        assert torch.allclose(model(input_ids=ids, attention_mask=mask).logits, before, atol=1e-3)
        moved = pool_mean([model.bert(ids, mask).last_hidden_state], mask)
    assert moved.mean(0).abs().max() < 1e-4 < pooled.mean(0).abs().max()
    assert torch.allclose(moved, pooled - pooled.mean(0), atol=1e-4)


def test_too_small_a_corpus(corpora, tmp_path):
    with pytest.raises(DataError, match="held_out"):
        Pretraining(configured(held_out=1000), corpora, tmp_path, progress=False)


def test_command_trains_and_exports(corpora, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        "vocab_size = 1500\nheld_out = 40\n[model]\nhidden_size = 32\nnum_hidden_layers = 1\nnum_attention_heads = 2\n"
        "intermediate_size = 64\n[corpus]\n'films.txt' = ''\n[[stages]]\nname = 'mlm'\nsteps = 3\nlearning_rate = 1e-3\n"
        "batch_size = 32\nweights = { mlm = 1.0 }\n",
        encoding="utf-8",
    )
    done = CliRunner().invoke(main, ["pretrain", "--config", str(config), "--corpora", str(corpora), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    missing = CliRunner().invoke(main, ["pretrain", "--config", str(config), "--corpora", str(tmp_path), "--out", str(tmp_path / "o2")])
    assert missing.exit_code == 2 and "films.txt" in missing.output


# ---------------------------------------------------------------- going on from a checkpoint


def test_train_masked_lm_learns(sentences):
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = train_wordpiece(sentences, 1500)
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **MODEL))
    curve = train_masked_lm(
        model, tokenizer, sentences[40:], steps=40, learning_rate=3e-3, held_out=sentences[:40], every=20
    )
    assert [row["step"] for row in curve] == [0, 20, 40] and math.isnan(curve[0]["train_loss"])
    assert curve[0]["held_out_loss"] == pytest.approx(math.log(len(tokenizer)), abs=0.3)  # it knows nothing yet
    assert curve[-1]["held_out_loss"] < curve[0]["held_out_loss"] - 0.5


def test_train_masked_lm_wants_texts():
    with pytest.raises(DataError, match="没有可训练的文本"):
        train_masked_lm(None, None, [], steps=1)


def test_adapted_checkpoint_is_kept_and_checked(sentences, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    sentences = [s[:24] for s in sentences]
    folder, curve = adapt_to_texts("mini-bert-zh", sentences[:60], steps=3, held_out=sentences[60:80])
    assert curve[-1]["step"] == 3
    first = weights_checksum(Encoder(folder).model)
    assert first != weights_checksum(Encoder("mini-bert-zh").model)
    again, kept = adapt_to_texts("mini-bert-zh", sentences[:60], steps=3, held_out=sentences[60:80])
    assert again == folder and kept[1:] == curve[1:]  # the first row's training loss is NaN
    with open(f"{folder}/model.safetensors", "r+b") as f:  # a damaged file is made anew, not trusted
        f.seek(-8, 2)
        f.write(b"12345678")
    adapt_to_texts("mini-bert-zh", sentences[:60], steps=3, held_out=sentences[60:80])
    assert weights_checksum(Encoder(folder).model) == first


def test_adapting_needs_a_language_model_head(tmp_path):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=50, **MODEL)).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="掩码语言模型"):
        adapt_to_texts(str(tmp_path), ["一句话"])
