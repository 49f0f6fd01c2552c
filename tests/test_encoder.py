"""The encoder and the model that ships with the course: offline, never a pickle, the same vectors every time."""

import json

import numpy as np
import pytest
import torch

from textrec_utils.cache import sha256_of
from textrec_utils.datasets import DataError, project_data
from textrec_utils.encoder import POOLINGS, Encoder, center, find_model, mean_cosine, weights_checksum, whiten

TEXTS = ["酒店房间很干净，服务也好", "宾馆的房间干净，服务员热情", "央行宣布下调存款准备金率", "", "hello 世界😀", "字" * 300]


@pytest.fixture(scope="module")
def encoder():
    return Encoder("mini-bert-zh")


def test_shipped_files_are_whole():
    folder = project_data() / "models" / "mini-bert-zh"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert sha256_of(folder / name) == digest, name
    assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_loads_without_network_or_pickle(monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("network or pickle used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert Encoder("mini-bert-zh").dim == 312


def test_tokenizer_round_trip(encoder):
    for text in ("推荐系统", "hello world", "2024年3月"):
        ids = encoder.tokenizer(text)["input_ids"]
        back = encoder.tokenizer.decode(ids[1:-1]).replace(" ", "")
        assert back == text.replace(" ", "").lower()
        assert encoder.tokenizer.unk_token_id not in ids
    assert encoder.tokenizer.unk_token_id in encoder.tokenizer("😀")["input_ids"]


def test_encode(encoder):
    vectors = encoder.encode(TEXTS, cache=False)
    assert vectors.shape == (6, 312) and vectors.dtype == np.float32 and np.isfinite(vectors).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]  # hotels are nearer to hotels than to banks


def test_batching_and_padding_change_nothing(encoder):
    together = encoder.encode(TEXTS, cache=False)
    alone = np.concatenate([encoder.encode([t], cache=False) for t in TEXTS])
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_against_plain_indexing(encoder, pooling):
    hidden, mask = encoder.hidden_states(["短句", "一个更长的句子"])
    pooled = POOLINGS[pooling](hidden, mask)
    last, first = hidden[-1][0], hidden[1][0]
    n = int(mask[0].sum())
    expected = {
        "cls": last[0], "mean": last[:n].mean(0), "cls_sep": (last[0] + last[n - 1]) / 2,
        "first_last": (first[:n].mean(0) + last[:n].mean(0)) / 2,
    }[pooling]  # fmt: skip
    assert torch.allclose(pooled[0], expected, atol=1e-5)


def test_mean_pooling_matches_sentence_transformers_formula(encoder):
    hidden, mask = encoder.hidden_states(TEXTS)
    expanded = mask.unsqueeze(-1).expand(hidden[-1].size()).float()
    theirs = torch.sum(hidden[-1] * expanded, 1) / torch.clamp(expanded.sum(1), min=1e-9)
    assert torch.allclose(POOLINGS["mean"](hidden, mask), theirs, atol=1e-5)


def test_cache_is_checked(encoder, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path))
    first = encoder.encode_with_cost(TEXTS)
    second = encoder.encode_with_cost(TEXTS)
    assert not first.from_cache and second.from_cache and (first["vectors"] == second["vectors"]).all()
    assert second.cost.seconds == first.cost.seconds > 0
    kept = next((tmp_path / "vectors").glob("*.safetensors"))
    kept.write_bytes(kept.read_bytes()[:-3] + b"xyz")
    third = encoder.encode_with_cost(TEXTS)
    assert not third.from_cache and (first["vectors"] == third["vectors"]).all()
    assert "已损坏" in capsys.readouterr().err
    assert encoder.encode_with_cost(TEXTS[:2]).from_cache is False


def test_unwritable_cache_costs_only_the_cache(encoder, monkeypatch, tmp_path, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("TEXTREC_CACHE", str(blocker))
    assert encoder.encode(["好"]).shape == (1, 312)
    assert "没有写进缓存" in capsys.readouterr().err


def test_fingerprint_is_of_the_weights(encoder):
    assert Encoder("mini-bert-zh").fingerprint == encoder.fingerprint
    changed = Encoder("mini-bert-zh").model
    with torch.no_grad():
        changed.embeddings.word_embeddings.weight[5, 5] += 1
    assert weights_checksum(changed) != encoder.fingerprint


def test_refusals(tmp_path):
    for name in ("no-such-model", "./nowhere", "someone/no-such-model"):
        with pytest.raises(DataError, match=f"模型 {name} 取不到.*三个办法") as error:
            Encoder(name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="没有池化方式"):
        Encoder("mini-bert-zh", pooling="max")
    with pytest.raises(TypeError, match="第 1 条文本是 NoneType"):
        Encoder("mini-bert-zh").encode(["好", None])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="取不到"):
        Encoder(str(broken))


def test_any_folder_by_name(mirror):
    encoder = Encoder(str(mirror / "models" / "multilingual-e5-small-zh"), prefix="query: ")
    vectors = center(encoder.encode(TEXTS[:3], cache=False))
    assert vectors.shape == (3, 384)
    assert find_model("mini-bert-zh").endswith("mini-bert-zh")


def test_whitening():
    rng = np.random.default_rng(0)
    cloud = (rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 5).astype(np.float32)
    assert mean_cosine(cloud) > 0.3 and abs(mean_cosine(center(cloud))) < 0.02
    white = whiten(cloud)
    assert np.cov(white.T, bias=True) == pytest.approx(np.eye(12), abs=1e-3)
    rotated = whiten(cloud, strength=0)  # only a rotation: distances stay
    assert np.linalg.norm(rotated[0] - rotated[1]) == pytest.approx(np.linalg.norm(cloud[0] - cloud[1]), rel=1e-4)
    assert whiten(cloud, dim=3).shape == (500, 3)
    pairs = [(i, j) for i in range(20) for j in range(20) if i != j]
    unit = cloud[:20] / np.linalg.norm(cloud[:20], axis=1, keepdims=True)
    assert mean_cosine(cloud[:20]) == pytest.approx(np.mean([unit[i] @ unit[j] for i, j in pairs]), abs=1e-5)
