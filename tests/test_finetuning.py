"""Gradients where they belong, user towers that serve as they were trained, runs that repeat, stop early and go on."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textrec_utils.baselines import Popularity, unit_rows
from textrec_utils.datasets import DataError
from textrec_utils.encoder import Encoder, center, quiet_loading, whiten
from textrec_utils.evaluation import compare, evaluate
from textrec_utils.export import save_sentence_transformer
from textrec_utils.finetuning import (
    MEANING_SCALE,
    GradientCache,
    Towers,
    TwoTowerConfig,
    UserTower,
    _Batches,
    _Features,
    early_stopping,
    lexical_vectors,
    train_two_tower,
)  # fmt: skip
from textrec_utils.splits import make_split

QUICK = {"steps": 4, "encoder_steps": 3, "users": 32, "pairs": 64, "items": 16, "hidden": 32, "dim": 16, "max_length": 16}


@pytest.mark.parametrize("rung", ["head", "last_layer", "lora", "whole"])
def test_each_rung_trains_what_it_says(taste, rung):
    config = TwoTowerConfig(rung=rung, **QUICK)
    tower = train_two_tower(taste, config, progress=False, cache=False)
    assert tower.item_vectors.shape == (60, 16)
    assert np.linalg.norm(tower.item_vectors, axis=1) == pytest.approx(1, abs=1e-5)
    head = 312 * 32 + 32 + 32 * 16 + 16
    layer = 4 * (312 * 312 + 312) + 2 * 312 * 1200 + 1200 + 312 + 4 * 312
    if rung == "head":
        assert tower.trained == head
    elif rung == "last_layer":
        assert tower.trained == head + layer
    elif rung == "lora":  # rank 8 beside each linear layer: four of 312 × 312, two of 312 × 1200, four times
        assert tower.trained == head + 4 * 8 * (4 * (312 + 312) + 2 * (312 + 1200))
    else:
        assert tower.trained > head + 4 * layer
    again = train_two_tower(taste, config, progress=False, cache=False)
    assert (again.item_vectors == tower.item_vectors).all() and (again.curve == tower.curve).all()


def test_learns_the_taste(taste):
    tower = train_two_tower(taste, TwoTowerConfig(steps=60, users=32, hidden=64, dim=16), progress=False, cache=False)
    trained = evaluate(tower.recommender("双塔"), taste, ["recall@10"])
    popular = evaluate(Popularity(), taste, ["recall@10"])
    assert tower.curve[-1, 1] < tower.curve[0, 1]
    assert compare(trained.users["recall@10"], popular.users["recall@10"]).significant


def test_results_are_kept_and_the_judge_is_asked(taste, monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    asked = []
    judge = lambda tower: asked.append(tower.item_vectors.shape) or 0.5  # noqa: E731
    first = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert asked == [(60, 16)] * 4 and first.curve.shape == (4, 3)
    second = train_two_tower(taste, TwoTowerConfig(**QUICK), judge=judge, progress=False)
    assert len(asked) == 4 and (first.item_vectors == second.item_vectors).all()
    assert second.cost.seconds == first.cost.seconds


@pytest.mark.parametrize("how", [
    {"loss": "in_batch"}, {"loss": "in_batch_no_logq"}, {"loss": "bpr"}, {"loss": "bpr", "hard_negatives": 2},
    {"loss": "in_batch", "hard_negatives": 2}, {"similarity": "learned"}, {"similarity": "dot"}, {"question": "cut"},
])  # fmt: skip
def test_every_way_of_training_learns_the_taste(taste, how):
    config = TwoTowerConfig(**QUICK | {"steps": 60, "learning_rate": 5e-3, "dim": 16, "hidden": 64} | how)
    tower = train_two_tower(taste, config, progress=False, cache=False)
    found = evaluate(tower.recommender(""), taste, ["recall@10"])
    popular = evaluate(Popularity(), taste, ["recall@10"])
    assert compare(found.users["recall@10"], popular.users["recall@10"]).significant


def test_config_refuses_unknown_words():
    with pytest.raises(ValueError, match="rung"):
        TwoTowerConfig(rung="all")
    with pytest.raises(ValueError, match="loss"):
        TwoTowerConfig(loss="hinge")
    with pytest.raises(ValueError, match="lexical"):
        TwoTowerConfig(features="lexical", rung="whole")
    with pytest.raises(ValueError, match="both"):
        TwoTowerConfig(features="both", rung="last_layer")
    with pytest.raises(ValueError, match="hard_negatives"):
        TwoTowerConfig(hard_negatives=3)
    with pytest.raises(ValueError, match="items=64"):
        TwoTowerConfig(rung="whole", loss="in_batch")


@pytest.mark.parametrize("name, value, message", [
    ("chunk", 0, "chunk 至少是 1"), ("steps", -5, "steps 至少是 0"), ("steps", 0, "一步也没有"), ("temperature", 0.0, "temperature 应是正数"),
    ("half_life", float("nan"), "half_life 应是正数"), ("dropout", 1.0, "dropout 是一个比例"), ("history_dropout", -0.1, "history_dropout 是一个比例"),
    ("max_length", 1, "max_length 至少是 3"), ("pooling", "max", "pooling 应是 cls"), ("learning_rate", -1.0, "learning_rate 应是正数"),
])  # fmt: skip
def test_config_refuses_impossible_numbers(name, value, message):
    with pytest.raises(ValueError, match=message):
        TwoTowerConfig(**{name: value})


def test_linear_head_starts_as_the_identity_and_fusion_adds_scores(taste):
    lexical = TwoTowerConfig(features="lexical", head="linear", steps=1, users=8, learning_rate=0.0, dropout=0.0)
    a = train_two_tower(taste, lexical, progress=False, cache=False)
    start = center(lexical_vectors(list(taste.dataset.items["text"])))
    cosine = unit_rows(start) @ unit_rows(start).T
    assert a.item_vectors @ a.item_vectors.T == pytest.approx(cosine, abs=1e-4)
    b = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    fused = a.fuse(b, 0.3).item_vectors
    expected = 0.3 * a.item_vectors @ a.item_vectors.T + 0.7 * b.item_vectors @ b.item_vectors.T
    assert fused @ fused.T == pytest.approx(expected, abs=1e-4)


def test_one_tower_reads_meaning_and_spelling(taste):
    texts = list(taste.dataset.items["text"])
    config = TwoTowerConfig(features="both", head="linear", steps=1, users=8, learning_rate=0.0, dropout=0.0)
    made = train_two_tower(taste, config, progress=False, cache=False).item_vectors
    meaning = whiten(Encoder("mini-bert-zh", max_length=config.max_length).encode(texts), strength=0.5)
    spelling = center(lexical_vectors(texts))
    both = np.hstack([MEANING_SCALE * meaning / meaning.std(), spelling / spelling.std()])
    assert made.shape == both.shape and made @ made.T == pytest.approx(unit_rows(both) @ unit_rows(both).T, abs=1e-3)


# ---------------------------------------------------------------- the user tower


def test_attention_starts_as_the_plain_mean_and_serving_agrees_with_training(taste):
    still = {**QUICK, "steps": 2, "learning_rate": 0.0}
    mean = train_two_tower(taste, TwoTowerConfig(**still), progress=False, cache=False)
    attentive = train_two_tower(taste, TwoTowerConfig(user="attention", **still), progress=False, cache=False)
    users = taste.test_users
    a = mean.recommender("").fit(taste).score(users)
    b = attentive.recommender("").fit(taste).score(users)
    assert unit_rows(a) == pytest.approx(unit_rows(b), abs=1e-5)


@pytest.mark.parametrize("user", [{"user": "recency", "half_life": 2.0}, {"user": "attention"}, {"history": 3}, {"user": "attention", "history": 4}])
def test_user_tower_scores_as_it_was_trained(taste, user):
    """What serving computes with scipy is what training computed with torch."""
    config = TwoTowerConfig(**{**QUICK, "steps": 20, "learning_rate": 0.05, **user})
    tower = train_two_tower(taste, config, progress=False, cache=False)
    towers = Towers(312, config)
    towers.load_state_dict({n: torch.from_numpy(a) for n, a in tower.weights.items() if n.startswith("head.")}, strict=False)
    items = torch.from_numpy(tower.item_vectors)
    if tower.attention:
        assert tower.attention[1] != 0  # the exponent of the age has learned something
        towers.recency.data.fill_(tower.attention[1])
        towers.query.data = torch.from_numpy(np.linalg.lstsq(tower.item_vectors, tower.attention[0], rcond=None)[0])
    histories = [torch.from_numpy(h.astype(np.int64)) for h in taste.histories]
    rows = torch.nn.utils.rnn.pad_sequence(histories, batch_first=True)
    shown = torch.arange(rows.shape[1]) < torch.tensor([len(h) for h in histories])[:, None]
    with torch.no_grad():
        trained = (towers.users(items, torch.arange(len(rows)), rows, shown) @ items.T).numpy()
    assert tower.recommender("").fit(taste).score(np.arange(len(rows))) == pytest.approx(trained, abs=1e-4)


def test_recency_halves_and_history_cuts(taste):
    tower = train_two_tower(taste, TwoTowerConfig(user="recency", half_life=1.0, history=3, **QUICK), progress=False, cache=False)
    user = int(taste.test_users[0])
    row = UserTower(tower, "").weights(taste)[[user]].toarray().ravel()
    assert row[taste.histories[user][-3:]] == pytest.approx(np.array([1, 2, 4]) / 7) and (row > 0).sum() == 3


def test_profiles_serve_users_without_a_history(taste):
    """Every user's profile names the kind that the user likes: without any history the right third must come first."""
    data = taste.dataset
    kinds = data.items.set_index("item_id")["title"]
    liked = data.interactions.groupby("user_id")["item_id"].first().map(kinds)
    users = data.users.assign(text="常买" + data.users["user_id"].map(liked))
    rest = data.interactions[data.interactions["user_id"].isin([f"u{n}" for n in range(12, 60)])]
    split = make_split(replace(data, users=users, interactions=rest), "leave_last_out")
    config = TwoTowerConfig(**QUICK | {"steps": 60, "profile": True, "learning_rate": 5e-3})
    tower = train_two_tower(split, config, progress=False, cache=False)
    new = np.flatnonzero([len(h) == 0 for h in split.histories])
    assert len(new) == 12
    best = tower.recommender("").fit(split).score(new).argmax(axis=1)
    wanted = split.dataset.users["text"].iloc[new].str.removeprefix("常买").to_numpy()
    assert (split.dataset.items["title"].to_numpy()[best] == wanted).mean() > 0.9
    with pytest.raises(ValueError, match="profile"):
        train_two_tower(taste, config, progress=False, cache=False)


