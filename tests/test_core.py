"""The core: ledgers that add, keys that miss, files that are whole, processes and signals, words made harmless."""

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from textrec_utils.core import (
    Cost,
    DataError,
    Interrupts,
    TextrecError,
    TooLittleData,
    cached_arrays,
    cached_rows,
    in_own_process,
    machine,
    store,
    write_atomic,
)
from textrec_utils.core.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from textrec_utils.core.escape import in_csv, in_figure, in_format, in_markdown
from textrec_utils.core.files import atomic_folder, atomic_path
from textrec_utils.core.processes import Terminated
from textrec_utils.core.seeds import seeded

not_windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# ---------------------------------------------------------------- costs


def test_a_ledger_counts_each_step_once():
    encode, train, rank = Cost(2.5, 10, "encode", "texts"), Cost(1.0, 30, "train"), Cost(0.5, 5, "rank")
    tower = encode + train
    assert (tower + encode + rank).seconds == 4.0 and (tower + tower).seconds == 3.5
    assert (tower + rank).by_stage() == {"encode": 2.5, "train": 1.0, "rank": 0.5}
    assert (tower + rank).peak_mb == 30 and Cost().seconds == 0 and encode.seconds == 2.5
    assert (Cost(1.0, 0, "rank") + Cost(1.0, 0, "rank")).seconds == 2.0  # two steps that only look alike


# ---------------------------------------------------------------- the store


def counted(value=1.0):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.full(3, value)}

    return compute, calls


def test_arrays_are_computed_once_and_keep_their_cost(cache):
    compute, calls = counted()
    first = cached_arrays("x", {"k": 1}, compute, stage="train")
    again = cached_arrays("x", {"k": 1}, compute, stage="train")
    assert len(calls) == 1 and not first.from_cache and again.from_cache
    assert (again["a"] == 1).all() and again.cost.seconds == first.cost.seconds > 0
    assert (first.cost + again.cost).seconds == first.cost.seconds  # one and the same step
    cached_arrays("x", {"k": 1}, compute, cache=False)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "kind, depends", [("y", {"k": 1}), ("x", {"k": 2}), ("x", {"k": 1, "l": None}), ("x", {"k": "1"})]
)
def test_each_part_of_a_key_counts(cache, kind, depends):
    compute, calls = counted()
    cached_arrays("x", {"k": 1}, compute)
    cached_arrays(kind, depends, compute)
    assert len(calls) == 2


def test_code_and_libraries_count(cache, monkeypatch):
    """A module that is reached only through another one counts as well; one that isn't reached does not."""
    key = store.code_key("textrec_utils.ranking")
    assert "textrec_utils.ranking" in key["sources"] and "textrec_utils.core.files" in key["sources"]
    assert "textrec_utils.plotting" not in key["sources"]
    assert {"numpy", "python", "scipy"} <= set(key["libraries"])
    compute, calls = counted()
    compute.__module__ = "textrec_utils.ranking"
    cached_arrays("x", {}, compute)
    cached_arrays("x", {}, compute)
    assert len(calls) == 1
    imports = store._imports
    for module in ("textrec_utils.ranking", "textrec_utils.core.files"):

        def edited(name, module=module):
            checksum, own, libraries = imports(name)
            return ("edited" if name == module else checksum), own, libraries

        monkeypatch.setattr(store, "_imports", edited)
        before = len(calls)
        cached_arrays("x", {}, compute)
        assert len(calls) == before + 1, module
    monkeypatch.setattr(store, "_imports", imports)
    version = store.importlib.metadata.version
    monkeypatch.setattr(store.importlib.metadata, "version", lambda n: "0" if n == "numpy" else version(n))
    before = len(calls)
    cached_arrays("x", {}, compute)
    assert len(calls) == before + 1


def test_a_library_is_asked_for_its_version_once(monkeypatch):
    asked = []
    monkeypatch.setattr(store.importlib.metadata, "version", lambda name: asked.append(name) or "1")
    keys = [store.code_key("textrec_utils.ranking") for _ in range(3)]
    assert keys[0] == keys[2] and len(asked) == len(set(asked)) > 1


def test_a_function_of_ones_own_counts_by_its_source(cache):
    def one():
        return {"a": np.ones(1)}

    def two():
        return {"a": np.full(1, 2.0)}

    assert cached_arrays("x", {}, one)["a"] == 1 and cached_arrays("x", {}, two)["a"] == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "replaced"])
def test_damaged_files_are_told_and_made_anew(cache, capsys, damage):
    compute, calls = counted()
    cached_arrays("x", {}, compute)
    (path,) = (cache / "x").iterdir()
    data = path.read_bytes()
    damaged = {"cut": data[:-1], "changed": data[:-1] + b"\1", "emptied": b"", "replaced": b"{}" * 9}
    path.write_bytes(damaged[damage])
    assert (cached_arrays("x", {}, compute)["a"] == 1).all() and len(calls) == 2
    assert "已损坏" in capsys.readouterr().err
    assert cached_arrays("x", {}, compute).from_cache


