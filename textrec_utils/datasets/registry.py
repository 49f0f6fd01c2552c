"""The one door to all data. A new format of folders is a line in FORMATS.

What a new named dataset needs:
- a file beside this one with its loader, `load_<name>() -> Dataset` (the contract: dataset.py), and a line in DATASETS;
- a line in data/checksums.csv for every file that it reads: `dataset,file,sha256`. The loader gets the paths in the
  order of these lines, from `downloads.fetch(name, source, ...)`, or from `downloads.shipped(name)` if the files come
  with the course: then they lie in data/<name>/ with a README.md of their source, licence and changes, which must
  allow to pass them on;
- a row in the tables of datasets and licences in README.md and README.zh-CN.md.
"""

import os.path
from pathlib import Path

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.amazon_cn import load_amazon_cn
from textrec_utils.datasets.amazon_reviews import load_amazon_reviews
from textrec_utils.datasets.caixin import load_caixin
from textrec_utils.datasets.dataset import Dataset, finish
from textrec_utils.datasets.kuairec import load_kuairec
from textrec_utils.datasets.lastfm import load_lastfm
from textrec_utils.datasets.mind import load_mind
from textrec_utils.datasets.movielens import load_movielens
from textrec_utils.datasets.own_folder import load_own_folder
from textrec_utils.datasets.recbole import load_recbole

DATASETS = {
    "movielens-zh": load_movielens, "caixin": load_caixin, "kuairec": load_kuairec, "amazon-cn": load_amazon_cn,
    "hetrec-lastfm": load_lastfm,
}  # fmt: skip

FORMATS = (  # a folder's format is told by the first of these patterns that a file in it fits
    (("items.csv", "interactions.csv"), load_own_folder),
    (("*.inter",), load_recbole),
    (("news.tsv", "behaviors.tsv"), load_mind),
    (("meta_*.jsonl*",), load_amazon_reviews),
)
DROPPING = (load_own_folder, load_amazon_reviews)  # formats that take on_missing


def load_dataset(name_or_path: str | Path = "movielens-zh", *, on_missing: str = "refuse") -> Dataset:
    """Load a named dataset or a folder of your own under the contract of `Dataset`.

    name_or_path: a name in DATASETS, or a folder with items.csv and interactions.csv (optional users.csv), RecBole
        atomic files, MIND's two files, or the two .jsonl.gz files of a category of Amazon Reviews 2023.
    on_missing: in a folder of your own (or of Amazon's), what becomes of items without words and of interactions
        without an id, a time or a listed item: "refuse", or "drop" (up to half of the rows; `Dataset.removed` counts).
    Raises DataError, one sentence, for anything missing, damaged or malformed.

    >>> load_dataset("no-such-data")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    textrec_utils.core.errors.DataError: 没有数据集 no-such-data：可用的名字有 movielens-zh、...
    """
    if on_missing not in ("refuse", "drop"):
        raise DataError(f"on_missing 可以是 refuse、drop，得到 {on_missing}，请改用其中之一。")
    if str(name_or_path) in DATASETS:
        return finish(DATASETS[str(name_or_path)]())
    folder = Path(os.path.expanduser(name_or_path))
    if not folder.is_dir():
        names = "、".join(DATASETS)
        raise DataError(f"没有数据集 {name_or_path}：可用的名字有 {names}，也可以给一个文件夹的路径。")
    try:
        for patterns, load in FORMATS:
            if any(next(folder.glob(pattern), None) for pattern in patterns):
                if load in DROPPING:
                    return finish(load(folder, on_missing=on_missing))
                if on_missing != "refuse":
                    raise DataError(f"文件夹 {folder} 是别的格式，没有 on_missing：请去掉这个参数，把缺的补上或删掉。")
                return finish(load(folder))
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"文件夹 {folder} 读不了（{type(error).__name__}），请检查权限和磁盘。") from None
    if books := [name for name in names if name.lower().endswith((".xls", ".xlsx"))]:
        what = f"文件夹 {folder} 里是 Excel 工作簿 {books[0]}"
        raise DataError(f"{what}，请把每张表另存为“CSV UTF-8”：items.csv、interactions.csv。")
    there = "、".join([name for name in names if name.lower().endswith((".csv", ".tsv", ".txt"))][:5])
    raise DataError(
        f"文件夹 {folder} 里没有认识的数据{f'（有 {there}）' if there else ''}：需要 items.csv 和 interactions.csv，"
        "或 RecBole 的 .inter/.item，或 MIND 的 news.tsv/behaviors.tsv，或 Amazon Reviews 2023 的 meta_*.jsonl.gz。"
    )