def test_fused_towers_must_weigh_histories_alike(taste):
    mean = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    recent = train_two_tower(taste, TwoTowerConfig(user="recency", **QUICK), progress=False, cache=False)
    long = train_two_tower(taste, TwoTowerConfig(similarity="dot", **QUICK), progress=False, cache=False)
    for other in (recent, long):
        with pytest.raises(ValueError, match="ZScoreBlend"):
            mean.fuse(other)


def test_a_cut_history_never_shows_what_comes_later(taste):
    config = TwoTowerConfig(**{**QUICK, "question": "cut", "loss": "in_batch", "pairs": 200})
    batches = _Batches(taste, config, np.random.default_rng(0))
    for batch in (batches.draw(False), _Batches(taste, replace(config, loss="full"), np.random.default_rng(0)).draw(False)):
        for n, user in enumerate(batch.users.tolist()):
            history = taste.histories[user]
            seen = batch.history[n][batch.shown[n]].tolist()
            assert seen == history[: len(seen)].tolist() and len(seen) < len(history)
            if batch.target is not None:
                assert batch.target[n] == history[len(seen)]


# ---------------------------------------------------------------- the trainer


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
    a, b = (early_stopping(taste, TwoTowerConfig(**QUICK), metric=m, progress=False)[1] for m in ("ndcg@10", "recall@1"))
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
    with pytest.raises(ValueError, match="全部文字的向量都一样"):
        train_two_tower(make_split(same, "leave_last_out"), TwoTowerConfig(**QUICK), progress=False, cache=False)


