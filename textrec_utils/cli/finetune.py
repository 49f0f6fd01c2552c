"""`textrec finetune`: two towers trained, measured, saved."""

import os
from pathlib import Path

import click

from textrec_utils.cli import parameters
from textrec_utils.course.chapters import CourseError

OWN = {  # beside the fields of TwoTowerConfig
    "dataset": ("movielens-zh", "数据集的名字或文件夹。"),
    "split": ("leave_last_out", "怎样划分：leave_last_out、temporal、cold_items、random、given（数据自带的）。"),
    "model": ("mini-bert-zh", "编码器的名字或文件夹。"),
    "prefix": ("", "每条文本前加的字，例如 E5 要 'query: '；也可以是模型自带提示的名字；none 什么也不加。"),
    "metric": ("ndcg@10", "报告和早停看的指标。"),
    "on_missing": ("refuse", "缺文字、编号、时间的：refuse 拒绝，drop 去掉并报数，同报告。"),
}


def _settings() -> list[str]:
    from textrec_utils.finetuning.config import TwoTowerConfig

    lines, last = ["-p 的名字、默认值、含义："], None
    rows = {name: ("数据和编码器", *about) for name, about in OWN.items()} | TwoTowerConfig.describe()
    for name, (group, default, sentence) in rows.items():
        lines += [f"{group}："] * (group != last) + [f"  {name}={default!r}  {sentence}"]
        last = group
    return lines


@click.command("finetune", cls=parameters.WithParameters, settings=_settings, short_help="微调双塔，评测，存下物品塔。")
@parameters.option
@click.option("--early-stopping", is_flag=True, help="先在验证集上定训练多少步，再用全部训练数据训练。")
@click.option("--out", default="", help="把训练好的物品塔存成SentenceTransformer也认得的文件夹。")
@click.option("--bundle", default="", help="把塔连同物品和用户的历史存成能上线的文件夹，同 textrec export。")
@click.option("--log-dir", default="", help="写TensorBoard日志的文件夹。")
@parameters.device
def command(pairs, early_stopping: bool, out: str, bundle: str, log_dir: str, device: str) -> None:
    """微调双塔，例如 textrec finetune -p rung lora --out build/tower；-p 的各项见下面。

    可以中断，再运行就接着来。几个进程一起：torchrun --nproc-per-node 2 -m textrec_utils finetune …
    """
    from textrec_utils import finetuning
    from textrec_utils.datasets import load_dataset
    from textrec_utils.evaluation import bootstrap_interval, evaluate, parse_metric
    from textrec_utils.export import check_export, check_folder, save_sentence_transformer
    from textrec_utils.serving.bundle import NOTE, Service, save
    from textrec_utils.serving.training import told
    from textrec_utils.splits import make_split

    own = {name: default for name, (default, _) in OWN.items()}
    given = parameters.typed("finetune", {**vars(finetuning.TwoTowerConfig()), **own}, pairs)
    own |= {name: given.pop(name) for name in own if name in given}
    model, metric = own["model"], own["metric"]
    with parameters.one_sentence():
        config = finetuning.TwoTowerConfig(**given)
        parse_metric(metric)
    if out:
        check_export(config, out)  # before hours of training
    if bundle:
        check_folder(bundle, NOTE)
    if out and bundle and Path(out).resolve() == Path(bundle).resolve():
        raise CourseError(f"--out 和 --bundle 不能是同一个文件夹 {out}：请换掉其中一个。")
    data = load_dataset(own["dataset"], on_missing=own["on_missing"])
    split = make_split(data, own["split"], seed=config.seed)
    try:
        with parameters.one_sentence(), finetuning.processes(device) as device:
            first = int(os.environ.get("RANK", "0")) == 0
            options = {"prefix": own["prefix"], "device": device}
            logs = Path(log_dir) if first and log_dir else None  # one process writes them
            if early_stopping:
                seen = logs and logs / "validation"
                config, _ = finetuning.early_stopping(split, config, model, metric=metric, log_dir=seen, **options)
                if first:
                    click.echo(f"早停：验证 {metric} 在第 {config.stop} 步最高。")
            tower = finetuning.train_two_tower(split, config, model, log_dir=logs, **options)
    except KeyboardInterrupt as stop:
        kept = "训练若已开始，到这一步的检查点已经存下；同样的命令再运行一次就接着走。"
        raise type(stop)(f"已中断：{kept}") from None
    if not first:
        return
    served = tower.recommender("双塔")
    found = evaluate(served, split, [metric])
    low, high = bootstrap_interval(found.users[metric])
    click.echo(
        f"{data.name}，{own['split']}，{len(split.test_users):,} 位用户：{metric} = {found.mean(metric):.4f}，"
        f"95% 区间 [{low:.4f}, {high:.4f}]；训练了 {tower.trained:,} 个参数，{tower.cost.seconds:.0f} 秒"
    )
    if out:
        saved = save_sentence_transformer(tower, out)
        click.echo(f"物品塔在 {saved}：SentenceTransformer(文件夹).encode(文字) 就是物品向量。")
    if bundle:
        saved = save(Service(served, split, "finetune", "双塔", told(served, split, all_data=False)), bundle)
        click.echo(f"能上线的文件夹在 {saved}：怎样用见其中的 README.md 和 example.py。")


command.writes_to = "TEXTREC_CACHE、--out 或 --bundle"
