"""Runs that repeat, stop early, are kept under a key that holds all they depend on, and go on after a kill."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.core.checkpoint import Checkpoint
from textrec_utils.core.cost import Cost
from textrec_utils.core.errors import DataError, TooLittleData
from textrec_utils.core.processes import Terminated, side_by_side
from textrec_utils.core.store import Cached, make_key
from textrec_utils.datasets import load_dataset
from textrec_utils.encoder import Encoder
from textrec_utils.evaluation import evaluate
from textrec_utils.finetuning import (
    GradientCache,
    TwoTowerConfig,
    early_stopping,
    judge_on,
    train,
    train_two_tower,
    train_two_towers,
)
from textrec_utils.finetuning.features import Features, Material, read_texts
from textrec_utils.splits import make_split

QUICK = {
    "steps": 4, "encoder_steps": 3, "users": 32, "pairs": 64, "items": 16, "hidden": 32, "dim": 16, "max_length": 16,
}  # fmt: skip


def test_results_are_kept_and_the_judge_is_asked(taste, monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    asked = []
    judge = lambda tower: asked.append(tower.item_vectors.shape) or 0.5  # noqa: E731
    judge.key = "half"
    first = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert asked == [(60, 16)] * 4 and first.curve.shape == (4, 3)
    second = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert len(asked) == 4 and (first.item_vectors == second.item_vectors).all()
    assert second.cost.by_stage() == pytest.approx(first.cost.by_stage())
    del judge.key  # nobody knows what such a judge depends on: its result is not kept
    for _ in range(2):
        train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert len(asked) == 12


def test_several_trainings_side_by_side_are_those_one_after_the_other(taste, monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    configs = [TwoTowerConfig(**QUICK, seed=seed) for seed in range(3)]
    options = {"judge": judge_on(taste), "progress": False}
    alone = train_two_tower(taste, configs[1], **options)
    started = []
    monkeypatch.setattr(train, "side_by_side", lambda *a, **o: started.append(len(a[1])) or side_by_side(*a, **o))
    towers = train_two_towers(taste, configs, jobs=2, **options)
    assert started == [2]  # the one that the store has isn't trained again
    assert [t.config.seed for t in towers] == [0, 1, 2] and (towers[1].item_vectors == alone.item_vectors).all()
    again = train_two_towers(taste, configs, jobs=1, **options)
    assert started == [2] and all((a.item_vectors == b.item_vectors).all() for a, b in zip(again, towers))
    anew = train_two_tower(taste, configs[0], cache=False, **options)
    assert anew.item_vectors == pytest.approx(towers[0].item_vectors, abs=1e-4)


def test_where_one_of_several_trainings_fails_all_end(taste):
    bad = [TwoTowerConfig(**QUICK, seed=seed) for seed in range(2)]
    with pytest.raises(DataError, match="没有这样的模型|nowhere"):
        train_two_towers(taste, bad, "nowhere/at-all", jobs=2, cache=False, progress=False)


class Asked(Exception):
    pass


@pytest.fixture
def key_of(taste, monkeypatch):
    """The key of the result that `train_two_tower` looks for, without encoding or training anything."""
    world = {"encoder": "weights A", "precision": "float32"}

    def given(split, config, model, prefix, device):
        read = {"pooling": config.pooling, "max_length": config.max_length, "prefix": prefix}
        return Material([], SimpleNamespace(fingerprint=world["encoder"], **read), precision=world["precision"])

    def look(kind, depends, compute, cache):
        raise Asked(make_key(kind, depends, compute))

    def key_of(split=taste, config=TwoTowerConfig(), encoder="weights A", precision="float32", **options):  # noqa: B008
        world.update(encoder=encoder, precision=precision)
        with pytest.raises(Asked) as found:
            train_two_tower(split, config, progress=False, **options)
        return str(found.value)

    monkeypatch.setattr(train, "read_texts", given)
    monkeypatch.setattr(train, "cached_arrays", look)
    return key_of


def test_each_thing_that_a_run_depends_on_is_in_its_key(taste, key_of):
    base = key_of()
    assert key_of(make_split(taste.dataset, "leave_last_out")) == base
    judge, other = (lambda tower: 0.0), (lambda tower: 0.0)
    judge.key, other.key = "ndcg@10", "recall@1"
    turned = taste.train.assign(timestamp=-taste.train["timestamp"])  # the same likes, every history backwards
    fewer = taste.candidates & (np.arange(60) > 0)
    retold = replace(taste.dataset, items=taste.dataset.items.assign(text=taste.dataset.items["text"] + "。"))
    keys = [base] + [key_of(**how) for how in (
        {"split": replace(taste, train=turned)},
        {"split": replace(taste, train=taste.train.iloc[1:])},
        {"split": replace(taste, test=taste.test.iloc[1:])},  # whom a judge would ask
        {"split": replace(taste, candidates=fewer)},
        {"split": replace(taste, seed=1)},
        {"split": replace(taste, options={"min_history": 2})},
        {"split": replace(taste, options={"fresh_days": 1})},
        {"split": replace(taste, protocol="random")},
        {"split": replace(taste, dataset=retold)},
        {"encoder": "weights B"},
        {"precision": "bf16"},
        {"prefix": "query: "},
        {"judge": judge},
        {"judge": other},
        {"judge": judge, "patience": 3},
        {"device": "cuda"},
        {"judge": judge_on(taste)},
        {"judge": judge_on(taste, "recall@1")},
        {"judge": judge_on(replace(taste, test=taste.test.iloc[1:]))},
    )]  # fmt: skip
    assert len(set(keys)) == 20
    assert key_of(device="cuda:1") == key_of(device="cuda") and key_of(judge=judge_on(taste)) == keys[-3]


def test_what_a_run_reads_is_in_the_key_and_nothing_else(key_of):
    other = {
        "rung": "whole", "features": "lexical", "pooling": "cls", "head": "linear", "similarity": "dot",
        "user": "attention", "profile": True, "question": "cut", "loss": "bpr", "precision": "bf16",
        "history_dropout": 0.4, "dropout": 0.4, "max_length": 64,
    }  # fmt: skip

    def moved(but: set[str], **base) -> set[str]:
        settings = TwoTowerConfig(**base).to_dict()
        keys = {n: key_of(config=TwoTowerConfig(**settings | {n: other[n] if n in other else value + 1}))
                for n, value in settings.items() if n not in but}  # fmt: skip
        changed = {n for n, key in keys.items() if key != key_of(config=TwoTowerConfig(**base))}
        assert len({keys[n] for n in changed}) == len(changed)
        return changed

    whole = moved({"features"}, loss="in_batch", items=2048, rung="lora", user="recency")
    head = moved({"rung", "hard_negatives"}, features="both")  # not with this base
    every = set(TwoTowerConfig().to_dict())
    assert whole == every - {"features", "meaning", "users"} and whole | head == every
    never = {"pairs", "encoder_steps", "encoder_learning_rate", "items", "chunk", "precision", "lora_rank", "half_life"}
    assert every - head == never | {"rung", "hard_negatives"}


def test_what_a_tower_took_is_counted_once(taste, monkeypatch):
    """Encoding 1 s, training .5 s: 1.5 s, also for two towers side by side, and evaluation adds its ranking alone."""
    encode = Encoder.encode_with_cost

    def in_one_second(self, texts, **options):
        return Cached(encode(self, texts).arrays, Cost(1.0, 10, "encode", "vectors of these texts"))

    def in_half_a_second(kind, depends, compute, **options):
        return Cached(compute(), Cost(0.5, 20, "train", str(depends["设置"])))

    monkeypatch.setattr(Encoder, "encode_with_cost", in_one_second)
    monkeypatch.setattr(train, "cached_arrays", in_half_a_second)
    a = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False)
    b = train_two_tower(taste, TwoTowerConfig(seed=1, **QUICK), progress=False)
    assert a.cost.by_stage() == {"encode": 1.0, "train": 0.5} and a.recommender("").cost.seconds == 1.5
    assert a.fuse(b).cost.seconds == 2.0 and a.fuse(a).cost.seconds == 1.5 and a.fuse(b).cost.peak_mb == 20
    found = evaluate(a.recommender(""), taste, cost=a.cost).cost.by_stage()
    assert found.pop("rank") > 0 and found == {"encode": 1.0, "train": 0.5}


def test_training_leaves_no_random_state_behind(taste, tmp_path, monkeypatch):
    """From the store or not: what is drawn afterwards is what would have been drawn without."""
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    torch.manual_seed(5)
    first = torch.rand(3)
    for cache in (False, True, True):
        torch.manual_seed(5)
        train_two_tower(taste, TwoTowerConfig(rung="lora", **QUICK), progress=False, cache=cache)
        assert (torch.rand(3) == first).all()


@pytest.mark.parametrize("has, asked, rung, used", [
    (True, "auto", "last_layer", "bf16"), (False, "auto", "last_layer", "float32"), (True, "auto", "head", "float32"),
    (False, "bf16", "last_layer", "bf16"), (True, "float32", "last_layer", "float32"),
])  # fmt: skip
def test_the_result_says_which_precision_it_was_trained_in(taste, monkeypatch, has, asked, rung, used):
    monkeypatch.setattr("textrec_utils.encoder.precision.has_bf16", lambda device="cpu": has)
    tower = train_two_tower(taste, TwoTowerConfig(rung=rung, precision=asked, **QUICK), progress=False, cache=False)
    assert tower.precision == used and tower.settings()["precision_used"] == used


def test_too_little_to_train_on_is_told_apart_from_bad_data(taste):
    lonely = replace(taste, train=taste.train.drop_duplicates("user").reset_index(drop=True))
    with pytest.raises(TooLittleData, match="喜欢过两个以上"):
        train_two_tower(lonely, TwoTowerConfig(**QUICK), progress=False, cache=False)


def test_cached_gradients_are_those_of_one_big_batch(taste):
    """Chunks of 4 against one of 64: the same loss, the same weights after training, to rounding."""
    common = {**QUICK, "rung": "whole", "precision": "float32", "items": 32, "loss": "in_batch", "pairs": 16}
    big = train_two_tower(taste, TwoTowerConfig(chunk=64, **common), progress=False, cache=False)
    small = train_two_tower(taste, TwoTowerConfig(chunk=4, **common), progress=False, cache=False)
    assert small.curve == pytest.approx(big.curve, abs=1e-4)
    assert small.item_vectors == pytest.approx(big.item_vectors, abs=1e-3)


def test_gradient_cache_repeats_the_dropout_of_the_first_pass():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 3)
    encode = lambda rows: F.dropout(layer(torch.eye(6)[rows]), 0.5)  # noqa: E731
    cache = GradientCache(encode, 6)
    vectors = cache.vectors(torch.arange(6))
    (vectors**2).sum().backward()
    cache.backward()
    expected = torch.zeros_like(layer.bias)
    for row in vectors.detach():  # where dropout kept an entry it was doubled: d(2x)²/dx = 2 · 2 · vector
        expected += 2 * row * 2 * (row != 0)
    assert layer.bias.grad == pytest.approx(expected, abs=1e-5)


def test_the_cache_knows_what_the_judge_measures(taste, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    a, b = (
        early_stopping(taste, TwoTowerConfig(**QUICK), metric=m, progress=False)[1] for m in ("ndcg@10", "recall@1")
    )
    assert (a.curve[:, 2] != b.curve[:, 2]).any()


@pytest.mark.parametrize("how", [{"user": "attention"}, {"user": "recency", "half_life": 1.0}, {"history": 2}])
def test_early_stopping_judges_by_the_user_tower_that_will_serve(taste, how):
    config, tower = early_stopping(taste, TwoTowerConfig(**QUICK | how), metric="ndcg@10", progress=False, cache=False)
    inner = taste.inner()
    again = train_two_tower(inner, config, progress=False, cache=False)
    served = evaluate(again.recommender(""), inner, ["ndcg@10"]).mean("ndcg@10")
    assert tower.curve[:, 2].max() == pytest.approx(served, abs=1e-6)


def test_texts_that_are_all_alike_are_refused(taste):
    same = replace(taste.dataset, items=taste.dataset.items.assign(text="😀"))
    with pytest.raises(TooLittleData, match="全部文字的向量都一样"):
        train_two_tower(make_split(same, "leave_last_out"), TwoTowerConfig(**QUICK), progress=False, cache=False)


def test_accumulated_batches_are_meaned(taste):
    one = train_two_tower(taste, TwoTowerConfig(**{**QUICK, "steps": 10}), progress=False, cache=False)
    four = train_two_tower(
        taste, TwoTowerConfig(**{**QUICK, "steps": 10, "accumulate": 4}), progress=False, cache=False
    )
    assert four.curve[0, 1] == pytest.approx(one.curve[0, 1], rel=0.2) and not np.allclose(
        four.item_vectors, one.item_vectors
    )


def test_early_stopping_returns_the_best_point(taste):
    said = iter([0.1, 0.4, 0.3, 0.2, 0.1, 0.0])
    seen = []
    judge = lambda tower: seen.append(tower.item_vectors) or next(said)  # noqa: E731
    tower = train_two_tower(
        taste, TwoTowerConfig(**{**QUICK, "steps": 40}), judge=judge, patience=2, progress=False, cache=False
    )
    assert len(tower.curve) == 4 and tower.best_step == 8
    assert (tower.item_vectors == seen[1]).all()
    never = train_two_tower(
        taste, TwoTowerConfig(rung="lora", **QUICK | {"steps": 40, "encoder_steps": 20}), patience=2,
        progress=False, cache=False,
        judge=lambda tower: -float(len(seen) if seen.append(tower) else len(seen)),
    )  # fmt: skip
    assert never.curve[-1, 0] > 40  # worse and worse, and yet the encoder gets its turn before patience ends
    config, found = early_stopping(
        taste, TwoTowerConfig(**{**QUICK, "steps": 40}), patience=2, progress=False, cache=False
    )
    assert config.stop == found.best_step and config.stop <= 40
    again = train_two_tower(taste, config, progress=False, cache=False)
    assert again.curve[-1, 0] == config.stop


RUN = """
import json, os, signal, sys
from textrec_utils import finetuning
from textrec_utils.finetuning.trainer import Run
from textrec_utils.datasets import load_dataset
from textrec_utils.splits import make_split

