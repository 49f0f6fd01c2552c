"""One folder that holds all that serving needs, and a few lines that serve from it without this package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from textrec_utils.baselines.base import Product, Recommender
from textrec_utils.core.errors import DataError
from textrec_utils.core.escape import in_markdown
from textrec_utils.core.files import atomic_folder, sha256_of
from textrec_utils.datasets.dataset import Dataset
from textrec_utils.export import check_folder
from textrec_utils.serving.example import example, recipe
from textrec_utils.serving.service import Service
from textrec_utils.splits import Split

NOTE, SUMS, TABLES = "bundle.json", "SHA256SUMS", "tables.safetensors"
FORMAT = 1
TEXT = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}


def save(service: Service, folder: Path | str) -> Path:
    """Write a service as a folder; `load` reads it again, to the same lists.

    items.csv, users.csv, histories.csv; model/ (`Recommender.save`); tables.safetensors where the score is one product
    of tables; example.py; bundle.json (what it was made of and how a user comes about); README.md; SHA256SUMS.
    A folder of ours is replaced as a whole. Raises DataError for one that holds something else or can't be written.
    """
    from safetensors.numpy import save as packed

    folder, split = check_folder(folder, NOTE), service.split
    items, users = split.dataset.items, split.dataset.users
    product = service.model.product()
    with atomic_folder(folder.resolve()) as new:
        items[["item_id", "title"]].assign(candidate=split.candidates.astype(int)).to_csv(
            new / "items.csv", index=False
        )
        users[["user_id"]].to_csv(new / "users.csv", index=False)
        ids = {"user_id": service.user_ids[split.train["user"]], "item_id": service.item_ids[split.train["item"]]}
        pd.DataFrame(ids | {"timestamp": split.train["timestamp"]}).to_csv(new / "histories.csv", index=False)
        service.model.save(new / "model")
        if product is not None:
            (new / TABLES).write_bytes(packed(tables_of(product)))
        (new / "example.py").write_text(example(product), encoding="utf-8")
        (new / "README.md").write_text(_readme(service, product), encoding="utf-8")
        files = sorted({*(path.name for path in new.iterdir()), NOTE, SUMS})
        note = {"format": FORMAT, "method": service.method, "label": service.label, "files": files}
        note |= {"recipe": recipe(product), **service.about}
        (new / NOTE).write_text(json.dumps(note, ensure_ascii=False, indent=1), encoding="utf-8")
        there = sorted(path for path in new.rglob("*") if path.is_file())
        sums = [f"{sha256_of(path)}  {path.relative_to(new).as_posix()}\n" for path in there]
        (new / SUMS).write_text("".join(sums), encoding="utf-8")
    return folder


def load(folder: Path | str) -> Service:
    """What `save` has written. Raises DataError for anything else, and for files that have changed since."""
    folder = Path(folder)
    try:
        for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
            found, _, name = line.partition("  ")
            if sha256_of(folder / name) != found:
                raise DataError(f"{folder} 里的 {name} 变过（校验和不同）：请重新运行 textrec export。")
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if note["format"] != FORMAT:
            raise DataError(f"{folder} 是另一个版本的课程写的（格式 {note['format']}）：请重新运行 textrec export。")
        items, users, likes = (pd.read_csv(folder / f"{name}.csv", **TEXT) for name in ("items", "users", "histories"))
        split = _split(note, items, users, likes)
        model = Recommender.load(folder / "model")
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} 不是 textrec export 写的文件夹，或缺了文件：请检查路径，或重新导出。") from error
    about = {key: value for key, value in note.items() if key not in ("format", "method", "label", "files", "recipe")}
    return Service(model, split, note["method"], note["label"], about)


def _split(note: dict, items: pd.DataFrame, users: pd.DataFrame, likes: pd.DataFrame) -> Split:
    row_of = [pd.Series(np.arange(len(ids)), index=ids) for ids in (users["user_id"], items["item_id"])]
    train = pd.DataFrame({
        "user": row_of[0].loc[likes["user_id"]].to_numpy(), "item": row_of[1].loc[likes["item_id"]].to_numpy(),
        "timestamp": likes["timestamp"].astype(float), "value": 1.0,
    })  # fmt: skip
    liked = likes[["user_id", "item_id"]].assign(timestamp=train["timestamp"], value=1.0)
    data = Dataset(note["dataset"], items.assign(text=""), users.assign(text=""), liked, "", note["dataset"])
    nothing, candidates = train.iloc[:0], (items["candidate"] == "1").to_numpy()
    return Split(data, note["protocol"], train, nothing, nothing, "", candidates)


def tables_of(product: Product) -> dict[str, np.ndarray]:
    """float32 tables by name; a sparse one as `name.rows`, `name.columns`, `name.values` and `name.shape`. A table that
    stands for both sides is there once, as `items`."""
    found: dict[str, np.ndarray] = {}
    for name in ("history", "items", "users", "scores"):
        table = getattr(product, name)
        if table is None or (name == "history" and table is product.items):
            continue
        if sparse.issparse(table):
            cells = sparse.coo_array(table)
            found |= {f"{name}.rows": cells.row.astype(np.int32), f"{name}.columns": cells.col.astype(np.int32)}
            found |= {f"{name}.values": cells.data.astype(np.float32), f"{name}.shape": np.array(cells.shape, np.int32)}
        else:
            found[name] = np.ascontiguousarray(table, dtype=np.float32)
    return found


def _readme(service: Service, product: Product | None) -> str:
    about, made = service.about, recipe(product)
    learned = "全部" if about["all_data"] else "训练部分的"
    lines = [
        f"# {in_markdown(service.label)}：{in_markdown(about['dataset'])}", "",
        f"方法 `{service.method}`，用{learned} {about['likes']:,} 条喜欢训练，{about['made']} 做成；"
        f"{service.split.n_users:,} 位用户，{service.split.n_items:,} 件物品。", "",
        made["says"], "",
        "| 文件 | 内容 |", "|---|---|",
        "| `items.csv` | 物品编号和标题；第几行就是表里的第几行。`candidate` 为 0 的不推荐 |",
        "| `users.csv`、`histories.csv` | 用户编号，和他们喜欢过的物品（旧的在前）：这是个人数据，请照此保管 |",
        *["| `tables.safetensors` | 算分数要的表，float32 |"] * (product is not None),
        "| `model/` | 本课程的程序读的同一个模型 |",
        "| `example.py` | 怎样推荐，"
        + ("只要 numpy" if product is not None else "要装 textrec-utils") + f"：`python example.py {made['takes']}` |",
        "| `bundle.json` | 数据的校验和、设置、版本、用户向量的算法 |",
        "| `SHA256SUMS` | 各文件的校验和：`sha256sum -c SHA256SUMS` |", "",
        "在 Python 里：", "", "```python", "from textrec_utils.serving import load", "",
        'service = load("这个文件夹")', f"service.recommend_for({service.user_ids[0]!r}, n=10)", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)
