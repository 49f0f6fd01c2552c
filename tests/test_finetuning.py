"""Gradients where they belong, and user towers that serve as they were trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD

from textrec_utils.baselines import HistoryMean, Popularity, Recommender, unit_rows
from textrec_utils.encoder import Encoder, center, whiten
from textrec_utils.evaluation import compare, evaluate
from textrec_utils.finetuning import (
    MEANING_SCALE,
    Towers,
    TwoTowerConfig,
    UserTower,
    features,
    lexical_vectors,
    train_two_tower,
)
from textrec_utils.finetuning.batches import Batches
from textrec_utils.finetuning.features import Features, Material, frozen_table
from textrec_utils.finetuning.towers import Dropout
from textrec_utils.losses import LOSSES, Loss
from textrec_utils.splits import make_split

QUICK = {
    "steps": 4, "encoder_steps": 3, "users": 32, "pairs": 64, "items": 16, "hidden": 32, "dim": 16, "max_length": 16,
}  # fmt: skip


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


@pytest.mark.parametrize("kept", [2**30, 1])
def test_what_the_last_layer_reads_may_lie_on_disk(taste, monkeypatch, kept):
    monkeypatch.setattr(features, "BELOW", kept)
    material = Material(texts := list(taste.dataset.items["text"]), Encoder("mini-bert-zh"))
    material.vectors = material.encoder.encode(texts)
    made = Features(material, TwoTowerConfig(rung="last_layer", max_length=16))
    assert made.below._rolled == (kept == 1)  # a temporary file, instead of memory
    assert made.all().detach() == pytest.approx(made.frozen, abs=0.02)  # kept as float16


def test_learns_the_taste(taste):
    tower = train_two_tower(taste, TwoTowerConfig(steps=60, users=32, hidden=64, dim=16), progress=False, cache=False)
    trained = evaluate(tower.recommender("双塔"), taste, ["recall@10"])
    popular = evaluate(Popularity(), taste, ["recall@10"])
    assert tower.curve[-1, 1] < tower.curve[0, 1]
    assert compare(trained.users["recall@10"], popular.users["recall@10"]).significant


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


@pytest.mark.parametrize(
    "batch, negatives", [("pairs", "always"), ("pairs", "hard"), ("pairs", "none"), ("users", "none")]
)
def test_a_loss_is_added_by_one_entry(taste, monkeypatch, batch, negatives):
    """It is called with what its entry asks for, and trains: a hinge over negatives, or none."""
    seen = []

    def hinge(asked):
        seen.append(asked)
        if asked.negatives is None:
            return -(asked.users @ asked.items.T / asked.temperature).masked_fill(asked.barred, 0).mean()
        liked = (asked.users * asked.items[asked.target]).sum(1, keepdim=True)
        return (1 - liked + torch.einsum("pd,pnd->pn", asked.users, asked.items[asked.negatives])).relu().mean()

    monkeypatch.setitem(LOSSES, "hinge", Loss(batch, negatives, hinge, "铰链"))
    config = TwoTowerConfig(**QUICK | {"steps": 2}, loss="hinge")
    tower = train_two_tower(taste, config, progress=False, cache=False)
    assert len(seen) == 2 and tower.curve[-1, 0] == 2 and np.isfinite(tower.curve).all()
    rows = 64 if batch == "pairs" else 32
    for asked in seen:
        count = len(asked.items)  # pairs: the batch's own items alone
        assert 0 < count <= 60 if batch == "pairs" else count == 60
        assert asked.users.shape == (rows, 16) and asked.barred.shape == (rows, count)
        assert asked.target.shape == ((64,) if batch == "pairs" else (32, 60))
        if batch == "pairs":  # what the user likes is barred, but for the pair's own item
            assert (asked.barred.sum(1) == 6).all() and not asked.barred[torch.arange(64), asked.target].any()
        assert (asked.negatives is not None) == (negatives == "always")
        if negatives == "always":
            assert asked.negatives.shape == (64, 1)
            assert not asked.barred.gather(1, asked.negatives).any() and (asked.negatives[:, 0] != asked.target).all()
    if negatives != "none":
        hard = train_two_tower(taste, replace(config, hard_negatives=3), progress=False, cache=False)
        assert seen[-1].negatives.shape == (64, 3) and hard.trained == tower.trained


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


def test_spelling_is_reduced_once_for_all_towers_that_read_it(taste, monkeypatch):
    texts = [f"{text}，又" for text in taste.dataset.items["text"]]  # nobody has asked for these
    first, other = lexical_vectors(texts), lexical_vectors(texts, seed=1)
    monkeypatch.setattr(TruncatedSVD, "fit_transform", None)
    assert (lexical_vectors(texts) == first).all() and (lexical_vectors(texts, seed=1) == other).all()
    with pytest.raises(TypeError):
        lexical_vectors(texts[::-1])


# ---------------------------------------------------------------- the user tower


def test_attention_starts_as_the_plain_mean_and_serving_agrees_with_training(taste):
    still = {**QUICK, "steps": 2, "learning_rate": 0.0}
    mean = train_two_tower(taste, TwoTowerConfig(**still), progress=False, cache=False)
    attentive = train_two_tower(taste, TwoTowerConfig(user="attention", **still), progress=False, cache=False)
    users = taste.test_users
    a = mean.recommender("").fit(taste).score(users)
    b = attentive.recommender("").fit(taste).score(users)
    assert unit_rows(a) == pytest.approx(unit_rows(b), abs=1e-5)


@pytest.mark.parametrize(
    "user",
    [{"user": "recency", "half_life": 2.0}, {"user": "attention"}, {"history": 3}, {"user": "attention", "history": 4}],
)
def test_user_tower_scores_as_it_was_trained(taste, user):
    """What serving computes with scipy is what training computed with torch."""
    config = TwoTowerConfig(**{**QUICK, "steps": 20, "learning_rate": 0.05, **user})
    tower = train_two_tower(taste, config, progress=False, cache=False)
    towers = Towers(312, config)
    towers.load_state_dict(
        {n: torch.from_numpy(a) for n, a in tower.weights.items() if n.startswith("head.")}, strict=False
    )
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
    tower = train_two_tower(
        taste, TwoTowerConfig(user="recency", half_life=1.0, history=3, **QUICK), progress=False, cache=False
    )
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


def test_a_step_over_pairs_reads_its_own_items_alone(taste):
    """Whatever the length of the catalogue; and what each place stands for is right."""
    config = TwoTowerConfig(**{**QUICK, "loss": "bpr", "pairs": 2})
    batch = Batches(taste, config, np.random.default_rng(0)).draw(False)
    liked = [set(taste.histories[u]) for u in batch.users.tolist()]
    assert set(batch.items.tolist()) == liked[0] | liked[1] | set(batch.items[batch.negatives[:, 0]].tolist())
    assert len(batch.items) < 30
    for n, likes in enumerate(liked):
        assert set(batch.items[batch.history[n][batch.there[n]]].tolist()) == likes
        assert batch.items[batch.target[n]].item() in likes and batch.items[batch.negatives[n, 0]].item() not in likes
    barred = []
    asked = Loss("pairs", "always", lambda a: barred.append(a) or a.users.sum())
    batches = Batches(taste, config, np.random.default_rng(0))
    batches.wants = asked
    towers = Towers(8, replace(config, user="mean"))
    batches.loss(towers, towers.head(torch.randn(len(batch.items), 8)), batch)
    for n, likes in enumerate(liked):
        others = {i for i, out in zip(batch.items.tolist(), barred[0].barred[n].tolist()) if out}
        assert others == likes - {batch.items[batch.target[n]].item()}
    assert torch.equal(barred[0].log_q, batches.log_q[batch.items])


@pytest.mark.parametrize("share", [0.0, 0.15, 0.3, 0.999])
def test_dropout_by_bytes_does_what_torch_does(share):
    torch.manual_seed(0)
    layer, x = Dropout(share), torch.ones(501, 1003, requires_grad=True)
    y = layer(x)
    kept = y != 0
    falls = round(256 * share) / 256 if share < 0.99 else 255 / 256
    assert (~kept).float().mean().item() == pytest.approx(falls, abs=3e-3)
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - falls)])  # the mean stays
    assert abs(kept.float().mean(0) - (1 - falls)).max() < 0.15  # no column is spared or hit
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert torch.equal(layer.eval()(x), x)


def test_a_cut_history_never_shows_what_comes_later(taste):
    config = TwoTowerConfig(**{**QUICK, "question": "cut", "loss": "in_batch", "pairs": 200})
    batches = Batches(taste, config, np.random.default_rng(0))
    for batch in (
        batches.draw(False),
        Batches(taste, replace(config, loss="full"), np.random.default_rng(0)).draw(False),
    ):
        for n, user in enumerate(batch.users.tolist()):
            history = taste.histories[user]
            named = torch.arange(taste.n_items) if batch.items is None else batch.items
            seen = named[batch.history[n][batch.shown[n]]].tolist()
            assert seen == history[: len(seen)].tolist() and len(seen) < len(history)
            if batch.target is not None:
                assert named[batch.target[n]] == history[len(seen)]


def test_a_plain_tower_serves_as_the_mean_of_the_history(taste):
    tower = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    mean = HistoryMean(tower.item_vectors, "", normalize=False).fit(taste)
    assert (tower.recommender("").fit(taste).score(taste.test_users) == mean.score(taste.test_users)).all()


@pytest.mark.parametrize("how", [{}, {"user": "attention", "history": 4}, {"similarity": "dot", "user": "recency"}])
def test_a_saved_user_tower_scores_as_before(taste, tmp_path, how):
    tower = train_two_tower(taste, TwoTowerConfig(**QUICK | how), progress=False, cache=False)
    model = tower.recommender("双塔").fit(taste)
    model.save(tmp_path / "kept")
    again = Recommender.load(tmp_path / "kept")
    assert isinstance(again, UserTower) and again.name == "双塔"
    assert (again.score(taste.test_users) == model.score(taste.test_users)).all()
    assert again.settings() == model.settings() and again.cost.seconds == pytest.approx(tower.cost.seconds)
    assert again.needs == model.needs and again.cold_items and not again.new_users


def test_a_recommender_says_how_its_tower_was_made(taste):
    config = TwoTowerConfig(**QUICK)
    lexical = train_two_tower(taste, replace(config, features="lexical"), progress=False, cache=False)
    meaning = train_two_tower(taste, config, prefix="物品：", progress=False, cache=False)
    told = meaning.recommender("").settings()
    origin = {"model": "mini-bert-zh", "prefix": "物品：", "precision_used": "float32"}
    assert told == config.to_dict() | origin | {"pooling": "mean"}  # what auto came to
    assert lexical.recommender("").needs == {"text"} and meaning.recommender("").needs == {"text", "model"}
    three = lexical.fuse(meaning, 0.4).fuse(lexical, 0.5).recommender("")
    told = [(part["weight"], part["features"]) for part in three.settings()["fused_with"]]
    assert told == [(0.4, "encoder"), (0.5, "lexical")]
    assert three.needs == {"text", "model"} and three.settings()["features"] == "lexical"
    timed = TwoTowerConfig(user="recency", **QUICK)
    assert "time" in train_two_tower(taste, timed, progress=False, cache=False).recommender("").needs


# ---------------------------------------------------------------- controls: towers that read nothing of an item


def test_controls_read_noise_the_wrong_text_or_the_number_alone(taste):
    config, rows = TwoTowerConfig(**QUICK), {}
    for name in ("encoder", "shuffled", "random"):
        rows[name] = frozen_table(taste, replace(config, features=name))[0]
    assert sorted(map(tuple, rows["shuffled"])) == sorted(map(tuple, rows["encoder"]))
    assert (rows["shuffled"] != rows["encoder"]).any(axis=1).mean() > 0.9
    assert abs(np.corrcoef(rows["random"])[np.triu_indices(60, 1)]).mean() < 0.1
    other = frozen_table(taste, replace(config, features="random", seed=1))[0]
    assert (other != rows["random"]).any()
    ids = train_two_tower(taste, replace(config, features="ids"), progress=False, cache=False)
    assert ids.trained == 60 * 16 and ids.item_vectors.shape == (60, 16)


@pytest.mark.parametrize(("reads", "needs"), [("ids", set()), ("random", set()), ("shuffled", {"text", "model"})])
def test_controls_say_what_they_need_and_are_served_as_they_were_trained(taste, tmp_path, reads, needs):
    tower = train_two_tower(taste, TwoTowerConfig(features=reads, **QUICK), progress=False, cache=False)
    model = tower.recommender(reads).fit(taste)
    assert model.needs == needs
    model.save(tmp_path / "kept")
    assert (Recommender.load(tmp_path / "kept").score(taste.test_users) == model.score(taste.test_users)).all()
    with pytest.raises(ValueError, match="rung"):
        TwoTowerConfig(features=reads, rung="whole")
