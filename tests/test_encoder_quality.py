"""The measures of an encoder: right by brute force, and the shipped model's figures guarded."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from textrec_utils.cli import main
from textrec_utils.core import DataError, project_data
from textrec_utils.corpora import Pairs
from textrec_utils.encoder import Encoder
from textrec_utils.encoder_quality import (
    auc,
    evaluate_encoder,
    evaluate_vectors,
    masked_characters,
    masked_language_model,
    neighbour_accuracy,
    pair_cosines,
    read_eval_sets,
    spearman,
    speed_ratio,
)


@pytest.fixture(scope="module")
def sets():
    return read_eval_sets()


def test_own_sets_are_balanced(sets):
    assert np.bincount(sets.similarity.label.astype(int)).tolist() == [40] * 6
    assert np.bincount(sets.paraphrase.label.astype(int)).tolist() == [150, 150]
    assert np.unique(sets.classes, return_counts=True)[1].tolist() == [50] * 10
    assert len(set(sets.titles)) == 500 and len(set(sets.sentences)) == 300


def test_measures_by_brute_force():
    rng = np.random.default_rng(0)
    cosines, label = rng.random(40), rng.integers(0, 2, 40)
    wins = [(a > b) + 0.5 * (a == b) for a in cosines[label == 1] for b in cosines[label == 0]]
    assert auc(cosines, label) == pytest.approx(np.mean(wins))
    assert spearman(cosines, np.exp(cosines)) == pytest.approx(1)
    assert spearman(cosines, -cosines) == pytest.approx(-1)


def test_neighbour_accuracy_by_brute_force():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 150)
    vectors = rng.normal(size=(150, 6)) + np.eye(6)[classes] * 2 + 4
    centred = vectors - vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    right = 0
    for i in range(150):
        scores = centred @ centred[i]
        scores[i] = -2
        near = np.argsort(-scores)[:10]
        votes = [sum(1 + 1e-3 * scores[j] for j in near if classes[j] == c) for c in range(3)]
        right += int(np.argmax(votes) == classes[i])
    assert neighbour_accuracy(vectors, classes) == pytest.approx(right / 150, abs=1e-9)
    assert right / 150 > 0.6


def test_headlines_without_a_class_are_told_by_line(tmp_path):
    (tmp_path / "headlines_dev.tsv").write_text("标题\t1\n没有类别\n", encoding="utf-8")
    with pytest.raises(DataError, match="第 2 行没有制表符"):
        read_eval_sets(tmp_path)


def test_headlines_in_another_encoding_are_one_sentence(tmp_path):
    (tmp_path / "headlines_dev.tsv").write_bytes("标题\t体育\n".encode("gbk"))
    with pytest.raises(DataError, match="headlines_dev.tsv 第 1 行不是 UTF-8") as error:
        read_eval_sets(tmp_path)
    assert "\n" not in str(error.value)


def test_empty_texts_have_cosine_zero():
    pairs = Pairs("x", ["", "甲"], ["甲", "甲"], np.array([0.0, 1.0]))
    assert pair_cosines(lambda texts: np.array([[float(len(t)), 0] for t in texts]), pairs).tolist() == [0, 1]


def test_masked_characters_of_an_oracle(sets):
    class Oracle:
        """Knows the sentences: gives every token that is asked all the weight."""

        def __init__(self, tokenizer, texts):
            self.truth = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt").input_ids
            self.hidden, self.size = tokenizer.mask_token_id, len(tokenizer)

        def parameters(self):
            yield torch.zeros(1)

        def __call__(self, input_ids, attention_mask):
            truth = self.truth[:, : input_ids.shape[1]]
            same = ((input_ids[:, None] == truth) | (input_ids[:, None] == self.hidden)).all(-1)  # (asked, texts)
            known = truth[same.int().argmax(1)]
            return SimpleNamespace(logits=torch.nn.functional.one_hot(known, self.size).float() * 50)

    _, tokenizer = masked_language_model("mini-bert-zh")
    texts = sets.sentences[:64]
    perfect = masked_characters(Oracle(tokenizer, texts), tokenizer, texts)
    assert perfect.accuracy == 1 and perfect.loss < 1e-6 and 100 < perfect.characters < 400
    nothing = masked_characters(Oracle(tokenizer, texts), tokenizer, [])
    assert np.isnan(nothing.accuracy) and np.isnan(nothing.han_loss) and nothing.loss == nothing.characters == 0


def test_masked_characters_by_plain_forward_passes(sets):
    """Only the chosen positions pass the head, in passes by length: what the whole model gives in the texts' order."""
    model, tokenizer = masked_language_model("mini-bert-zh")
    generator, losses, right, is_han = torch.Generator().manual_seed(3), [], [], []
    for start in (0, 4):
        batch = tokenizer(sets.sentences[start : start + 4], padding=True, return_tensors="pt")
        ids = batch["input_ids"]
        chosen = (torch.rand(ids.shape, generator=generator) < 0.3) & (ids > 4)  # the first five are special
        with torch.inference_mode():
            hidden = ids.masked_fill(chosen, tokenizer.mask_token_id)
            logits = model(input_ids=hidden, attention_mask=batch["attention_mask"]).logits[chosen]
        losses += torch.nn.functional.cross_entropy(logits, ids[chosen], reduction="none").tolist()
        guessed, truth = (tokenizer.convert_ids_to_tokens(row) for row in (logits.argmax(1), ids[chosen]))
        is_han += [len(b) == 1 and "\u4e00" <= b <= "\u9fff" for b in truth]
        right += [a == b for a, b in zip(guessed, truth)]
    found = masked_characters(model, tokenizer, sets.sentences[:8], rate=0.3, seed=3, batch_size=4)
    assert found.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert found.han_loss == pytest.approx(np.mean(np.array(losses)[is_han]), abs=1e-5)
    assert (found.accuracy, found.characters) == (pytest.approx(np.mean(np.array(right)[is_han])), sum(is_han))


