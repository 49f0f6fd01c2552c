"""`textrec pretrain`: a small Chinese BERT from its corpora."""

import dataclasses
from pathlib import Path

import click

from textrec_utils.cli import parameters
from textrec_utils.core.paths import project_root


def _settings() -> list[str]:
    from textrec_utils.pretraining.config import PretrainConfig

    names = [f.name for f in dataclasses.fields(PretrainConfig) if f.name != "vocabulary"]
    plain = [name for name in names if isinstance(getattr(PretrainConfig, name, None), (int, float, str))]
    return [f"-p 代替配置里的这些值：{'、'.join(plain)}（含义写在配置文件的注释和 PretrainConfig 的说明里）。"]


@click.command("pretrain", cls=parameters.WithParameters, settings=_settings, short_help="预训练一个小的中文BERT。")
@click.option(
    "--config", "path", default="data/models/mini-bert-zh/pretrain.toml", show_default=True, help="训练配置（TOML）。"
)
@click.option("--corpora", required=True, help="语料所在的文件夹；文件名和校验和写在配置里。")
@click.option("--out", required=True, help="工作文件夹：词表、教师向量、检查点、曲线；再次运行从这里接着来。")
@parameters.device
@parameters.option
def command(path: str, corpora: str, out: str, device: str, pairs) -> None:
    """预训练一个小的中文BERT，随时可以中断，再运行就接着来；-p 代替配置里的数和文字，例如 -p teacher 文件夹。"""
    from textrec_utils.export import check_folder
    from textrec_utils.pretraining import Pretraining, read_config
    from textrec_utils.pretraining.export import MARK

    config = read_config(Path(path) if Path(path).is_file() else project_root() / path)
    known = {k: v for k, v in vars(config).items() if isinstance(v, (int, float, str)) and k != "vocabulary"}
    given = parameters.typed("pretrain", known, pairs)
    teacher = given.pop("teacher", "")  # where the teacher lies: a run goes on with the same one from elsewhere
    run = Pretraining(dataclasses.replace(config, **given), corpora, out, teacher=teacher, device=device)
    check_folder(Path(out) / "model", MARK)  # told before hours of training, not after
    sizes = f"{len(run.texts):,} 条文本，词表 {len(run.tokenizer):,}"
    click.echo(f"{sizes}，第 {run.step:,} 步，共 {run.total_steps:,} 步")
    try:
        run.train()
    except KeyboardInterrupt as stop:
        raise type(stop)(f"已中断：第 {run.step:,} 步的检查点在 {out}，再次运行会从这里接着来。") from None
    model = run.export(Path(out) / "model")
    click.echo(f"训练用了 {run.seconds / 60:.0f} 分钟。模型在 {model}；用 textrec eval-encoder 量一量它。")


command.writes_to = "--out"