def test_a_full_disk_costs_the_cache_not_the_result(cache, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    compute, _ = counted()
    assert (cached_arrays("x", {}, compute)["a"] == 1).all()
    rows = cached_rows("v", {}, ["a"], lambda texts: np.ones((len(texts), 2), np.float32))
    assert rows["vectors"].shape == (1, 2) and capsys.readouterr().err.count("没有写进缓存") == 2


def test_two_at_once_compute_once(cache, capsys):
    calls = []

    def compute():
        calls.append(1)
        time.sleep(0.3)
        return {"a": np.ones(1)}

    for wanted in (1, 2):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: cached_arrays("x", {}, compute)["a"][0], range(4)))
        assert found == [1.0] * 4 and len(calls) == wanted
        (path,) = (cache / "x").iterdir()
        path.write_bytes(path.read_bytes()[:-1])  # met by all of them: made anew once, and said once
    assert capsys.readouterr().err.count("已损坏") == 1


# ---------------------------------------------------------------- rows by text


def letters():
    asked = []

    def compute(texts):
        asked.append(list(texts))
        return np.array([[len(t), sum(map(ord, t))] for t in texts], dtype=np.float32)

    return compute, asked


def test_one_new_text_costs_one(cache):
    compute, asked = letters()
    first = cached_rows("v", {"m": 1}, ["甲", "乙", "甲"], compute)
    assert asked == [["甲", "乙"]] and (first["vectors"][0] == first["vectors"][2]).all()
    more = cached_rows("v", {"m": 1}, ["丙", "乙", "甲"], compute)
    assert asked[1:] == [["丙"]] and not more.from_cache
    assert more["vectors"].tolist() == [[1, ord("丙")], [1, ord("乙")], [1, ord("甲")]]
    assert cached_rows("v", {"m": 1}, ["甲"], compute).from_cache
    whole = cached_rows("v", {"m": 1}, ["丙", "乙", "甲"], compute)
    assert whole.from_cache and (whole.cost + more.cost).seconds == pytest.approx(whole.cost.seconds)
    cached_rows("v", {"m": 2}, ["甲"], compute)
    assert asked[2:] == [["甲"]]


def test_texts_are_not_joined(cache):
    compute, asked = letters()
    cached_rows("v", {}, ["a\0b"], compute)
    assert cached_rows("v", {}, ["a", "b"], compute)["vectors"].shape == (2, 2) and len(asked) == 2


def test_many_small_files_are_put_together_and_damage_is_mended(cache, capsys):
    compute, asked = letters()
    for n in range(20):
        cached_rows("v", {}, [str(n)], compute)
    (folder,) = (cache / "v").iterdir()
    assert len(list(folder.iterdir())) <= store.FILES_A_TABLE
    everything = [str(n) for n in range(20)]
    assert cached_rows("v", {}, everything, compute).from_cache
    largest = max(folder.iterdir(), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-3])
    again = cached_rows("v", {}, everything, compute)
    assert again["vectors"][:, 1].tolist() == [sum(map(ord, t)) for t in everything] and len(asked) == 21
    assert capsys.readouterr().err.count("已损坏") == 1
    assert cached_rows("v", {}, everything, compute).from_cache and capsys.readouterr().err == ""


def test_a_kill_costs_at_most_one_file(cache, monkeypatch):
    monkeypatch.setattr(store, "ROWS_A_FILE", 2)
    compute, asked = letters()

    def killed(texts):
        if len(asked) == 2:
            raise KeyboardInterrupt
        return compute(texts)

    killed.__module__ = compute.__module__ = "textrec_utils.ranking"
    with pytest.raises(KeyboardInterrupt):
        cached_rows("v", {}, list("abcdef"), killed)
    cached_rows("v", {}, list("abcdef"), compute)
    assert asked == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_no_texts(cache):
    assert len(cached_rows("v", {}, [], letters()[0])["vectors"]) == 0


# ---------------------------------------------------------------- files


