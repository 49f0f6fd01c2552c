"""A run of pretraining survives any stop, refuses what isn't its own, and exports a checkpoint for everybody."""

import copy
import json
import re
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save
from transformers import AutoModelForMaskedLM

from textrec_utils.cli import main
from textrec_utils.core import DataError, sha256_of
from textrec_utils.core.processes import Terminated
from textrec_utils.datasets import load_film_texts
from textrec_utils.encoder import Encoder, pool_mean
from textrec_utils.pretraining import SPECIAL, PretrainConfig, Pretraining, Stage, center_output, read_config
from textrec_utils.pretraining.teacher import teacher_key, teacher_vectors

MODEL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return [s for s in load_film_texts()["synopsis_zh"] if s][:240]


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
    for name in ("teacher.f16", "teacher.json", "vocab.txt", "vocab.json"):
        (folder / name).write_bytes((run.folder / name).read_bytes())


def test_run_learns(finished):
    curve = finished.curve
    assert [row["step"] for row in curve] == list(range(4, 65, 4))
    assert curve[14]["mlm"] < curve[0]["mlm"] and curve[14]["cosine"] < curve[0]["cosine"]
    assert curve[14]["similarity"] < curve[0]["similarity"]
    assert "pairs" in curve[-1] and "pairs" not in curve[0] and 0 <= curve[-1]["held_out_accuracy"] <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")
@pytest.mark.parametrize(
    ("stop", "number", "error"),  # in the first epoch, in a later one, between stages, with pairs
    [(3, signal.SIGTERM, Terminated), (40, signal.SIGINT, KeyboardInterrupt), (60, signal.SIGINT, KeyboardInterrupt),
     (62, signal.SIGTERM, Terminated)],
)  # fmt: skip
def test_interrupted_run_goes_on_as_if_nothing_happened(finished, corpora, tmp_path, monkeypatch, stop, number, error):
    prepare(tmp_path, finished)
    run = Pretraining(configured(), corpora, tmp_path, progress=False)
    step = Pretraining._step

    def interrupted(self):
        if self.step == stop - 1:
            signal.raise_signal(number)  # in the middle of a step
        return step(self)

    monkeypatch.setattr(Pretraining, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        run.train(log_every=4)
    assert raised.type is error
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
        ({"teacher": ""}, "没有 teacher"), ({"pairs": {}}, "没有 [pairs]"),
        ({"max_length": 600}, "max_position_embeddings"), ({"stages": (Stage("empty", 1, 1e-3),)}, "权重大于 0"),
        ({"center": "gone.tsv"}, "center 是 gone.tsv"), ({"seed": -1}, "seed 是 -1"), ({"seed": 1.5}, "整数"),
        ({"stages": (Stage("back", -2, 1e-3, weights={"mlm": 1.0}),)}, "阶段 back 的 steps 是 -2：它应是整数，至少 1"),
        ({"stages": (Stage("up", 2, float("nan"), weights={"mlm": 1.0}),)}, "learning_rate 是 nan"),
        ({"model": {**MODEL, "hidden_size": 33}}, "hidden_size = 33 不是 num_attention_heads = 2 的倍数"),
        ({"model": {**MODEL, "num_hidden_layers": "4"}}, "num_hidden_layers 是 '4'"),
        ({"interpolation": 1.5}, "interpolation 是 1.5：它应是一个数，从 0 到 1"),
        ({"temperature": 0.0}, "temperature 是 0.0：它应是一个数，有限，大于 0"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_trained(corpora, tmp_path, changes, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)) as error:
        Pretraining(configured(**changes), corpora, tmp_path / "run", progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_file_is_no_working_folder(corpora, tmp_path):
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="notes 建不起来"):
        Pretraining(configured(), corpora, tmp_path / "notes", progress=False)


def test_later_stages_may_change_but_not_what_was_done(finished, corpora, tmp_path):
    first, last = configured().stages
    longer = configured(stages=(first, last, Stage("more", 2, 1e-4, batch_size=32, weights={"mlm": 1.0})))
    assert Pretraining(longer, corpora, finished.folder, progress=False).step == 64
    before = (finished.folder / "teacher.f16").read_bytes()
    with pytest.raises(DataError, match="配置不同"):
        Pretraining(configured(seed=1), corpora, finished.folder, progress=False)
    films, pairs = (corpora / name for name in ("films.txt", "pairs.tsv"))
    for name, text in (("films.txt", films.read_text(encoding="utf-8") + "\n多出来的一句"),
                       ("pairs.tsv", pairs.read_text(encoding="utf-8").replace("\t1\n", "\t0\n", 1))):  # fmt: skip
        for path in (films, pairs):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="数据不同"):
            Pretraining(configured(), tmp_path, finished.folder, progress=False)
    assert (finished.folder / "teacher.f16").read_bytes() == before  # hours of work are not thrown away


