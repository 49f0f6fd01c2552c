"""`textrec data`: one dataset fetched, checked and told."""

import click

from textrec_utils.cli import parameters


@click.command("data", cls=parameters.WithParameters, short_help="取得并检查一个数据集。")
@click.argument("name", metavar="数据集")
@parameters.option
@click.option("--check", is_flag=True, help="只列数据质量：发现了什么、多少、在哪里、怎么办。")
def command(name: str, pairs, check: bool) -> None:
    """取得并检查一个数据集（名字或文件夹），说清它是怎样读的。

    参数 on_missing（默认 refuse）：缺文字的物品、缺编号或时间的交互、物品不在表里的交互，drop 是去掉并报数。
    """
    from textrec_utils.datasets import load_dataset
    from textrec_utils.datasets.quality import quality_table

    data = load_dataset(name, **parameters.typed("data", {"on_missing": "refuse"}, pairs))
    quality = quality_table(data)
    if check:
        click.echo("\n".join(_lines(quality)) or "没有发现要说的。")
        return
    likes = data.positives()
    counts = [f"{len(table):,} {what}" for table, what in (
        (data.users, "用户"), (data.items, "物品"), (data.interactions, "交互"), (likes, "喜欢"),
    )]  # fmt: skip
    click.echo(f"{data.name}：{'，'.join(counts)}（value 不低于 {data.min_value:g}，同一人对同一物品算一次）")
    click.echo(f"时间：{_span(data.interactions['timestamp']) if data.has_time else '没有'}")
    click.echo(f"来源：{data.source}\n许可：{data.licence}\n校验和：{data.checksum()}")
    for sentence in data.removed:
        click.echo(f"注意：{sentence}")
    if len(quality):
        click.echo(f"数据质量：{len(quality)} 项，加 --check 列出。")


def _span(stamps) -> str:
    import pandas as pd

    first, last = (pd.Timestamp(stamp, unit="s").strftime("%Y-%m-%d %H:%M") for stamp in (stamps.min(), stamps.max()))
    return f"{first} 至 {last}（UTC）"


def _lines(quality) -> list[str]:
    """A numbered line for each row: what, how many, where; what is done."""
    lines = []
    for number, (what, count, where, done) in enumerate(quality.itertuples(index=False, name=None), 1):
        found = "，".join(part for part in (count, where) if part)
        lines.append(f"{number}. {what}{f'：{found}' * bool(found)}{f'；{done}' * bool(done)}")
    return lines


command.writes_to = "TEXTREC_CACHE"