def test_a_folder_is_made_once_whole_and_anew_where_it_is_damaged(cache, capsys):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "a.txt").write_text("one")
        if len(made) == 1:
            raise RuntimeError
        (folder / "b.txt").write_text("two")

    with pytest.raises(RuntimeError):
        store.cached_folder("model", {"seed": 0}, make)
    assert not list(cache.rglob("*.txt"))  # nobody meets half of it
    folder = store.cached_folder("model", {"seed": 0}, make)
    assert store.cached_folder("model", {"seed": 0}, make) == folder and len(made) == 2
    assert store.cached_folder("model", {"seed": 1}, make) != folder and len(made) == 3
    assert not capsys.readouterr().err
    for damage in (lambda: (folder / "b.txt").write_text("owt"), lambda: (folder / "b.txt").unlink()):
        damage()
        assert store.cached_folder("model", {"seed": 0}, make) == folder
        assert (folder / "b.txt").read_text() == "two" and "已损坏" in capsys.readouterr().err
    assert len(made) == 5


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_atomic(tmp_path / "a", b"new and longer")
    assert (tmp_path / "a").read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_atomic_path_and_folder(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    folder = tmp_path / "model"
    for content in ("one", "two"):
        with atomic_folder(folder) as temporary:
            (temporary / content).write_text(content)
            assert not (folder / content).exists()
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["two"] and len(list(tmp_path.iterdir())) == 2


def test_two_writers_never_share_a_temporary_name(tmp_path):
    with atomic_path(tmp_path / "f") as one, atomic_path(tmp_path / "f") as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")


# ---------------------------------------------------------------- checkpoints


def test_a_checkpoint_comes_back(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    kept = Checkpoint(tmp_path / "run", {"设置": "a", "数据": "b"}, seconds=0)
    assert kept.load() is None and kept.state() is None
    kept.save({"p": parameter, **optimizer_tensors(optimizer)}, {"step": 1})
    tensors, state = Checkpoint(tmp_path / "run", {"设置": "a"}).load()
    assert state == {"step": 1} and torch.equal(tensors["p"], parameter)
    other = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    restore_optimizer(other, tensors)
    assert other.state_dict()["state"][0]["step"] == 1
    kept.remove()
    assert kept.load() is None


def test_a_checkpoint_refuses_what_is_not_its_own(tmp_path, capsys):
    path = tmp_path / "run"
    Checkpoint(path, {"设置": "a", "数据": "b"}).save({"p": torch.ones(1)}, {})
    with pytest.raises(DataError, match="属于另一次训练（数据不同）"):
        Checkpoint(path, {"设置": "a", "数据": "c"}).load()
    from safetensors.torch import save_file

    save_file({"p": torch.ones(1)}, tmp_path / "weights")
    for name, content in (("thesis", "我的论文".encode()), ("weights", (tmp_path / "weights").read_bytes())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="不是训练的检查点.*不覆盖"):
            Checkpoint(tmp_path / name, {}).load()
        assert (tmp_path / name).read_bytes() == content
    assert Checkpoint(tmp_path / "thesis", {}, given=False).load() is None and "从头训练" in capsys.readouterr().err


# ---------------------------------------------------------------- randomness, processes, signals


def test_seeds_stay_within_their_block():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(1):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(1):
        assert torch.equal(torch.rand(2), inside)


def test_a_process_of_its_own_gives_results_and_errors():
    assert in_own_process(os.getpid) not in (os.getpid(), os.getppid())
    assert in_own_process(int, "11", base=3) == 4
    with pytest.raises(ValueError, match="invalid literal"):
        in_own_process(int, "eleven")


@not_windows
def test_ctrl_c_does_not_wait_for_the_other_process():
    def press():
        while not any("spawn_main" in " ".join(c.cmdline()) for c in psutil.Process().children()):
            time.sleep(0.05)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        in_own_process(time.sleep, 600)
    assert not any("spawn_main" in " ".join(c.cmdline()) for c in psutil.Process().children())


@not_windows
@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signals_wait_for_the_end_of_a_step(number, error):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert interrupts.asked and interrupts.number == number
    with pytest.raises(error):
        interrupts.raise_if_asked()
    assert signal.getsignal(number) is before


def test_a_handler_that_python_cannot_put_back_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    before = []
    monkeypatch.setattr(signal, "signal", lambda *a: before.append(a))
    with Interrupts():
        pass
    assert before == []


# ---------------------------------------------------------------- the machine


def test_a_containers_limit_counts_where_it_is_lower(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8_000))
    assert machine.free_memory() == 8_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() == 8_000
    for folder, limit, used, spare in (
        (tmp_path, "memory.max", "memory.current", "inactive_file"),
        (tmp_path / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        folder.mkdir(exist_ok=True)
        (folder / limit).write_text("5000\n")
        (folder / used).write_text("4000\n")
        (folder / "memory.stat").write_text(f"anon 1\n{spare} 300\n")
        assert machine.free_memory() == 1_300
        (folder / used).write_text("9000\n")
        assert machine.free_memory() == 0
        (folder / limit).unlink()


# ---------------------------------------------------------------- words


def test_errors_are_of_one_family():
    assert (
        issubclass(TooLittleData, DataError)
        and issubclass(DataError, TextrecError)
        and issubclass(DataError, ValueError)
    )


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(1)>", "a|b", "$\\frac$", "[x](javascript:1)", "# 标题", "*x*", "`x`"]
)
def test_markdown_shows_data_as_it_is_written(text):
    from bs4 import BeautifulSoup
    from nbconvert.filters.markdown import markdown2html

    page = BeautifulSoup(markdown2html("列表：" + in_markdown(text)), "html.parser")
    assert page.get_text().strip() == "列表：" + text and {tag.name for tag in page.find_all()} == {"p"}


def test_figures_and_spreadsheets_show_data_as_it_is_written():
    from matplotlib import pyplot as plt

    assert in_figure("价格 $\\frac$") == "价格 \\$\\frac\\$"
    figure, ax = plt.subplots()
    ax.set_title(in_figure("$\\frac$ 和 $x"))
    figure.canvas.draw()
    plt.close(figure)
    assert in_csv("=1+1") == "'=1+1" and in_csv("茶") == "茶" and in_csv("-3") == "'-3"
    assert json.loads(json.dumps(in_csv("@x"))) == "'@x"
    assert in_format("课程{2024}/{}").format(1) == "课程{2024}/{}"