def staged(*stages: tuple[int, float, float]) -> PretrainConfig:
    """A configuration of stages (steps, learning rate, final share) that need no teacher."""
    made = [Stage(str(i), n, rate, batch_size=32, final_share=end, weights={"mlm": 1.0})
            for i, (n, rate, end) in enumerate(stages)]  # fmt: skip
    return configured(stages=tuple(made), teacher="", pairs={})


@pytest.mark.parametrize(
    ("stages", "accepted"),
    [
        ([(2, 1e-3, 1.0), (4, 1e-3, 0.0)], True),
        ([(2, 1e-3, 1.0), (4, 1e-3, 0.0), (9, 1e-4, 0.0)], True),  # one more ahead
        ([(2, 2e-3, 1.0), (4, 1e-3, 0.0)], False),  # a stage that is done, with another learning rate
        ([(3, 1e-3, 1.0), (4, 1e-3, 0.0)], False),  # longer, though it is done: all later steps would move
        ([(2, 1e-3, 1.0), (5, 1e-3, 0.0)], False),  # under way and its rate falls: what was done had another rate
        ([(2, 1e-3, 1.0), (4, 1e-3, 1.0)], False),
        ([(2, 1e-3, 1.0)], False),  # shorter than what was done
    ],
)
def test_stages_that_have_begun_belong_to_the_run(corpora, tmp_path, stages, accepted):
    Pretraining(staged((2, 1e-3, 1.0), (4, 1e-3, 0.0)), corpora, tmp_path, progress=False).train(until=3)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    if accepted:
        assert Pretraining(staged(*stages), corpora, tmp_path, progress=False).step == 3
    else:
        with pytest.raises(DataError, match="已经开始的阶段不同"):
            Pretraining(staged(*stages), corpora, tmp_path, progress=False)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_a_stage_at_a_constant_rate_may_be_made_longer(corpora, tmp_path):
    Pretraining(staged((2, 1e-3, 1.0), (2, 1e-3, 0.0)), corpora, tmp_path / "a", progress=False).train(until=2)
    longer = staged((4, 1e-3, 1.0), (2, 1e-3, 0.0))
    resumed = Pretraining(longer, corpora, tmp_path / "a", progress=False)
    resumed.train()
    straight = Pretraining(longer, corpora, tmp_path / "b", progress=False)
    straight.train()
    assert torch.equal(weights(resumed), weights(straight))
    with pytest.raises(DataError, match="已经开始的阶段不同"):
        Pretraining(staged((1, 1e-3, 1.0), (2, 1e-3, 0.0)), corpora, tmp_path / "a", progress=False)


def test_a_file_that_is_no_checkpoint_stays(corpora, tmp_path):
    config = staged((1, 1e-3, 0.0))
    for content in (b"my own notes", save({"a": torch.ones(2)}, {"author": "someone"})):
        (tmp_path / "checkpoint.safetensors").write_bytes(content)
        with pytest.raises(DataError, match="不是训练的检查点"):
            Pretraining(config, corpora, tmp_path, progress=False)
        assert (tmp_path / "checkpoint.safetensors").read_bytes() == content


def test_another_vocabulary_is_another_run(corpora, tmp_path):
    config = staged((2, 1e-3, 0.0))
    Pretraining(config, corpora, tmp_path, progress=False).train(until=1)
    pieces = (tmp_path / "vocab.txt").read_text(encoding="utf-8").split("\n")
    pieces[10], pieces[11] = pieces[11], pieces[10]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    with pytest.raises(DataError, match="数据不同"):
        Pretraining(config, corpora, tmp_path, progress=False)


