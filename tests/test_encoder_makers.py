"""Encoders as their makers meant them: the vectors of SentenceTransformer, or a refusal that names cause and remedy."""

import json
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from textrec_utils.core import DataError, project_data
from textrec_utils.encoder import Encoder, loading, quiet_loading
from textrec_utils.encoder.lengths import length_for

WORDS = list(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多"
)
TEXTS = ["人在中国", "的", "我们要用这个方法来生产", "Big Data 中的大人", "一是不了" * 40]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def words(template: str, lower=False, **special):
    """A tokenizer of single characters. template: where its special tokens stand, e.g. `[CLS] $A [SEP]`."""
    from tokenizers import normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"BDabdgit"]
    made = Tokenizer(models.WordLevel({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    if lower:
        made.normalizer = normalizers.Lowercase()
    used = [(token, pieces.index(token)) for token in template.split() if token != "$A"]
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", **special)


def bert(**more):
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=80, max_position_embeddings=64, **SMALL, **more))


def roberta():
    from transformers import RobertaConfig, RobertaModel

    return RobertaModel(RobertaConfig(vocab_size=80, max_position_embeddings=66, pad_token_id=0, **SMALL))


def t5():
    from transformers import T5Config, T5Model

    return T5Model(T5Config(vocab_size=80, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                            decoder_start_token_id=0))  # fmt: skip


def decoder(head: bool):
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

    config = Qwen3Config(vocab_size=80, head_dim=8, num_key_value_heads=1, max_position_embeddings=256, **SMALL)
    return (Qwen3ForCausalLM if head else Qwen3Model)(config)


def distilbert():
    from transformers import DistilBertConfig, DistilBertModel

    return DistilBertModel(DistilBertConfig(vocab_size=80, max_position_embeddings=64, dim=16, n_layers=2, n_heads=2,
                                            hidden_dim=24))  # fmt: skip


BERT = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 64}
EOS = {"pad_token": "[PAD]", "eos_token": "[SEP]"}
BERTS = "[CLS] $A [SEP]"


def save(folder, model, tokenizer):
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with quiet_loading():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def bare(model, template=BERTS, special=BERT, **more):
    return lambda folder: save(folder, model(), words(template, **special, **more))


def steps(pooling, *tail, length=48, prompts=None, model=bert, template=BERTS, special=BERT, **said):
    """A folder as SentenceTransformer saves it."""

    def make(folder):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Pooling, Transformer

        save(folder.with_name("bare"), model(), words(template, **special))
        torch.manual_seed(2)
        read = Transformer(str(folder.with_name("bare")), **({"max_seq_length": length} if length else {}))
        with quiet_loading():
            whole = [read, Pooling(16, pooling, **said), *(step() for step in tail)]
            SentenceTransformer(modules=whole, device="cpu", **(prompts or {})).save(str(folder))
        return folder

    return make


def dense(**more):
    def make():
        from sentence_transformers.models import Dense

        return Dense(16, 12, **more)

    return make


def norm():
    from sentence_transformers.models import Normalize

    return Normalize()


def layer_norm():
    from sentence_transformers.models import LayerNorm

    made = LayerNorm(16)
    torch.nn.init.normal_(made.norm.weight)
    return made


def changed(make, path, **values):
    """The same folder with other values in one of its JSON files."""

    def made(folder):
        make(folder)
        content = json.loads((folder / path).read_text())
        (folder / path).write_text(json.dumps(content | values))
        return folder

    return made