def test_any_function_from_texts_to_vectors_is_measured(sets):
    def characters(texts):
        out = np.zeros((len(texts), 512))
        for i, text in enumerate(texts):
            np.add.at(out[i], [ord(c) % 512 for c in text], 1)
        return out

    row = evaluate_vectors(characters, sets)
    assert list(row) == ["similarity", "paraphrase", "titles"]
    assert 0 < row["similarity"] < 0.5 and row["paraphrase"] < 0.75 and 0.2 < row["titles"] < 0.6


# What `textrec eval-encoder mini-bert-zh` prints for the weights in SHA256SUMS; see the model card.
SHIPPED = {"similarity": 0.6884, "paraphrase": 0.533, "titles": 0.722, "masked": 0.265}


def test_shipped_model_keeps_its_marks(sets):
    row = evaluate_encoder("mini-bert-zh", sets)
    assert {name: row[name] for name in SHIPPED} == pytest.approx(SHIPPED, abs=0.005)  # float32 on other processors
    untrained = masked_characters(*untrained_like("mini-bert-zh"), sets.sentences)
    assert row["masked"] > 20 * untrained.accuracy and row["masked_loss"] < untrained.loss - 2


def untrained_like(name):
    from transformers import BertForMaskedLM

    model, tokenizer = masked_language_model(name)
    return BertForMaskedLM(model.config).eval(), tokenizer


def test_shipped_model_is_small():
    folder = project_data() / "models" / "mini-bert-zh"
    config = json.loads((folder / "config.json").read_text())
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    assert [config[name] for name in names] == [4, 312, 12, 1200]
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 20e6
    with safe_open(folder / "model.safetensors", "pt") as f:
        assert {str(f.get_tensor(name).dtype) for name in f.keys()} == {"torch.float16"}  # noqa: SIM118 - not a dict


def test_speed_is_measured_against_a_full_bert(sets):
    encoder, before = Encoder("mini-bert-zh"), torch.get_rng_state()
    speed, ratio = speed_ratio(encoder, sets.titles[:3], rounds=1)
    assert (torch.get_rng_state() == before).all()  # the other model's weights are drawn
    assert 0 < speed < np.inf and 0 < ratio < np.inf


def test_command_prints_the_table(monkeypatch):
    monkeypatch.setattr("textrec_utils.encoder_quality.speed_ratio", lambda encoder, texts: (321.0, 9.0))
    done = CliRunner().invoke(main, ["eval-encoder", "mini-bert-zh", "--speed"])
    assert done.exit_code == 0, done.output
    assert (
        "Spearman" in done.output and "300 对问句" in done.output and "几倍快" in done.output and "321" in done.output
    )
    wrong = CliRunner().invoke(main, ["eval-encoder", "no-such-model"])
    assert wrong.exit_code == 2 and "三个办法" in wrong.output
