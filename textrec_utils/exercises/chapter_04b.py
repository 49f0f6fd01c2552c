"""Chapter 04b: perplexity of a corpus, averaged weights, what a log can carry, how far a temperature looks."""

import math

import numpy as np
import torch

from textrec_utils.exercises.judge import exercise, require, require_array, require_number, run, run_in_place


@exercise(
    "04b-1",
    "困惑度是**平均损失**的指数：先平均，再取指数；次序反过来就大了",
    "平均的是词元，不是段：长的一段里考的词元多，就该多算几份",
    "`np.exp(np.average(losses, weights=counts))`，再管一管一个词元也没有的情形",
)
def perplexity(answer):
    cases = {
        "一段": ([2.0], [7]), "两段一样长": ([1.0, 3.0], [5, 5]), "一长一短": ([1.0, 3.0], [90, 10]),
        "有一段没有考到": ([1.0, 9.0, 2.0], [4, 0, 4]),
    }  # fmt: skip
    for case, (losses, counts) in cases.items():
        wanted = math.exp(sum(x * n for x, n in zip(losses, counts)) / sum(counts))
        require_number(run(answer, losses, counts, shown=case), wanted, f"困惑度（{case}）", 1e-6 * wanted)
    unknown = {"全都没有考到": ([1.0, 2.0], [0, 0]), "空的语料": ([], [])}
    for case, (losses, counts) in unknown.items():
        found = run(answer, losses, counts, shown=case)
        number = isinstance(found, float | np.floating)
        require(number and math.isnan(found), f"{case}：应当返回nan")


@exercise(
    "04b-2",
    "一条一条地来：`{name: … for name, value in old.items()}`",
    "`value.is_floating_point()`说得出哪些条目能平均",
    "写成新的张量：`(1 - share) * value + share * new[name]`；`+=`或`lerp_`会把原来的改掉",
)
def averaged_weights(answer):
    def state(shift: float) -> dict[str, torch.Tensor]:
        return {
            "layer.weight": torch.arange(6.0).reshape(2, 3) + shift,
            "layer.bias": torch.full((2,), shift),
            "half": torch.ones(2, dtype=torch.float16) * shift,
            "position_ids": torch.arange(4) + int(shift),
        }

    for share in (0.0, 0.3, 1.0):
        old, new = state(0.0), state(8.0)
        found = run_in_place(answer, old, new, share)
        require(isinstance(found, dict) and set(found) == set(old), "应当返回条目相同的字典")
        for name, value in state(0.0).items():
            require(isinstance(found[name], torch.Tensor), f"{name}应当是张量")
            if value.is_floating_point():
                wanted = (1 - share) * value.float() + share * state(8.0)[name].float()
            else:
                wanted = value
            require_array(found[name].float(), wanted, f"{name}（新的占{share}）", 1e-2)
            require(found[name].dtype == value.dtype, f"{name}的类型变了：应当是{value.dtype}")
            untouched = torch.equal(old[name], value) and torch.equal(new[name], state(8.0)[name])
            require(untouched, f"原来的{name}被改动了")


@exercise(
    "04b-3",
    "先问：这句话说的是“看见了什么”，还是“为什么”“以后会怎样”？记录里只有前一种",
    "E要查：`log`里训练损失最小的一行和`percent`最大的一行，步数相同吗？遮的比例一变，训练损失还可比吗？",
)
def carried_by_the_log(answer):
    require(isinstance(answer, set | frozenset), '应当是集合，例如{"A", "C"}')
    letters = {str(x).strip().upper() for x in answer}
    require(letters <= set("ABCDE"), "只能用A到E")
    log, stages = log_and_stages()
    before = sum(stages[:-1])  # the last step before the last stage
    exams = log.dropna(subset=["held_out_accuracy"]).set_index("step")["held_out_accuracy"]
    last_stage = exams[exams.index > before]
    right = set()
    if exams.loc[4000] > 0.7 * exams.iloc[-1]:
        right.add("A")
    if last_stage.iloc[-1] >= exams[exams.index <= before].iloc[-1]:
        right.add("C")
    if log.loc[log["mlm"].idxmin(), "step"] == exams.idxmax():
        right.add("E")
    missing, extra = right - letters, letters - right
    require(not extra, f"有{len(extra)}句记录撑不住")
    require(not missing, f"还有{len(missing)}句记录撑得住")


def log_and_stages():
    """The training log of the course's model, and how many steps each stage of its recipe has."""
    import tomllib

    import pandas as pd

    from textrec_utils.core.paths import project_data

    folder = project_data() / "models" / "mini-bert-zh"
    recipe = tomllib.loads((folder / "pretrain.toml").read_text(encoding="utf-8"))
    return pd.read_csv(folder / "curve.csv"), [stage["steps"] for stage in recipe["stages"]]


@exercise(
    "04b-4",
    "先写分布：相似度除以温度，自己的那一格填成负无穷，再softmax",
    "熵是 $-\\sum_j p_j\\log p_j$，p为0的项算0；均匀分布在n个上，熵是log n，指数正好是n",
    "`p = (teacher @ teacher.T / temperature)`，对角线`-np.inf`；减去每行最大值再取指数，才不会溢出",
)
def effective_neighbours(answer):
    rng = np.random.default_rng(3)
    unit = rng.normal(size=(9, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    same = np.tile([[0.6, 0.8]], (5, 1))
    cases = {"随机的九句": (unit, 0.05), "温度高": (unit, 10.0), "温度极低": (unit, 1e-3), "五句全同": (same, 0.05),
             "只有两句": (unit[:2], 0.05)}  # fmt: skip
    for case, (teacher, temperature) in cases.items():
        scores = teacher @ teacher.T / temperature
        np.fill_diagonal(scores, -np.inf)
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        wanted = np.exp(-(p * np.log(np.where(p > 0, p, 1))).sum(1))
        require_array(run(answer, teacher, temperature, shown=case), wanted, f"看的邻居数（{case}）", 1e-3)