@pytest.mark.parametrize("changes", [{"vocab_size": 700}, {"min_frequency": 3}, {"held_out": 90}])
def test_a_vocabulary_of_other_settings_is_made_anew(corpora, tmp_path, changes):
    """Before the first checkpoint; afterwards the folder belongs to the run, and keeps its vocabulary."""
    made = {}
    for name, settings in (("old", {}), ("new", changes)):
        config = staged((2, 1e-3, 0.0))
        made[name] = Pretraining(replace(config, **settings), corpora, tmp_path / name, progress=False)
    again = Pretraining(replace(config, **changes), corpora, tmp_path / "old", progress=False)
    assert again.tokenizer.get_vocab() == made["new"].tokenizer.get_vocab() != made["old"].tokenizer.get_vocab()
    again.train(until=1)
    kept = (tmp_path / "old" / "vocab.txt").read_bytes()
    with pytest.raises(DataError, match="属于另一次训练"):
        Pretraining(config, corpora, tmp_path / "old", progress=False)
    (tmp_path / "old" / "vocab.json").unlink()
    with pytest.raises(DataError, match="属于另一次训练（词表不是由这些语料和设置得来的"):
        Pretraining(replace(config, **changes), corpora, tmp_path / "old", progress=False)
    assert (tmp_path / "old" / "vocab.txt").read_bytes() == kept


def test_teacher_key_covers_what_its_vectors_depend_on(monkeypatch):
    teacher = Encoder("mini-bert-zh")
    keys = [teacher_key(teacher)]
    for name, value in (("bf16", True), ("device", "cuda:0"), ("prefix", "query: "), ("max_length", 64)):
        monkeypatch.setattr(teacher, name, value)
        keys.append(teacher_key(teacher))
    monkeypatch.setattr(teacher, "device", "cuda:1")  # another card of the same kind
    assert teacher_key(teacher) == keys[-1]
    monkeypatch.setattr("textrec_utils.pretraining.teacher.code_key", lambda module: f"{module} of tomorrow")
    assert len({*keys, teacher_key(teacher)}) == 6