QUERIES = {"prompts": {"query": "人的 ", "document": "大 "}, "default_prompt_name": "document"}
FOLDERS = {
    "bert": bare(bert), "bert, no length said": bare(bert, special=BERT | {"model_max_length": 10**9}),
    "distilbert": bare(distilbert), "roberta": bare(roberta, special=BERT | {"model_max_length": 64}),
    "t5": bare(t5, "$A [SEP]", EOS), "decoder": bare(lambda: decoder(True), "$A [SEP]", EOS | {"padding_side": "left"}),
    "decoder without a head": bare(lambda: decoder(False), "$A [SEP]", EOS | {"padding_side": "left"}),
    "cls, normalized": steps("cls", norm), "mean": steps("mean"), "max": steps("max"),
    "mean by root": steps("mean_sqrt_len_tokens"), "weighted": steps("weightedmean"), "last": steps("lasttoken"),
    "cls and max": steps(("cls", "max")), "dense": steps("mean", dense()),
    "layer norm": steps("mean", layer_norm, norm),
    "dense, another activation": steps("mean", dense(bias=False, activation_function=torch.nn.Identity()), norm),
    "dense, residual": steps("mean", dense(use_residual=True)), "short": steps("mean", length=9),
    "roberta, cls": steps("cls", norm, model=roberta), "prompts": steps("mean", norm, prompts=QUERIES),
    "prompts left out of the pooling": steps("mean", prompts=QUERIES, include_prompt=False),
    "qwen embedding": steps("lasttoken", norm, model=lambda: decoder(True), template="$A [SEP]", length=None,
                            special=EOS | {"padding_side": "left"}),
    "sentence t5": steps("mean", dense(activation_function=torch.nn.Identity()), norm, model=t5, template="$A [SEP]",
                         special=EOS),
    "lower case": changed(steps("mean"), "sentence_bert_config.json", do_lower_case=True),
    "first dimensions": changed(steps("mean", norm), "config_sentence_transformers.json", truncate_dim=6),
}  # fmt: skip


@pytest.mark.parametrize("make", FOLDERS.values(), ids=FOLDERS)
def test_vectors_of_sentence_transformer(tmp_path, make):
    from sentence_transformers import SentenceTransformer

    folder = make(tmp_path / "model")
    with quiet_loading():
        theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False)
    encoder = Encoder(str(folder))
    ours = encoder.encode(TEXTS, cache=False)
    assert ours.shape == theirs.shape == (len(TEXTS), encoder.dim)
    assert ours == pytest.approx(theirs, abs=2e-5)
    alone = np.concatenate([encoder.encode([text], cache=False) for text in TEXTS])
    assert ours == pytest.approx(alone, abs=2e-5)  # whatever stands beside a text
    assert Encoder(str(folder)).fingerprint == encoder.fingerprint


def test_the_courses_model_is_read_as_its_own_files_say():
    """By its own files 128 tokens and the mean, elsewhere too; longer where one asks for it."""
    from sentence_transformers import SentenceTransformer

    long = "酒店房间很干净，服务也好。" * 40
    encoder = Encoder()
    assert (encoder.pooling, encoder.max_length, encoder.most, encoder.prefix) == ("mean", 128, 512, "")
    with quiet_loading():
        theirs = SentenceTransformer(str(project_data() / "models" / "mini-bert-zh"), device="cpu").float()
    assert encoder.encode([long], cache=False) == pytest.approx(theirs.encode([long]), abs=1e-4)
    assert encoder.lengths([long, "好"]).tolist() == [522, 3]
    assert np.abs(Encoder(max_length=512).encode([long], cache=False) - theirs.encode([long])).max() > 0.1


def test_what_is_asked_for_goes_before_what_the_makers_say(tmp_path):
    folder = str(FOLDERS["prompts"](tmp_path / "model"))
    encoder = Encoder(folder, pooling="cls", max_length=5, prefix="none")
    assert (encoder.pooling, encoder.max_length, encoder.prefix, len(encoder.tail)) == ("cls", 5, "", 0)
    hidden, mask = encoder.hidden_states(TEXTS)
    assert mask.shape == (5, 5) and encoder.encode(TEXTS, cache=False) == pytest.approx(
        hidden[-1][:, 0].numpy(), abs=1e-6
    )
    assert Encoder(folder).prefix == "大 " and Encoder(folder, prefix="query").prefix == "人的 "
    assert Encoder(folder, prefix="一个 ").prefix == "一个 "
    for length, said in (
        (65, "一次读 3 到 64 个词元，max_length 不能是 65"),
        (2, "不能是 2"),
        ("long", "auto 或一个整数"),
    ):
        with pytest.raises(DataError, match=said):
            Encoder(folder, max_length=length)


def test_a_tokenizer_without_padding_gets_some(tmp_path):
    """SentenceTransformer refuses several texts here; a text's vector is the one that it has alone."""
    for special, pad in (({"eos_token": "[SEP]"}, "[SEP]"), ({}, "[UNK]")):
        folder = save(tmp_path / pad, decoder(True), words("$A [SEP]", **special))
        encoder = Encoder(str(folder))
        assert encoder.tokenizer.pad_token == pad and encoder.pooling == "lasttoken"
        made = encoder.encode(TEXTS, cache=False)
        alone = np.concatenate([encoder.encode([text], cache=False) for text in TEXTS])
        assert made == pytest.approx(alone, abs=1e-5) and np.abs(made[0] - made[1]).max() > 0.1


