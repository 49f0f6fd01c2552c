"""`textrec recommend`: a list for every user, in a file, from the method that the report has chosen."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import click

from textrec_utils.cli import parameters
from textrec_utils.cli.profiles import methods
from textrec_utils.core.errors import DataError
from textrec_utils.course.chapters import the_report
from textrec_utils.course.meanings import meaning

OWN = {  # defaults, and what is meant where that isn't as in the report
    "dataset": ("movielens-zh", ""), "method": ("ease", "报告里的方法，见下面的表。"),
    "split": ("auto", "在怎样的划分上选设置，同报告。"), "min_value": ("auto", ""),
    "k": (10, "按 ndcg@k 选设置，同报告。"), "seed": (0, ""),
    "budget": (12, "每个方法试几种设置；0 不选，用默认设置。"), "model": ("mini-bert-zh", ""), "prefix": ("", ""),
    "pooling": ("auto", ""), "max_length": ("auto", ""), "on_missing": ("refuse", ""),
}  # fmt: skip
KINDS = (".csv", ".jsonl", ".parquet")


def settings() -> list[str]:
    """The end of the help: names, defaults and meanings of what -p takes, and the methods."""
    lines = ["-p 的名字、默认值、含义："]
    told = {name: own or f"{meaning(the_report(), name)}。" for name, (_, own) in OWN.items()}
    lines += [f"  {name}={default!r}  {told[name]}" for name, (default, _) in OWN.items()]
    return [*lines, "method 可以是：", *(f"  {key}  {label}" for key, label in methods())]


def trained(command: str, pairs, all_data: bool):
    """The service that -p asks for; what is being done goes to the terminal's error stream."""
    from textrec_utils.serving import named, train

    values = {name: default for name, (default, _) in OWN.items()}
    values |= parameters.typed(command, values, pairs)
    named(values["method"])  # before the data are read
    with parameters.one_sentence():
        made = train(values.pop("dataset"), all_data=all_data, say=lambda text: click.echo(text, err=True), **values)
    if not all_data:
        click.echo("只学了训练部分，和报告里评测的是同一个模型；要上线请加 --all-data。", err=True)
    return made


def _repeat(ctx, param, word: str) -> bool:
    if word not in ("no", "allow"):
        raise DataError(f"选项 --repeat 应是 no（喜欢过的不再推荐）或 allow（可以再推荐），得到 {word}。")
    return word == "allow"


@click.command("recommend", cls=parameters.WithParameters, settings=settings, short_help="给每位用户一份推荐列表。")
@parameters.option
@click.option("--out", required=True, metavar="文件", help="写到哪里：.csv、.jsonl 或 .parquet。")
@click.option("--all-data", is_flag=True, help="用全部数据训练；不给就只用训练部分，和报告评测的一样。")
@click.option("--bundle", default="", metavar="文件夹", help="用 textrec export 写好的文件夹，不再训练。")
@click.option(
    "--users", "named", default="", metavar="文件", help="只给这些用户：每行一个编号，或有 user_id 列的 csv。"
)
@click.option("-n", "length", default=20, show_default=True, type=click.IntRange(1), help="列表多长。")
@click.option("--repeat", default="no", show_default=True, callback=_repeat, help="喜欢过的可否再推荐：no、allow。")
def command(pairs, out: str, all_data: bool, bundle: str, named: str, length: int, repeat: bool) -> None:
    """给每位用户一份推荐列表，例如 textrec recommend -p dataset 文件夹 -p method ease --all-data --out lists.csv。

    列：user、rank（从1起）、item、score、reason（为什么推荐它）。还没有喜欢过任何物品的用户得到热门的物品。
    """
    from textrec_utils.core.files import atomic_path
    from textrec_utils.serving import load

    target = Path(out)
    if bundle and (pairs or all_data):
        raise DataError("--bundle 里的模型已经训练好了，不能再给 -p 或 --all-data：请去掉其中一边。")
    _check(target, named)
    try:
        service = load(bundle) if bundle else trained("recommend", pairs, all_data)
        rows = _rows(service, Path(named)) if named else None
        if service.about.get("repeats") and not repeat:
            told = f"有 {service.about['repeats']:,} 行是同一位用户再次选了同一件物品"
            click.echo(f"{told}；喜欢过的不再推荐，要推荐请加 --repeat allow。", err=True)
        with atomic_path(target) as part:
            users, lines = _write(service, rows, length, repeat, part)
    except KeyboardInterrupt as stop:
        kept = f"{target} 没有动；选好的设置和训练好的模型都在缓存里，同样的命令再运行一次很快就到这里。"
        raise type(stop)(f"已中断：{kept}") from None
    about = service.about
    learned = f"{service.label}，学了{'全部' if about['all_data'] else '训练部分的'} {about['likes']:,} 条喜欢"
    click.echo(f"{target}：{users:,} 位用户，{lines:,} 行（{learned}）")


