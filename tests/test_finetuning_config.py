"""Settings: groups that document themselves, refusals in one sentence, a round trip."""

import json
from dataclasses import fields, replace

import pytest

from textrec_utils.core.errors import DataError
from textrec_utils.finetuning import TwoTowerConfig
from textrec_utils.finetuning.config import GROUPS
from textrec_utils.losses import LOSSES, Loss


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
    ("chunk", 0, "chunk 至少是 1"), ("steps", -5, "steps 至少是 0"), ("steps", 0, "一步也没有"),
    ("temperature", 0.0, "temperature 应是正数"), ("half_life", float("nan"), "half_life 应是正数"),
    ("dropout", 1.0, "dropout 是一个比例"), ("history_dropout", -0.1, "history_dropout 是一个比例"),
    ("max_length", 1, "max_length 至少是 3"), ("pooling", "median", "pooling 应是 auto"),
    ("max_length", "long", "auto 或一个整数"),
    ("learning_rate", -1.0, "learning_rate 应是正数"),
])  # fmt: skip
def test_config_refuses_impossible_numbers(name, value, message):
    with pytest.raises(ValueError, match=message):
        TwoTowerConfig(**{name: value})


def test_settings_go_to_json_and_come_back():
    config = TwoTowerConfig(rung="lora", steps=10, profile=True, learning_rate=3e-3)
    assert TwoTowerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert replace(config, steps=11).to_dict() == config.to_dict() | {"steps": 11}
    assert len(config.to_dict()) == 34 and TwoTowerConfig.from_dict({}) == TwoTowerConfig()


def test_an_unknown_setting_is_refused_with_its_neighbours():
    with pytest.raises(DataError, match="没有 learnin_rate 这一项设置；是不是 .*learning_rate"):
        TwoTowerConfig.from_dict({"learnin_rate": 1e-3})
    with pytest.raises(DataError, match="可用的有 .*rung"):
        TwoTowerConfig.from_dict({"颜色": "红"})
    with pytest.raises(TypeError):
        TwoTowerConfig("lora")  # by name alone: there are too many for an order


def test_every_field_has_a_group_a_default_and_a_sentence():
    told = TwoTowerConfig.describe()
    assert set(told) == {f.name for f in fields(TwoTowerConfig)}
    assert {name: default for name, (_, default, _) in told.items()} == TwoTowerConfig().to_dict()
    assert all(sentence.endswith(("。", "）。")) for _, _, sentence in told.values())
    assert list(dict.fromkeys(group for group, _, _ in told.values())) == [g.__doc__ for g in GROUPS]
    assert told["half_life"][0] == "历史怎样变成用户向量" and "减半" in told["half_life"][2]


def test_the_table_of_losses_says_which_words_there_are(monkeypatch):
    said = TwoTowerConfig.describe()["loss"][2]
    assert said.startswith("full（全目录softmax）、in_batch（批内负例，logQ校正）、") and said.endswith("、bpr。")
    monkeypatch.setitem(LOSSES, "hinge", Loss("pairs", "none", lambda asked: asked.users.sum(), "铰链"))
    assert TwoTowerConfig.describe()["loss"][2].endswith("、bpr、hinge（铰链）。")
    with pytest.raises(ValueError, match="loss 应是 .*bpr、hinge 之一"):
        TwoTowerConfig(loss="magic")
    with pytest.raises(ValueError, match="loss='hinge' 不读另抽的负例，hard_negatives 只用于 in_batch、.*bpr。"):
        TwoTowerConfig(loss="hinge", hard_negatives=1)
    with pytest.raises(ValueError, match="items=64"):
        TwoTowerConfig(loss="hinge", rung="whole")
    for wrong in (("users", "always"), ("pairs", "some"), ("triples", "none")):
        with pytest.raises(ValueError, match="没有 .* 这种 loss"):
            Loss(*wrong, lambda asked: asked.users.sum())
