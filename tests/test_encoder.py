"""The encoder and the model that ships with the course: offline, never a pickle, the same vectors every time."""

import json
import shutil

import numpy as np
import pytest
import torch

from textrec_utils.core import DataError, project_data, sha256_of
from textrec_utils.encoder import POOLINGS, Encoder, find_model, fingerprint_of, loading, precision
from textrec_utils.encoder.batching import by_length, padded, passes
from textrec_utils.encoder.precision import autocast, bf16_unit, has_bf16, use_bf16
from textrec_utils.encoder.space import Whitening, center, mean_cosine, principal_directions, whiten

TEXTS = [
    "酒店房间很干净，服务也好", "宾馆的房间干净，服务员热情", "央行宣布下调存款准备金率",
    "", "hello 世界😀", "字" * 300,
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder():
    return Encoder("mini-bert-zh")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(tmp_path):
    """A copy of the shipped model, to be changed."""
    return shutil.copytree(project_data() / "models" / "mini-bert-zh", tmp_path / "copy")


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


def test_cache_is_checked(encoder, cache, capsys):
    first = encoder.encode_with_cost(TEXTS)
    second = encoder.encode_with_cost(TEXTS)
    assert not first.from_cache and second.from_cache and (first["vectors"] == second["vectors"]).all()
    assert second.cost.seconds == first.cost.seconds > 0
    assert (first.cost + second.cost).seconds == first.cost.seconds  # the same vectors are paid for once
    kept = next((cache / "vectors").rglob("*.safetensors"))
    kept.write_bytes(kept.read_bytes()[:-3] + b"xyz")
    third = encoder.encode_with_cost(TEXTS)
    assert not third.from_cache and (first["vectors"] == third["vectors"]).all()
    assert "已损坏" in capsys.readouterr().err


def test_one_new_text_costs_one(encoder, cache, monkeypatch):
    seen = []
    tokenize = encoder.tokenize
    monkeypatch.setattr(encoder, "tokenize", lambda texts: seen.extend(texts) or tokenize(texts))
    before = encoder.encode(["甲", "乙", "甲"])
    assert sorted(seen) == ["乙", "甲"] and (before[0] == before[2]).all()
    after = encoder.encode(["丙", "乙", "甲"])
    assert sorted(seen) == ["丙", "乙", "甲"] and (after[[2, 1]] == before[:2]).all()
    assert encoder.encode([]).shape == (0, 312)


def test_texts_are_told_apart_whatever_they_hold(encoder, cache):
    assert encoder.encode(["a\0b"]).shape == (1, 312)
    assert encoder.encode(["a", "b"]).shape == (2, 312)
    assert encoder.encode(["a", "b"]) == pytest.approx(encoder.encode(["a", "b"], cache=False), abs=1e-6)


def test_passes_hold_few_tokens_and_little_padding(encoder):
    """On a CPU a pass is as many tokens as its caches hold, whatever the number of texts; each text is in one pass."""
    texts = [text * times for times in (1, 7, 3) for text in ("短", "长一点的句子", "字" * 30) for _ in range(9)]
    made = passes(encoder.tokenize(texts), 64, "cpu")
    assert sorted(np.concatenate([rows for rows, _ in made])) == list(range(len(texts)))
    widths = [batch["input_ids"].shape for _, batch in made]
    assert all(rows * tokens <= 1024 for rows, tokens in widths) and widths[0][1] == 128 and len(widths) > 3
    assert sum(int(batch["attention_mask"].sum()) for _, batch in made) > 0.7 * sum(r * t for r, t in widths)
    for rows, batch in made:
        assert batch["input_ids"][0].tolist() == encoder.tokenize([texts[rows[0]]])["input_ids"][0].tolist()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_only_the_layers_that_a_pooling_reads_are_asked_for(pooling, monkeypatch):
    encoder, asked = Encoder("mini-bert-zh", pooling=pooling), []
    forward = encoder.model.forward
    monkeypatch.setattr(
        encoder.model, "forward", lambda **kw: asked.append(kw["output_hidden_states"]) or forward(**kw)
    )
    vectors = encoder.encode(TEXTS, cache=False)
    assert set(asked) == {pooling == "first_last"}
    assert vectors == pytest.approx(POOLINGS[pooling](*encoder.hidden_states(TEXTS)).numpy(), abs=1e-5)


def test_vectors_do_not_depend_on_the_number_of_threads(encoder):
    threads, texts = torch.get_num_threads(), [f"{n}号房间" * 40 for n in range(40)]
    try:
        made = []
        for n in (1, 3):
            torch.set_num_threads(n)
            made.append(encoder.encode(texts, cache=False))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    assert (made[0] == made[1]).all()


def in_json(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def other_weights(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"][7] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def other_vocabulary(folder):
    def swap(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["酒"], vocabulary["央"] = vocabulary["央"], vocabulary["酒"]

    in_json(folder / "tokenizer.json", swap)
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    first, second = lines.index("酒"), lines.index("央")
    lines[first], lines[second] = lines[second], lines[first]
    (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")


def other_activation(folder):
    in_json(folder / "config.json", lambda config: config.update(hidden_act="relu"))


@pytest.mark.parametrize("change", [other_weights, other_vocabulary, other_activation])
def test_a_changed_model_never_gets_the_first_ones_vectors(encoder, cache, copy, change):
    texts = TEXTS[:3]
    first = encoder.encode(texts)
    assert Encoder(str(copy)).fingerprint == encoder.fingerprint  # where it lies does not matter
    change(copy)
    other = Encoder(str(copy))
    made = other.encode_with_cost(texts)
    assert other.fingerprint != encoder.fingerprint and not made.from_cache
    assert np.abs(made["vectors"][0] - first[0]).max() > 1e-3
    assert made["vectors"] == pytest.approx(other.encode(texts, cache=False), abs=1e-6)


@pytest.mark.parametrize("change", [{"pooling": "cls"}, {"max_length": 4}, {"prefix": "query: "}, {"bf16": True}])
def test_a_changed_setting_never_gets_the_first_ones_vectors(encoder, cache, change):
    encoder.encode(TEXTS[:1])
    made = Encoder("mini-bert-zh", **change).encode_with_cost(TEXTS[:1])
    assert not made.from_cache and (made["vectors"] != encoder.encode(TEXTS[:1])).any()


def test_weights_changed_in_place_never_get_the_old_vectors(cache):
    encoder = Encoder("mini-bert-zh")
    first = encoder.encode(TEXTS[:1])
    with torch.no_grad():
        for factor in (2.0, 0.5):  # as many changes, another outcome
            encoder.model.embeddings.LayerNorm.weight.mul_(factor)
            made = encoder.encode_with_cost(TEXTS[:1])
            assert made["vectors"] == pytest.approx(encoder.encode(TEXTS[:1], cache=False), abs=1e-6)
    assert made["vectors"] == pytest.approx(first, abs=1e-6)
    encoder.model.embeddings.LayerNorm.bias = torch.nn.Parameter(torch.ones(312))
    assert not encoder.encode_with_cost(TEXTS[:1]).from_cache


class Backwards(Encoder):
    def tokenize(self, texts):
        return super().tokenize([text[::-1] for text in texts])


def test_a_subclass_never_gets_the_vectors_of_another_class(encoder, cache, monkeypatch):
    first = encoder.encode(TEXTS[:1])
    made = Backwards().encode_with_cost(TEXTS[:1])
    assert not made.from_cache and np.abs(made["vectors"] - first).max() > 1e-3
    assert Backwards().encode_with_cost(TEXTS[:1]).from_cache
    monkeypatch.setattr("inspect.getsource", lambda kind: "another body")
    assert not Backwards().encode_with_cost(TEXTS[:1]).from_cache


def test_loading_draws_no_random_numbers():
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    Encoder("mini-bert-zh")  # it has no pooler: one is drawn
    assert (torch.rand(3) == first).all()


def test_unwritable_cache_costs_only_the_cache(encoder, monkeypatch, tmp_path, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("TEXTREC_CACHE", str(blocker))
    assert encoder.encode(["好"]).shape == (1, 312)
    assert "没有写进缓存" in capsys.readouterr().err


def test_fingerprint_stays_when_the_encoder_was_used(encoder):
    encoder.encode(TEXTS, cache=False)  # sets the tokenizer's truncation and padding
    assert fingerprint_of(encoder.model, encoder.tokenizer) == encoder.fingerprint


def test_refusals(tmp_path):
    for name in ("no-such-model", "./nowhere", "someone/no-such-model"):
        with pytest.raises(DataError, match=f"模型 {name} 取不到.*三个办法") as error:
            Encoder(name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="没有池化方式"):
        Encoder("mini-bert-zh", pooling="median")
    with pytest.raises(TypeError, match="第 1 条文本是 NoneType"):
        Encoder("mini-bert-zh").encode(["好", None])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="没有分词器的词表"):  # else every word would be unknown
        Encoder(str(broken))
    (broken / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n好\n", encoding="utf-8")
    with pytest.raises(DataError, match="取不到"):
        Encoder(str(broken))


def test_the_shipped_model_wins_over_a_folder_of_its_name(monkeypatch, tmp_path, copy, encoder):
    other_activation(copy.rename(tmp_path / "mini-bert-zh"))
    monkeypatch.chdir(tmp_path)
    assert find_model("mini-bert-zh") == str(project_data() / "models" / "mini-bert-zh")
    assert Encoder("mini-bert-zh").fingerprint == encoder.fingerprint != Encoder("./mini-bert-zh").fingerprint
    assert encoder.revision == ""


def test_a_plain_wheel_has_other_models_and_says_how_to_get_its_own(monkeypatch, tmp_path, copy):
    """Without the course's data folder a reader's own model loads; the course's is had by a clone."""
    monkeypatch.setattr("textrec_utils.core.paths.project_root", lambda: tmp_path / "site-packages")
    with pytest.raises(DataError, match="没有课程的数据 .*请克隆课程的仓库"):
        project_data()
    with pytest.raises(DataError, match="请克隆课程的仓库"):
        find_model("mini-bert-zh")
    monkeypatch.chdir(copy.parent)
    assert Encoder("copy").dim == Encoder(str(copy)).dim == 312
    with pytest.raises(DataError, match="模型 no-such-model 取不到"):
        Encoder("no-such-model")


def test_a_missing_default_model_is_not_offered_in_its_own_place(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "project_data", lambda: tmp_path)
    with pytest.raises(DataError, match="模型 mini-bert-zh 取不到.*三个办法：重新克隆课程；") as error:
        Encoder("mini-bert-zh")
    assert "用课程自带的" not in str(error.value)


def lost(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize("damage", [other_weights, other_activation, lost("vocab.txt"), lost("SHA256SUMS")])
def test_a_damaged_shipped_model_is_told(monkeypatch, tmp_path, copy, damage):
    shutil.move(copy, tmp_path / "models" / "mini-bert-zh")
    monkeypatch.setattr(loading, "project_data", lambda: tmp_path)
    Encoder("mini-bert-zh")
    damage(tmp_path / "models" / "mini-bert-zh")
    with pytest.raises(DataError, match="mini-bert-zh 已损坏.*请重新克隆") as error:
        Encoder("mini-bert-zh")
    assert "\n" not in str(error.value)


def test_hub_models_can_be_pinned(monkeypatch, tmp_path, copy, encoder):
    """The hub's local cache as huggingface_hub lays it out: two commits, of which `main` is the second."""
    first, second = "a" * 40, "b" * 40
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(copy, repository / "snapshots" / first)
    other_activation(copy)
    shutil.move(copy, repository / "snapshots" / second)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(second)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    latest, pinned = Encoder("someone/tiny"), Encoder(f"someone/tiny@{first}")
    assert (latest.revision, pinned.revision) == (second, first)
    assert pinned.fingerprint == encoder.fingerprint != latest.fingerprint


def test_bf16_where_the_machine_has_it(monkeypatch, tmp_path):
    monkeypatch.delenv("TEXTREC_BF16", raising=False)
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    assert bf16_unit() == "" and not has_bf16()  # no such file: not Linux
    for flags, unit in (("avx512f", ""), ("avx512_bf16", "avx512_bf16"), ("avx512_bf16 amx_bf16 amx_tile", "amx_bf16")):
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n")
        assert bf16_unit() == unit and use_bf16("auto") == use_bf16(None) == bool(unit)
    assert not use_bf16("float32") and use_bf16("bf16") and use_bf16(True) and not has_bf16("mps")
    monkeypatch.setenv("TEXTREC_BF16", "0")
    assert not use_bf16("auto") and use_bf16("bf16")
    with pytest.raises(ValueError, match="没有精度 'half'"):
        use_bf16("half")
    a = torch.ones(2, 2)
    for enabled, kind in ((True, torch.bfloat16), (False, torch.float32)):
        with autocast("cpu", enabled):
            assert (a @ a).dtype == kind


def test_batches_by_length():
    assert [rows.tolist() for rows in by_length([3, 9, 3, 7, 3], 2)] == [[1, 3], [0, 2], [4]]
    assert by_length([], 2) == []
    assert [rows.tolist() for rows in by_length([3, 9, 3, 4, 0], 3, tokens=8)] == [[1], [3, 0], [2, 4]]
    ids, mask = padded([[5, 6], torch.tensor([7]), np.array([8, 9, 1], dtype=np.uint16)], pad=4, multiple=4)
    assert ids.tolist() == [[5, 6, 4, 4], [7, 4, 4, 4], [8, 9, 1, 4]]
    assert mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]


@pytest.mark.in_mirror("models/multilingual-e5-small-zh")
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


def test_whitening_is_a_map_that_can_be_kept():
    corners = np.array([[4, 1], [4, -1], [-4, 1], [-4, -1]], dtype=np.float32) + np.float32(10)
    value, basis = principal_directions(np.array([[16.0, 0], [0, 1]]))
    assert value.tolist() == [16, 1] and basis.tolist() == [[1, 0], [0, 1]]
    assert whiten(corners).tolist() == [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    half = Whitening.fit(corners, dim=1, strength=0.5)
    assert half.mean.tolist() == [10, 10] and half.basis.tolist() == [[0.5], [0]]
    assert half(np.array([[14, 99], [10, 0]], dtype=np.float32)).tolist() == [[2], [0]]


def test_directions_have_the_sign_of_their_largest_entry():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6))
    value, basis = principal_directions(x.T @ x, 4)
    assert x.T @ x @ basis == pytest.approx(basis * value, abs=1e-9) and (np.diff(value) < 0).all()
    assert (basis.max(0) > -basis.min(0)).all() and basis.shape == (6, 4)