command.writes_to = "--out"


def _check(target: Path, named: str) -> None:
    """What would fail after the training is told before it."""
    if target.suffix not in KINDS:
        raise DataError(f"不认识 --out 的文件名 {target.name}：请以 {'、'.join(KINDS)} 之一结尾。")
    if target.is_dir():
        raise DataError(f"--out 的 {target} 是一个文件夹：请给文件名。")
    if target.suffix == ".parquet":
        _parquet_engine()
    if named and not Path(named).is_file():
        raise DataError(f"没有文件 {named}：--users 要一个每行一个用户编号的文件。")


def _parquet_engine() -> None:
    from importlib.util import find_spec

    if not (find_spec("pyarrow") or find_spec("fastparquet")):
        raise DataError("写 parquet 要另装一个库：请运行 pip install 'textrec-utils[parquet]'，或改用 .csv、.jsonl。")


def _rows(service, path: Path):
    """Row numbers of the users whom a file names. Raises DataError with the line of the first who isn't there."""
    from textrec_utils.datasets.tables import need, read_table
    from textrec_utils.serving.service import rows_of

    if path.suffix == ".csv":
        table = read_table(path)
        need(table, "user_id")
        ids = dict(zip(table.index, table["user_id"]))
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{path} 不是 UTF-8 编码：请另存为 UTF-8。") from None
        ids = {line: word.strip() for line, word in enumerate(text.splitlines(), start=1) if word.strip()}
    row_of = {user: row for row, user in enumerate(service.user_ids)}
    for line, user in ids.items():
        if user not in row_of:
            raise DataError(f"{path} 第 {line} 行的用户 {user} 不在数据里：请改正或删掉这一行。")
    if not ids:
        raise DataError(f"{path} 里没有一个用户编号：请每行写一个。")
    return rows_of(list(dict.fromkeys(ids.values())), row_of, "用户")


def _write(service, rows, length: int, repeat: bool, path: Path) -> tuple[int, int]:
    """Write the lists; users and lines written. Parquet is held and written at once, the others block by block.

    Ids stand as they are, also where a spreadsheet would take one for a formula: whoever reads the file looks things up
    by them.
    """
    import pandas as pd
    from tqdm import tqdm

    users = lines = 0
    held: list[pd.DataFrame] = []
    total = service.split.n_users if rows is None else len(rows)
    with (
        open(path, "w", encoding="utf-8", newline="") as file,
        tqdm(total=total, desc="推荐", unit="位", file=sys.stderr, disable=None) as bar,
    ):
        for table in service.lists(rows, length, repeat=repeat):
            if path.suffix == ".csv":
                table.to_csv(file, index=False, header=not file.tell())
            elif path.suffix == ".jsonl":
                table.to_json(file, orient="records", lines=True, force_ascii=False)
            else:
                held.append(table)
            found = table["user"].nunique()
            users, lines = users + found, lines + len(table)
            bar.update(found)
    if held:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fastparquet asks pandas for an option that goes
            pd.concat(held, ignore_index=True).to_parquet(path, index=False)
    return users, lines
