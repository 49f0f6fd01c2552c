"""`textrec recommend` and `textrec export`: a list for everyone in a file, a method in a folder."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from textrec_utils.cli import main, recommend
from textrec_utils.core.processes import Terminated
from textrec_utils.serving import load, service, train

QUICK = ["-p", "budget=0", "-p", "method"]


def run(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_list_for_everyone_in_each_format(own_folder, tmp_path):
    tables = []
    for kind in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"lists.{kind}"
        result = run("recommend", "-p", "dataset", own_folder, *QUICK, "ease", "--all-data", "-n", 5, "--out", out)
        assert result.exit_code == 0, result.output
        assert f"{out}：20 位用户，100 行（EASE，学了全部 " in result.output
        read = {"csv": pd.read_csv, "parquet": pd.read_parquet}.get(kind, lambda p: pd.read_json(p, lines=True))
        tables.append(read(out))
        assert list(tables[-1].columns) == ["user", "rank", "item", "score", "reason"]
    wanted = pd.concat(train(own_folder, "ease", budget=0).lists(n=5), ignore_index=True)
    for table in tables:
        assert (
            table[["user", "rank", "item", "reason"]]
            .astype(str)
            .equals(wanted[["user", "rank", "item", "reason"]].astype(str))
        )
        assert table["score"].to_numpy() == pytest.approx(wanted["score"].to_numpy(), rel=1e-6)


def test_without_all_data_it_says_so(own_folder, tmp_path):
    result = run("recommend", "-p", "dataset", own_folder, *QUICK, "popularity", "--out", tmp_path / "lists.csv")
    assert "只学了训练部分，和报告里评测的是同一个模型；要上线请加 --all-data。" in result.output
    assert "学了训练部分的 " in result.output


@pytest.mark.parametrize("name, text", [("some.txt", "u3\n\nu1\nu3\n"), ("some.csv", "name,user_id\nx,u3\ny,u1\n")])
def test_some_users_alone(own_folder, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    out, words = tmp_path / "lists.csv", ["-p", "dataset", own_folder, *QUICK, "ease"]
    result = run("recommend", *words, "--users", tmp_path / name, "--out", out)
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(out)["user"].unique()) == ["u3", "u1"]
    (tmp_path / name).write_text(text + "u99,u99\n" * name.endswith("csv") + "u99\n" * name.endswith("txt"))
    result = run("recommend", *words, "--users", tmp_path / name, "--out", out)
    line = {"some.txt": 5, "some.csv": 4}[name]
    assert result.exit_code == 2 and f"{name} 第 {line} 行的用户 u99 不在数据里" in result.output


def test_what_was_bought_is_recommended_again_where_allowed(own_folder, tmp_path):
    table = pd.read_csv(own_folder / "interactions.csv")
    pd.concat([table, table.iloc[:7].assign(value=5)]).to_csv(own_folder / "interactions.csv", index=False)
    out, liked = tmp_path / "lists.csv", {}
    for repeat in ("no", "allow"):
        words = ["-p", "dataset", own_folder, *QUICK, "ease", "--all-data", "-n", 30, "--repeat", repeat]
        result = run("recommend", *words, "--out", out)
        assert ("行是同一位用户再次选了同一件物品；喜欢过的不再推荐" in result.output) == (repeat == "no")
        liked[repeat] = pd.read_csv(out)
    assert len(liked["allow"]) == 20 * 30 > len(liked["no"])


REFUSED = [
    (["-p", "method", "magic"], "没有方法 magic：可用的有 "),
    (["-p", "depth", "3"], "recommend 没有参数 depth：可用的有 dataset、method"),
    (["-p", "k", "many"], "recommend 的参数 k 应是整数"),
    (["-p", "min_value", "high"], "min_value 应是 auto"),
    (["-p", "split", "weekly"], "没有划分方式 weekly"),
    (["-p", "budget", "-1"], "budget 至少是 0"),
    (["-p", "dataset", "no-such"], "没有数据集 no-such"),
    (["-n", "0"], "选项 -n 的值不对：应是不小于1的整数"),
    (["--repeat", "yes"], "选项 --repeat 应是 no（喜欢过的不再推荐）或 allow"),
    (["--users", "nowhere.txt"], "没有文件 nowhere.txt"),
    (["--out", "lists.xlsx"], "不认识 --out 的文件名 lists.xlsx：请以 .csv、.jsonl、.parquet 之一结尾"),
    (["--out", "folder.csv"], "folder.csv 是一个文件夹"),
    (["--bundle", "nowhere"], "nowhere 不是 textrec export 写的文件夹"),
    (["--bundle", "nowhere", "--all-data"], "--bundle 里的模型已经训练好了"),
]


@pytest.mark.parametrize("words, said", REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_refusals_in_one_sentence(tmp_path, monkeypatch, own_folder, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    dataset = [] if "dataset" in words or "--bundle" in words else ["-p", "dataset", own_folder]
    result = run("recommend", *dataset, "--out", "lists.csv", *words)
    assert result.exit_code == 2 and said in result.output, result.output
    lines = result.output.splitlines()
    assert lines[-1].startswith("错误：") and not [line for line in lines[:-1] if line.startswith("错误")]
    assert not (tmp_path / "lists.csv").exists()


def test_parquet_without_its_library_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(recommend, "trained", lambda *a: pytest.fail("it trained"))
    result = run("recommend", "--out", tmp_path / "lists.parquet")
    assert result.exit_code == 2 and "pip install 'textrec-utils[parquet]'，或改用 .csv、.jsonl" in result.output


@pytest.mark.parametrize("stop, status, word", [(KeyboardInterrupt, 130, "已中断"), (Terminated, 143, "已被终止")])
def test_a_stopped_run_leaves_the_old_file(own_folder, tmp_path, monkeypatch, stop, status, word):
    out, lists = tmp_path / "lists.csv", service.Service.lists
    out.write_text("yesterday's")

    def stopped(self, *args, **options):
        yield next(lists(self, *args, **options))
        raise stop

    monkeypatch.setattr(service.Service, "lists", stopped)
    result = run("recommend", "-p", "dataset", own_folder, *QUICK, "ease", "--out", out)
    assert result.exit_code == status and f"{word}：{out} 没有动；选好的设置和训练好的模型都在缓存里" in result.output
    assert out.read_text() == "yesterday's" and [p.name for p in tmp_path.glob("*lists*")] == ["lists.csv"]


def test_a_method_is_exported_and_lists_come_from_the_folder(own_folder, tmp_path):
    folder, words = tmp_path / "ease", ["-p", "dataset", own_folder, *QUICK, "ease", "--all-data"]
    result = run("export", *words, "--out", folder)
    assert result.exit_code == 0 and f"{folder}：EASE，" in result.output, result.output
    for number, source in enumerate((words, ["--bundle", folder])):
        assert run("recommend", *source, "--out", tmp_path / f"{number}.csv").exit_code == 0
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    item = load(folder).item_ids[3]
    done = subprocess.run([sys.executable, folder / "example.py", item], capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 10, done.stderr
    note = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert note["all_data"] and note["versions"]["python"] and note["recipe"]["kind"] == "history"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("…")
    result = run("export", *words, "--out", tmp_path / "mine")
    assert result.exit_code == 2 and "不覆盖" in result.output
    result = run("export", "-p", "method=magic", "--out", tmp_path / "new")
    assert result.exit_code == 2 and "没有方法 magic" in result.output


@pytest.mark.parametrize("command", ["recommend", "export"])
def test_the_help_names_parameters_and_methods(command):
    said = run(command, "-h").output
    assert "budget=12  每个方法试几种设置" in said and "hybrid  融合（双塔读两样＋协同）" in said