def test_accumulated_batches_are_meaned(taste):
    one = train_two_tower(taste, TwoTowerConfig(**{**QUICK, "steps": 10}), progress=False, cache=False)
    four = train_two_tower(taste, TwoTowerConfig(**{**QUICK, "steps": 10, "accumulate": 4}), progress=False, cache=False)
    assert four.curve[0, 1] == pytest.approx(one.curve[0, 1], rel=0.2) and not np.allclose(four.item_vectors, one.item_vectors)


def test_early_stopping_returns_the_best_point(taste):
    said = iter([0.1, 0.4, 0.3, 0.2, 0.1, 0.0])
    seen = []
    judge = lambda tower: seen.append(tower.item_vectors) or next(said)  # noqa: E731
    tower = train_two_tower(taste, TwoTowerConfig(**{**QUICK, "steps": 40}), judge=judge, patience=2, progress=False, cache=False)
    assert len(tower.curve) == 4 and tower.best_step == 8
    assert (tower.item_vectors == seen[1]).all()
    never = train_two_tower(
        taste, TwoTowerConfig(rung="lora", **QUICK | {"steps": 40, "encoder_steps": 20}), patience=2, progress=False, cache=False,
        judge=lambda tower: -float(len(seen) if seen.append(tower) else len(seen)),
    )  # fmt: skip
    assert never.curve[-1, 0] > 40  # worse and worse, and yet the encoder gets its turn before patience ends
    config, found = early_stopping(taste, TwoTowerConfig(**{**QUICK, "steps": 40}), patience=2, progress=False, cache=False)
    assert config.stop == found.best_step and config.stop <= 40
    again = train_two_tower(taste, config, progress=False, cache=False)
    assert again.curve[-1, 0] == config.stop