def test_another_precision_is_told_and_of_a_teacher_refused(corpora, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_BF16", "0")
    alone, taught = staged((2, 1e-3, 0.0)), configured(held_out=200, joined=0)
    for name, config in (("alone", alone), ("taught", taught)):
        Pretraining(config, corpora, tmp_path / name, progress=False).train(until=1)
    monkeypatch.setattr("textrec_utils.pretraining.run.use_bf16", lambda *_: True)
    run = Pretraining(alone, corpora, tmp_path / "alone", progress=False)
    run.train()
    folder = run.export(tmp_path / "model")
    assert [row["precision"] for row in run.curve] == ["float32", "bf16"]
    assert run._state_kept()["precision"] == "bf16"
    assert json.loads((folder / "textrec_pretraining.json").read_text())["precision"] == ["bf16", "float32"]
    assert ",bf16," in (folder / "curve.csv").read_text().splitlines()[-1]
    with pytest.raises(DataError, match="精度"):
        Pretraining(taught, corpora, tmp_path / "taught", progress=False)


def test_torchs_random_numbers_go_on_as_if_nothing_had_run(corpora, tmp_path):
    config = configured(stages=(Stage("a", 2, 1e-3, batch_size=32, weights={"mlm": 1.0, "cosine": 1.0}),))
    for _ in range(2):  # anew, and with all of it kept in the folder
        state = torch.get_rng_state()
        run = Pretraining(config, corpora, tmp_path / "run", progress=False)
        run.train()
        run.export(tmp_path / "model")
        assert torch.equal(torch.get_rng_state(), state)


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


@pytest.mark.parametrize("damage", ["", "[]", '{"key": ', '{"key": "same"}', '{"key": "same", "done": null}'])
def test_a_damaged_note_on_teacher_vectors_means_none(tmp_path, damage):
    class Same:
        dim = 3

        def encode(self, texts, cache):
            return np.ones((len(texts), 3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textrec_utils.pretraining.teacher.teacher_key", lambda teacher: "same")
        (tmp_path / "teacher.f16").write_bytes(bytes(12))
        (tmp_path / "teacher.json").write_text(damage)
        assert teacher_vectors(["一", "二"], Same(), tmp_path, progress=False).tolist() == [[1, 1, 1], [1, 1, 1]]
        assert json.loads((tmp_path / "teacher.json").read_text())["done"] == 2


def test_export_is_a_checkpoint_for_everybody(finished, tmp_path):
    folder = finished.export(tmp_path / "model")
    encoder = Encoder(str(folder))
    assert encoder.encode(["一部电影"], cache=False).shape == (1, 32)
    assert (folder / "curve.csv").read_text().splitlines()[0].startswith("step,seconds,mlm")
    sums = (folder / "SHA256SUMS").read_text()
    assert not list(folder.glob("*.bin")) and sha256_of(folder / "model.safetensors") in sums
    head = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    kept, trained = (m.cls.predictions.transform.dense.weight.detach().numpy() for m in (head, finished.model))
    assert kept == pytest.approx(trained, abs=1e-3)
    assert finished.export(folder) == folder  # its own may be written again


def test_export_overwrites_nothing_of_anybodys(finished, tmp_path, monkeypatch):
    theirs = tmp_path / "downloaded"
    theirs.mkdir()
    (theirs / "config.json").write_text("theirs", encoding="utf-8")
    with pytest.raises(DataError, match="不是我们写的 config.json，不覆盖"):
        finished.export(theirs)
    assert [p.read_text(encoding="utf-8") for p in theirs.iterdir()] == ["theirs"]
    folder = finished.export(tmp_path / "model")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(type(finished.tokenizer), "save_pretrained", full)
    with pytest.raises(OSError):  # half way: readers still have the model of before, whole
        finished.export(folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert {p.name for p in tmp_path.iterdir()} == {"downloaded", "model"}


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
    name, path = "cls.predictions.transform.dense.weight", tmp_path / "before_last_stage.safetensors"
    kept = load_file(run.export(tmp_path / "model") / "model.safetensors")[name]
    assert torch.allclose(kept.float(), run._interpolated()[name], atol=1e-3)
    path.unlink()
    with pytest.raises(DataError, match="before_last_stage"):
        run.export(tmp_path / "model")
    path.write_bytes((tmp_path / "checkpoint.safetensors").read_bytes())  # this run's, of another step
    with pytest.raises(DataError, match="before_last_stage"):
        run.export(tmp_path / "model")


def test_centring_moves_the_vectors_but_no_guess(finished):
    model = copy.deepcopy(finished.model).eval()
    ids, mask = finished.tokens.batch(np.arange(50))
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).logits
        pooled = pool_mean([model.bert(ids, mask).last_hidden_state], mask)
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
        "intermediate_size = 64\n[corpus]\n'films.txt' = ''\n[[stages]]\nname = 'mlm'\nsteps = 3\n"
        "learning_rate = 1e-3\nbatch_size = 32\nweights = { mlm = 1.0 }\n",
        encoding="utf-8",
    )
    command = ["pretrain", "--config", str(config), "--corpora"]
    done = CliRunner().invoke(main, [*command, str(corpora), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "config.json").write_text("{}")
    refused = CliRunner().invoke(main, [*command, str(corpora), "--out", str(tmp_path / "mine")])
    assert refused.exit_code == 2 and "不覆盖" in refused.output and "训练" not in refused.output
    assert not (tmp_path / "mine" / "checkpoint.safetensors").exists()  # told before the training, not after
    missing = CliRunner().invoke(main, [*command, str(tmp_path), "--out", str(tmp_path / "o2")])
    assert missing.exit_code == 2 and "films.txt" in missing.output


def test_a_vocabulary_beside_the_config_is_used(corpora, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "一", "人", "的"]), encoding="utf-8")
    path = tmp_path / "run.toml"
    path.write_text(
        "vocabulary = 'vocab.txt'\nheld_out = 40\n[corpus]\n'films.txt' = ''\n[model]\nhidden_size = 32\n"
        "num_attention_heads = 2\n[[stages]]\nname='a'\nsteps=1\nlearning_rate=1e-3\nweights={mlm=1}\n",
        encoding="utf-8",
    )
    run = Pretraining(read_config(path), corpora, tmp_path / "out", progress=False)
    assert run.tokenizer.tokenize("一个人") == ["一", "[UNK]", "人"]
    path.write_text(path.read_text().replace("vocab.txt", "gone.txt"))
    with pytest.raises(DataError, match="gone.txt"):
        read_config(path)
