"""`textrec eval-encoder`: how good and how quick an encoder is by itself."""

import click

from textrec_utils.cli import parameters


@click.command("eval-encoder", cls=parameters.WithParameters, short_help="给编码器打分，量它的速度。")
@click.argument("names", nargs=-1, required=True, metavar="名字…")
@parameters.option
@click.option("--corpora", default=None, help="装有STS-B、LCQMC、新闻标题的文件夹；不给就用课程自写的小测试集。")
@click.option("--bf16", is_flag=True, help="用bfloat16编码，大编码器快一倍。")
@click.option("--speed", is_flag=True, help="也量速度：与12层、宽768的BERT比。")
def command(names: tuple[str, ...], pairs, corpora: str | None, bf16: bool, speed: bool) -> None:
    """给编码器打分：句子相似、同义问句、标题归类、猜字。

    池化、提示、归一、长度照模型自己的文件；要另定的：-p pooling cls，-p max_length 256。每条文本前要加字的，例如 E5：
    -p prefix 'query: '（也可以是模型自带提示的名字；none 什么也不加）。
    """
    import pandas as pd

    from textrec_utils.encoder_quality import LABELS, evaluate_encoder, read_eval_sets

    known = {"prefix": "", "pooling": "auto", "max_length": "auto"}
    options = parameters.typed("eval-encoder", known, pairs) | {"bf16": bf16, "speed": speed}
    sets = read_eval_sets(corpora)
    with parameters.one_sentence():
        rows = {name: evaluate_encoder(name, sets, **options) for name in names}
    sizes = f"{len(sets.similarity.left):,} 对句子、{len(sets.paraphrase.left):,} 对问句、{len(sets.titles):,} 个标题"
    click.echo(f"测试集：{sets.name}（{sizes}）")
    click.echo(pd.DataFrame(rows).rename(LABELS).to_string(float_format=lambda v: f"{v:.4g}"))


command.writes_to = "TEXTREC_CACHE"
