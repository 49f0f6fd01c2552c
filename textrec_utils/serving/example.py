"""The few lines in a bundle that serve from it: with numpy alone where the score is one product of tables."""

from __future__ import annotations

from scipy import sparse

from textrec_utils.baselines.base import Product

HEAD = """import csv, json, sys
from pathlib import Path
import numpy as np

def read(name):
    return list(csv.DictReader(open(Path(__file__).with_name(name), encoding="utf-8", newline="")))
def table(name, kind=np.float32):
    (begin, end), shape = head[name]["data_offsets"], head[name]["shape"]
    return np.frombuffer(raw[start + begin : start + end], kind).reshape(shape)

raw = Path(__file__).with_name("tables.safetensors").read_bytes()
start = 8 + int.from_bytes(raw[:8], "little")  # a length in 8 bytes, the header in JSON, the numbers
head, items = json.loads(raw[8:start]), read("items.csv")
row = {item["item_id"]: n for n, item in enumerate(items)}
"""
TAIL = """scores[seen + [n for n, item in enumerate(items) if item["candidate"] == "0"]] = -np.inf
for n in np.argsort(-scores, kind="stable")[:10]:
    print(items[n]["item_id"], round(float(scores[n]), 5))
"""
BY_PACKAGE = """import sys
from pathlib import Path
from textrec_utils.serving import load
service = load(Path(__file__).parent)
found = service.recommend_for(sys.argv[1], n=10)
for item, score in zip(found["item"], found["score"]):
    print(item, round(float(score), 5))
"""


def recipe(product: Product | None) -> dict[str, object]:
    """How a list comes about, for bundle.json.

    kind: history, users, scores or package. takes: what example.py is given. says: the same for a reader."""
    if product is None:
        return {"kind": "package", "takes": "用户编号", "says": "分数不是一次表与表的乘法，要由本课程的程序来算。"}
    if product.scores is not None:
        return {"kind": "scores", "takes": "看过的物品编号 …", "says": "人人同一份分数：表 `scores`，每件物品一个。"}
    if product.users is not None:
        return {"kind": "users", "takes": "用户编号", "says": "分数 = `users` 里用户的一行 · `items` 里物品的一行。"}
    weight = "1" if product.half_life is None else f"0.5 ** (之后又喜欢了几件 / {product.half_life:g})"
    mean = "，再除以权重的和" if product.mean else ""
    table, to = ("items" if product.history is product.items else "history"), " · `items` 里物品的一行"
    says = f"用户 = 喜欢过的物品在 `{table}` 里的行，按权重 {weight} 相加{mean}；分数 = 用户"
    says += "的这一行本身。" if product.items is None else f"{to}。"
    return {
        "kind": "history", "takes": "物品编号 物品编号 …", "says": says, "table": table, "half_life": product.half_life,
        "mean": product.mean,
    }  # fmt: skip


def example(product: Product | None) -> str:
    """example.py of a bundle."""
    if product is None:
        return BY_PACKAGE
    if product.scores is not None:
        lines = [
            "seen = [row[item] for item in sys.argv[1:]]  # not to be recommended",
            'scores = table("scores").copy()',
        ]
    elif product.users is not None:
        lines = [
            'user = [user["user_id"] for user in read("users.csv")].index(sys.argv[1])',
            'seen = [row[like["item_id"]] for like in read("histories.csv") if like["user_id"] == sys.argv[1]]',
            'scores = table("items") @ table("users")[user]',
        ]
    else:
        lines = ["seen = [row[item] for item in sys.argv[1:]]  # item ids, oldest first", *_of_history(product)]
    return HEAD + "".join(f"{line}\n" for line in lines) + TAIL


def _of_history(product: Product) -> list[str]:
    weights, name = "np.ones(len(seen))", recipe(product)["table"]
    user = "scores" if product.items is None else "user"  # what the history gives
    if product.half_life is not None:
        weights = f"0.5 ** (np.arange(len(seen))[::-1] / {product.half_life!r})"
    lines = [f"weights = {weights}", *["weights /= weights.sum()"] * product.mean]
    if sparse.issparse(product.history):
        lines += [
            "weight = np.bincount(seen, weights, minlength=len(items))",
            f'rows, columns = table("{name}.rows", np.int32), table("{name}.columns", np.int32)',
            f'width = table("{name}.shape", np.int32)[1]',
            f'{user} = np.bincount(columns, table("{name}.values") * weight[rows], minlength=width)',
        ]
    else:
        lines.append(f'{user} = weights @ table("{name}")[seen]')
    if sparse.issparse(product.items):
        lines += [
            'rows, columns = table("items.rows", np.int32), table("items.columns", np.int32)',
            'scores = np.bincount(rows, table("items.values") * user[columns], minlength=len(items))',
        ]
    elif product.items is not None:
        lines.append('scores = table("items") @ user')
    return lines