RUN = """
import os, signal, sys
import textrec_utils.finetuning as finetuning
from textrec_utils.datasets import load_dataset
from textrec_utils.splits import make_split

killed_at, save = int(sys.argv[1]), finetuning._Run._save

def save_then_die(self):
    save(self)
    if self.done == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)

finetuning._Run._save = save_then_die
split = make_split(load_dataset(sys.argv[2]), "leave_last_out", min_value=3)
config = finetuning.TwoTowerConfig(
    rung="lora", loss="in_batch", hard_negatives=2, steps=8, encoder_steps=6, pairs=16, items=40, hidden=32, dim=16, max_length=16,
)
tower = finetuning.train_two_tower(split, config, checkpoint_seconds=0, progress=False)
print(tower.item_vectors.tobytes().hex()[:4000], tower.curve.tobytes().hex())
"""


def test_a_killed_run_goes_on_to_the_same_numbers(own_folder, tmp_path):
    """kill -9 while the head learns, again while the encoder learns, then to the end: bit by bit the undisturbed run."""

    def run(cache, killed_at):
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(killed_at), str(own_folder)], capture_output=True, text=True,
            env=os.environ | {"TEXTREC_CACHE": str(tmp_path / cache), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    undisturbed = run("a", 0)
    assert undisturbed[0] == 0, undisturbed[2]
    for step in (5, 11):
        assert run("b", step)[0] == -signal.SIGKILL
        assert len(list((tmp_path / "b" / "two_tower").glob("*.checkpoint"))) == 1
    assert run("b", 0)[:2] == undisturbed[:2]
    assert not list((tmp_path / "b" / "two_tower").glob("*.checkpoint"))  # a finished run needs none


class PowerCut(Exception):
    pass


def cut_after(points):
    def watch(curve):
        if len(curve) == points:
            raise PowerCut

    return watch


def test_a_checkpoint_of_ones_own_is_checked_before_it_is_trusted(taste, tmp_path, capsys):
    how = {"checkpoint": tmp_path / "run", "checkpoint_seconds": 0, "progress": False, "cache": False}
    config = TwoTowerConfig(**QUICK)
    whole = train_two_tower(taste, config, progress=False, cache=False)
    with pytest.raises(PowerCut):
        train_two_tower(taste, config, watch=cut_after(2), **how)
    kept = (tmp_path / "run").read_bytes()
    assert (train_two_tower(taste, config, **how).item_vectors == whole.item_vectors).all() and not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""
    (tmp_path / "run").write_bytes(kept)
    train_two_tower(taste, replace(config, seed=1), **how)
    assert "属于另一次训练" in capsys.readouterr().err
    (tmp_path / "run").write_bytes(kept[:200])
    assert (train_two_tower(taste, config, **how).item_vectors == whole.item_vectors).all()
    assert "读不出来，从头训练" in capsys.readouterr().err


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(taste, tmp_path):
    how = {"checkpoint": tmp_path / "run", "progress": False, "cache": False}
    whole = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    with pytest.raises(KeyboardInterrupt):
        train_two_tower(taste, TwoTowerConfig(**QUICK), watch=lambda curve: signal.raise_signal(signal.SIGINT), **how)
    assert (tmp_path / "run").exists() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (train_two_tower(taste, TwoTowerConfig(**QUICK), **how).item_vectors == whole.item_vectors).all()


def test_a_full_disk_costs_the_checkpoint_not_the_run(taste, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    how = {"checkpoint": tmp_path / "file" / "run", "checkpoint_seconds": 0, "progress": False, "cache": False}
    assert train_two_tower(taste, TwoTowerConfig(**QUICK), **how).curve.shape == (4, 2)
    assert "训练继续" in capsys.readouterr().err


PROCESSES = """
import sys
import numpy as np
import torch
from textrec_utils.datasets import load_dataset
from textrec_utils.finetuning import TwoTowerConfig, processes, train_two_tower
from textrec_utils.splits import make_split

torch.set_num_threads(1)
split = make_split(load_dataset(sys.argv[1]), "leave_last_out", min_value=3)
config = TwoTowerConfig(
    rung="whole", steps=10, encoder_steps=10, users=8, items=12, hidden=32, dim=16, max_length=16, precision="float32",
    loss=sys.argv[3], pairs=12,
)
with processes():
    tower = train_two_tower(split, config, progress=False, cache=False)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
np.savez(f"{sys.argv[2]}.{rank}.npz", curve=tower.curve, vectors=tower.item_vectors)
"""


@pytest.mark.parametrize("loss", ["full", "in_batch"])
def test_two_processes_train_as_one(own_folder, tmp_path, loss):
    """torchrun with two processes: the same loss curve and vectors as one process that encodes all the items itself."""
    script = tmp_path / "train.py"
    script.write_text(PROCESSES)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    one = [sys.executable, str(script), str(own_folder), str(tmp_path / "one"), loss]
    subprocess.run(one, check=True, env=env, capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, str(script), str(own_folder), str(tmp_path / "two"), loss], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, first, second = (np.load(tmp_path / name) for name in ("one.0.npz", "two.0.npz", "two.1.npz"))
    assert first["curve"] == pytest.approx(alone["curve"], abs=1e-4)
    assert (first["vectors"] == second["vectors"]).all()
    assert first["vectors"] == pytest.approx(alone["vectors"], abs=1e-3)


def test_curves_are_watched_and_logged(taste, tmp_path):
    seen = []
    train_two_tower(taste, TwoTowerConfig(**QUICK), watch=lambda c: seen.append(c.shape), log_dir=tmp_path / "logs", progress=False, cache=False)
    assert seen == [(1, 2), (2, 2), (3, 2), (4, 2)]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = EventAccumulator(str(tmp_path / "logs"))
    logged.Reload()
    assert [e.step for e in logged.Scalars("loss")] == [1, 2, 3, 4]


def test_prefix_reaches_the_trained_encoder(taste):
    config = TwoTowerConfig(rung="last_layer", **QUICK)
    features = _Features(Encoder("mini-bert-zh", prefix="物品：", max_length=16), list(taste.dataset.items["text"]), config)
    assert features.all().numpy() == pytest.approx(features.frozen.numpy(), abs=0.02)


# ---------------------------------------------------------------- saved folders


@pytest.mark.parametrize("how", [{}, {"head": "linear", "whitening": 0.0}, {"rung": "lora", "pooling": "cls"}, {"rung": "whole", "similarity": "dot"}])
def test_saved_folder_loads_elsewhere(taste, tmp_path, how):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    tower = train_two_tower(taste, TwoTowerConfig(**{**QUICK, **how}), progress=False, cache=False)
    folder = save_sentence_transformer(tower, tmp_path / "tower")
    texts = list(taste.dataset.items["text"])
    given = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
    assert given == pytest.approx(tower.item_vectors, abs=1e-4)
    with quiet_loading():
        assert AutoModel.from_pretrained(folder).config.hidden_size == 312
    shorter = train_two_tower(taste, TwoTowerConfig(**{**QUICK, "head": "linear", "similarity": "dot"}), progress=False, cache=False)
    assert save_sentence_transformer(shorter, folder) == folder  # its own folder may be written again, and keeps nothing of before
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["1_Pooling", "2_Dense"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("…")
    with pytest.raises(DataError, match="不覆盖"):
        save_sentence_transformer(tower, tmp_path / "mine")


def test_only_a_text_tower_can_be_saved(taste, tmp_path):
    both = train_two_tower(taste, TwoTowerConfig(features="both", **QUICK), progress=False, cache=False)
    with pytest.raises(DataError, match="features=encoder"):
        save_sentence_transformer(both, tmp_path / "no")
    one = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    with pytest.raises(DataError, match="分别导出"):
        save_sentence_transformer(one.fuse(one), tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="建不起来"):
        save_sentence_transformer(one, tmp_path / "file" / "tower")
    odd = train_two_tower(taste, TwoTowerConfig(pooling="first_last", **QUICK), progress=False, cache=False)
    with pytest.raises(DataError, match="没有池化方式 first_last"):
        save_sentence_transformer(odd, tmp_path / "no")