killed_at, save = int(sys.argv[1]), Run.save

def save_then_die(self):
    save(self)
    if self.done == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)

Run.save = save_then_die
split = make_split(load_dataset(sys.argv[2]), "leave_last_out", min_value=3)
config = finetuning.TwoTowerConfig.from_dict(json.loads(sys.argv[3]))
finetuning.train_two_tower(split, config, checkpoint_seconds=0, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_a_killed_run_goes_on_to_the_same_numbers(own_folder, tmp_path, monkeypatch):
    """kill -9 while the head learns, again while the encoder learns, then to the end: bitwise the undisturbed run."""
    config = TwoTowerConfig(
        rung="last_layer", loss="in_batch", hard_negatives=2, steps=8, encoder_steps=6, pairs=16, items=40, hidden=32,
        dim=16, max_length=16,
    )  # fmt: skip
    split = make_split(load_dataset(own_folder), "leave_last_out", min_value=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would be other bits
    try:
        undisturbed = train_two_tower(split, config, progress=False, cache=False)
        monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
        for step in (5, 11):
            call = [sys.executable, "-c", RUN, str(step), str(own_folder), json.dumps(config.to_dict())]
            done = subprocess.run(call, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert len(list((tmp_path / "cache" / "two_tower").glob("*.checkpoint"))) == 1
        tower = train_two_tower(split, config, progress=False)
    finally:
        torch.set_num_threads(threads)
    assert tower.item_vectors.tobytes() == undisturbed.item_vectors.tobytes()
    assert tower.curve.tobytes() == undisturbed.curve.tobytes()
    assert not list((tmp_path / "cache" / "two_tower").glob("*.checkpoint"))  # a finished run needs none


class PowerCut(Exception):
    pass


def cut_after(points):
    def watch(curve):
        if len(curve) == points:
            raise PowerCut

    return watch


def test_a_run_that_goes_on_costs_both_its_parts(taste, tmp_path, monkeypatch):
    """Each point of the curve takes 100 s; the power goes at the second, before it is saved."""
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    clock = [0.0]
    monkeypatch.setattr("textrec_utils.core.cost.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def watch(curve):
        clock[0] += 100
        if len(curve) == 2 and not cut:
            cut.append(True)
            raise PowerCut

    cut, how = [], {"checkpoint": tmp_path / "run", "checkpoint_seconds": 0, "progress": False, "watch": watch}
    with pytest.raises(PowerCut):
        train_two_tower(taste, TwoTowerConfig(**QUICK), **how)
    assert Checkpoint(tmp_path / "run", {}).state()["spent"][0] == 100
    went_on = train_two_tower(taste, TwoTowerConfig(**QUICK), **how).cost
    assert went_on.by_stage()["train"] == 400
    kept = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False).cost
    assert kept.by_stage()["train"] == 400 == (kept + went_on).by_stage()["train"]


def test_a_checkpoint_of_ones_own_is_checked_before_it_is_trusted(taste, tmp_path, capsys, monkeypatch):
    how = {"checkpoint": tmp_path / "run", "checkpoint_seconds": 0, "progress": False, "cache": False}
    config = TwoTowerConfig(**QUICK)
    whole = train_two_tower(taste, config, progress=False, cache=False)
    with pytest.raises(PowerCut):
        train_two_tower(taste, config, watch=cut_after(2), **how)
    kept = (tmp_path / "run").read_bytes()
    assert (train_two_tower(taste, config, **how).item_vectors == whole.item_vectors).all()
    assert not list(tmp_path.iterdir()) and capsys.readouterr().err == ""
    (tmp_path / "run").write_bytes(kept)
    with pytest.raises(DataError, match="属于另一次训练（设置不同）"):
        train_two_tower(taste, replace(config, seed=1), **how)
    with pytest.raises(DataError, match="属于另一次训练（数据不同）"):
        train_two_tower(replace(taste, train=taste.train.iloc[1:]), config, **how)
    with monkeypatch.context() as patch:
        sources = train.code_key(train.Run.__module__)["sources"]
        patch.setattr(train, "code_key", lambda module: {"sources": sources, "libraries": {"torch": "1.0"}})
        with pytest.raises(DataError, match="属于另一次训练（版本不同）"):
            train_two_tower(taste, config, **how)
    assert (tmp_path / "run").read_bytes() == kept
    for foreign in (kept[:200], b"my thesis"):
        (tmp_path / "run").write_bytes(foreign)
        with pytest.raises(DataError, match="不是训练的检查点"):
            train_two_tower(taste, config, **how)
        assert (tmp_path / "run").read_bytes() == foreign


@pytest.mark.parametrize("number, raised", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_ends_after_the_step_with_a_checkpoint(taste, tmp_path, number, raised):
    how = {"checkpoint": tmp_path / "run", "progress": False, "cache": False}
    whole = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as error:
        train_two_tower(taste, TwoTowerConfig(**QUICK), watch=lambda curve: signal.raise_signal(number), **how)
    assert error.type is raised and (tmp_path / "run").exists() and signal.getsignal(number) is before
    assert (train_two_tower(taste, TwoTowerConfig(**QUICK), **how).item_vectors == whole.item_vectors).all()


def test_a_full_disk_costs_the_checkpoint_not_the_run(taste, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    how = {"checkpoint": tmp_path / "file" / "run", "checkpoint_seconds": 0, "progress": False, "cache": False}
    assert train_two_tower(taste, TwoTowerConfig(**QUICK), **how).curve.shape == (4, 2)
    assert "训练继续" in capsys.readouterr().err


PROCESSES = """
import json, sys
import numpy as np
import torch
from textrec_utils.datasets import load_dataset
from textrec_utils.finetuning import TwoTowerConfig, processes, train_two_tower
from textrec_utils.splits import make_split

split = make_split(load_dataset(sys.argv[1]), "leave_last_out", min_value=3)
with processes():
    for loss in ("full", "in_batch"):
        config = TwoTowerConfig.from_dict(json.loads(sys.argv[3]) | {"loss": loss})
        tower = train_two_tower(split, config, progress=False, cache=False)
        rank = torch.distributed.get_rank()
        np.savez(f"{sys.argv[2]}/{loss}.{rank}.npz", curve=tower.curve, vectors=tower.item_vectors)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous and gloo are tried on Unix")
def test_two_processes_train_as_one(own_folder, tmp_path):
    """torchrun with two processes: the same loss curve and vectors as one process that encodes all the items itself."""
    config = TwoTowerConfig(
        rung="whole", steps=10, encoder_steps=10, users=8, items=12, hidden=32, dim=16, max_length=16,
        precision="float32", pairs=12,
    )  # fmt: skip
    script = tmp_path / "train.py"
    script.write_text(PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = [*launch, str(script), str(own_folder), str(tmp_path), json.dumps(config.to_dict())]
    done = subprocess.run(call, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    split = make_split(load_dataset(own_folder), "leave_last_out", min_value=3)
    for loss in ("full", "in_batch"):  # imports are most of the time, so both losses are tried in each process
        alone = train_two_tower(split, replace(config, loss=loss), progress=False, cache=False)
        first, second = (np.load(tmp_path / f"{loss}.{rank}.npz") for rank in (0, 1))
        assert first["curve"] == pytest.approx(alone.curve, abs=1e-4)
        assert (first["vectors"] == second["vectors"]).all()
        assert first["vectors"] == pytest.approx(alone.item_vectors, abs=1e-3)


def test_curves_are_watched_and_logged(taste, tmp_path):
    seen = []
    train_two_tower(
        taste,
        TwoTowerConfig(**QUICK),
        watch=lambda c: seen.append(c.shape),
        log_dir=tmp_path / "logs",
        progress=False,
        cache=False,
    )
    assert seen == [(1, 2), (2, 2), (3, 2), (4, 2)]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = EventAccumulator(str(tmp_path / "logs"))
    logged.Reload()
    assert [e.step for e in logged.Scalars("loss")] == [1, 2, 3, 4]


def test_prefix_reaches_the_trained_encoder(taste):
    config = TwoTowerConfig(rung="last_layer", **QUICK)
    features = Features(read_texts(taste, config, "mini-bert-zh", "物品：", "cpu"), config)
    assert features.all().numpy() == pytest.approx(features.frozen.numpy(), abs=0.02)
