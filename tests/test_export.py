"""Saved towers load elsewhere, and nothing of anybody's is overwritten."""

import json
import shutil

import numpy as np
import pytest

from textrec_utils.core.paths import project_data
from textrec_utils.datasets import DataError
from textrec_utils.encoder import quiet_loading
from textrec_utils.encoder.makers import write_makers
from textrec_utils.export import _dense, check_export, save_sentence_transformer
from textrec_utils.finetuning import TwoTowerConfig, train_two_tower

QUICK = {
    "steps": 4, "encoder_steps": 3, "users": 32, "pairs": 64, "items": 16, "hidden": 32, "dim": 16, "max_length": 16,
}  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"head": "linear", "whitening": 0.0},
        {"rung": "lora", "pooling": "cls"},
        {"rung": "whole", "similarity": "dot"},
    ],
)
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
    shorter = train_two_tower(
        taste, TwoTowerConfig(**{**QUICK, "head": "linear", "similarity": "dot"}), progress=False, cache=False
    )
    assert (
        save_sentence_transformer(shorter, folder) == folder
    )  # its own folder may be written again, and keeps nothing of before
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


def test_another_model_under_the_encoders_name_is_refused(taste, tmp_path):
    """The head was trained on the first one's vectors: with others it says nothing."""
    folder = shutil.copytree(project_data() / "models" / "mini-bert-zh", tmp_path / "model")
    tower = train_two_tower(taste, TwoTowerConfig(**QUICK), str(folder), progress=False, cache=False)
    save_sentence_transformer(tower, tmp_path / "tower")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(DataError, match="不是当初训练时的那个编码器.*请换回"):
        save_sentence_transformer(tower, tmp_path / "other")


def test_a_downloaded_model_is_not_overwritten(taste, tmp_path):
    """`--out` on a folder that someone else's model lies in, with or without modules.json."""
    folder = shutil.copytree(project_data() / "models" / "mini-bert-zh", tmp_path / "model")
    tower = train_two_tower(taste, TwoTowerConfig(**QUICK), progress=False, cache=False)
    for name in ("config.json", "modules.json"):
        (folder / name).touch()
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(DataError, match="不覆盖"):
            save_sentence_transformer(tower, folder)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    ours = save_sentence_transformer(tower, tmp_path / "tower")
    (ours / "notes.md").write_text("…")  # a reader's own file in a folder of ours
    with pytest.raises(DataError, match="notes.md"):
        check_export(tower.config, ours)
    (ours / "notes.md").unlink()
    assert check_export(tower.config, ours) == ours and sorted(p.name for p in tmp_path.iterdir()) == ["model", "tower"]


def test_a_tower_over_anothers_encoder_is_saved_with_its_makers_steps(taste, tmp_path):
    """[CLS], a prompt, a dense layer and normalisation stand before the head in the saved folder, too."""
    from sentence_transformers import SentenceTransformer

    makers = ["Dense", "Normalize"]
    folder = shutil.copytree(project_data() / "models" / "mini-bert-zh", tmp_path / "model")
    shutil.rmtree(folder / "1_Pooling")
    about = {"prompt": "商品：", "truncate_dim": 24}
    dense, _ = write_makers(folder, "cls+mean", 312, 40, tail=makers, **about)
    rng = np.random.default_rng(0)
    _dense(dense, rng.standard_normal((32, 624)) / 25, rng.standard_normal(32), "torch.nn.modules.activation.Tanh")
    texts = list(taste.dataset.items["text"])
    for more in ({}, {"rung": "whole"}, {"rung": "last_layer", "head": "linear"}):
        config = TwoTowerConfig(**QUICK | {"max_length": "auto"} | more)
        tower = train_two_tower(taste, config, str(folder), progress=False, cache=False)
        told = tower.settings()
        assert (told["pooling"], told["max_length"], told["prefix"]) == ("cls+mean", 40, "商品：")
        saved = save_sentence_transformer(tower, tmp_path / "tower")
        given = SentenceTransformer(str(saved), device="cpu").encode(texts, show_progress_bar=False)
        assert given == pytest.approx(tower.item_vectors, abs=1e-3)