# ---------------------------------------------------------------- refusals


def without(*names):
    def damage(folder):
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        for name in names:
            del weights[name]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return damage


def pointer(name):
    return lambda folder: (folder / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    )


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pieces(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"\n\x0e")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')


def value(path, **values):
    return lambda folder: changed(lambda same: same, path, **values)(folder)


def step(kind):
    def damage(folder):
        content = json.loads((folder / "modules.json").read_text())
        content[-1]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(content))

    return damage


def cut(name, size=200):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def lost(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


BROKEN = [
    ("bert", without("encoder.layer.1.output.dense.weight", "encoder.layer.0.output.dense.bias"),
     "权重不全，缺 encoder.layer.0.output.dense.bias 等 2 项.*重新下载"),
    ("bert", without("embeddings.word_embeddings.weight"), "缺 embeddings.word_embeddings.weight，补上的只能是随机数"),
    ("bert", value("config.json", vocab_size=90), "权重和 config.json 对不上"),
    ("bert", pointer("model.safetensors"), "model.safetensors 是Git LFS的指针.*git lfs pull"),
    ("bert", pointer("tokenizer.json"), "tokenizer.json 是Git LFS的指针"),
    ("bert", pickled, "只有 pytorch_model.bin.*pickle.*save_pretrained"),
    ("t5", pieces, "只有 spiece.model，读它要 sentencepiece：请 pip install sentencepiece"),
    ("bert", lost("config.json"), "没有 config.json"),
    ("bert", lost("tokenizer.json", "tokenizer_config.json"), "没有分词器的词表"),
    ("bert", cut("model.safetensors"), "权重文件不完整"),
    ("bert", cut("config.json", 20), "config.json 不是完整的JSON"),
    ("bert", value("config.json", model_type="nobert"), "结构这个版本的 transformers 不认识"),
    ("bert", value("config.json", auto_map={"AutoModel": "own.Own"}, model_type="own"), "要运行它自带的代码"),
    ("dense", step("sentence_transformers.models.CNN"), "modules.json 里有 CNN 这样的步骤"),
    ("dense", step("own.Head"), "modules.json 里有 own.Head"),
    ("dense", pointer("2_Dense/model.safetensors"), "2_Dense 读不全"),
    ("dense", value("2_Dense/config.json", activation_function="os.system"), "不是torch的激活函数，这里不运行"),
    ("dense", value("2_Dense/config.json", activation_function="torch.load"), "不是torch的激活函数，这里不运行"),
    ("cls, normalized", value("1_Pooling/config.json", pooling_mode="median"), "池化方式 median 这里不会"),
    ("prompts", value("config_sentence_transformers.json", default_prompt_name="task"), "默认提示 task 不在"),
]  # fmt: skip


@pytest.mark.parametrize("make, damage, said", BROKEN, ids=[said[:30] for *_, said in BROKEN])
def test_each_cause_has_its_own_sentence(tmp_path, make, damage, said):
    folder = FOLDERS[make](tmp_path / "model")
    Encoder(str(folder))
    damage(folder)
    with pytest.raises(DataError, match=said) as error:
        Encoder(str(folder))
    assert "\n" not in str(error.value) and str(error.value).endswith("。")


def in_the_hubs_cache(monkeypatch, tmp_path, make, commit="a" * 40):
    """A model as huggingface_hub keeps it, by the name of someone/tiny."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    (repository / "snapshots").mkdir(parents=True)
    made = make(tmp_path / "made")
    shutil.copytree(made, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


def raising(error):
    def ask(*args, **kwargs):
        raise error

    return ask


def test_a_part_of_a_model_in_the_hubs_cache_is_not_taken_for_the_whole(monkeypatch, tmp_path):
    """Who loads the weights alone leaves `modules.json` behind: the mean in its place would be a guess."""
    repository = in_the_hubs_cache(monkeypatch, tmp_path, FOLDERS["cls, normalized"])
    assert Encoder("someone/tiny").pooling == "cls"
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", raising(ConnectionError("no route")))
    assert Encoder("someone/tiny").pooling == "cls"  # nobody was asked
    snapshot = repository / "snapshots" / ("a" * 40)
    (snapshot / "modules.json").unlink()
    with pytest.raises(DataError, match="缓存里的模型 someone/tiny 不全，看不出制作者怎样池化.*联网"):
        Encoder("someone/tiny")
    (repository / ".no_exist" / ("a" * 40)).mkdir(parents=True)
    (repository / ".no_exist" / ("a" * 40) / "modules.json").touch()  # somebody has asked: there is none
    assert Encoder("someone/tiny").pooling == "mean"


HUB = [
    ("GatedRepoError", "要先在模型站同意它的条款"), ("RevisionNotFoundError", "没有版本 v9"),
    ("RepositoryNotFoundError", "模型站上没有 someone/none@v9"),
    ("ConnectError", "取不到（模型站没有给出它：ConnectError）"),
]  # fmt: skip


@pytest.mark.parametrize("name, said", HUB)
def test_why_the_hub_gives_nothing(monkeypatch, tmp_path, name, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kind = type(name, (Exception,), {})
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", raising(kind(name)))
    with pytest.raises(DataError, match=said) as error:
        Encoder("someone/none@v9")
    assert "\n" not in str(error.value)


def test_a_socks_proxy_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    error = ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", raising(error))
    with pytest.raises(DataError, match="SOCKS代理（socks5://127.0.0.1:9）.*pip install socksio"):
        Encoder("someone/none")


@pytest.mark.parametrize("name, revision", [("someone/tiny", None), ("someone/tiny@v2", "v2")])
def test_a_model_from_the_hub_is_asked_for_by_its_own_name(monkeypatch, tmp_path, name, revision):
    """Under that name the cache must find it the next time, without a network."""
    folder, asked = FOLDERS["cls, normalized"](tmp_path / ("a" * 40)), []

    def fetch(model, *file, revision, local_files_only=False, **kinds):
        if local_files_only:
            raise FileNotFoundError
        asked.append((model, *file, revision))
        return str(folder)

    for function in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{function}", fetch)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    assert loading.model_folder(name) == folder
    assert asked == [("someone/tiny", revision), ("someone/tiny", "modules.json", revision)]


def test_from_the_hub_all_that_says_how_to_read_is_fetched(monkeypatch, tmp_path):
    """Weights, tokenizer and every step's folder; no pickles and no second format."""
    from fnmatch import fnmatch

    files = ["1_Pooling/config.json", "2_Dense/model.safetensors", "config.json", "modules.json", "model.safetensors",
             "sentencepiece.bpe.model", "vocab.txt", "merges.txt", "tokenizer.json"]  # fmt: skip
    others = [
        "pytorch_model.bin",
        "onnx/config.json",
        "openvino/openvino_model.xml",
        "README.md",
        "2_Dense/pytorch_model.bin",
    ]

    def taken(name):
        return any(fnmatch(name, p) for p in loading.READ) and not any(fnmatch(name, p) for p in loading.NOT_READ)

    assert [name for name in files + others if taken(name)] == files


# ---------------------------------------------------------------- how much of a text


def test_length_by_the_data():
    """128 where nearly all texts are shorter, as long as 95 of 100 texts else; never more than the model can or than
    the cost allows."""
    short = length_for([20] * 99 + [400], most=512)
    assert (short.max_length, short.cut, short.cost) == (128, 0.01, 1.0 * (99 * 20 + 128) / (99 * 20 + 128))
    lengths = list(range(201, 401))
    long = length_for(lengths, most=512)
    assert (
        long.max_length == 392
        and long.cut == 8 / 200
        and long.cost == pytest.approx(np.minimum(lengths, 392).mean() / 128)
    )
    assert "每段文字读392个词元，4.0%的文字更长" in str(long) and "的2.3倍" in str(long)
    assert length_for(lengths, most=256).max_length == 256 and length_for(lengths, most=64).max_length == 64
    dear = length_for(lengths, most=512, parameters=10**9)
    assert 128 <= dear.max_length < 392 and length_for([], most=512).max_length == 128
    assert length_for(lengths, most=512, parameters=10**12).max_length == 128


@pytest.mark.parametrize("name", ["caixin", "amazon-cn", "kuairec"])
def test_the_courses_other_data_are_read_as_ever(mirror, name):
    from textrec_utils.datasets import load_dataset

    texts = list(load_dataset(name).items["text"])
    assert length_for(Encoder().lengths(texts), most=512).max_length == 128
