"""Does the report's text method hold on data that no setting was chosen on? On all items and on new ones, beside
TF-IDF, popularity, the vectors as they are, the course's towers; what validation has chosen, intervals over users.

    python benchmarks/own_data.py [--without-towers] [data set or folder …]

kuairec by default, without the towers. Folders and names as `textrec report -p dataset` takes them.
Each line of the second table: NDCG@10 of the text method that validation chooses, less a rival's, as a share of the
rival's, with its 95% interval (paired bootstrap over users). The bar: no lower end below −2% where the data are enough.
"""

import sys
import time

import pandas as pd

from textrec_utils.core import DataError
from textrec_utils.datasets import load_dataset
from textrec_utils.evaluation.statistics import compare
from textrec_utils.report import METHODS, Report, open_split

RIVALS = ("tfidf_word", "tfidf_char", "bm25_char", "popularity", "bert_center", "bert_whiten", "lexical", "both")
TOWERS = ("two_tower", "two_tower_both")
OURS = "own_tower"
NAMES, WITHOUT = ("kuairec",), "--without-towers"


def judge(report: Report, name: str) -> tuple[list[dict], list[dict]]:
    """Rows of both tables."""
    start = time.perf_counter()
    report.run()
    report.validate()
    main, found = report.main, report.results
    said = {"data": name, "split": report.split.protocol}
    scores = [
        said | {"method": key, "validation": report.validation.get(key), main: r.mean(main),
                "seconds": round(r.cost.seconds, 1)}
        for key, r in found.items()
    ]  # fmt: skip
    if OURS in report.chosen:
        print(f"\n{name}, {report.split.protocol}, {report.users:,} users, {time.perf_counter() - start:.0f} s")
        print(report.chosen[OURS].table.round(4).to_string())
    best, gaps = report.best("text").key, []
    for ours in dict.fromkeys((OURS, best)):
        for key in (*RIVALS, *TOWERS):
            if key in found and ours in found and key != ours:
                base = found[key].mean(main)
                test = compare(found[ours].users[main], found[key].users[main])
                gaps.append(said | {
                    "ours": ours, "best": ours == best, "rival": key, "difference": test.difference / base,
                    "low": test.low / base, "high": test.high / base,
                })  # fmt: skip
    return scores, gaps


def main(*words: str) -> None:
    names = [word for word in words if word != WITHOUT]
    towers = TOWERS if names and WITHOUT not in words else ()
    for key in set(METHODS) - {*RIVALS, *towers, OURS, "random"}:
        del METHODS[key]
    scores, gaps = [], []
    for name in names or NAMES:
        report = Report(open_split(load_dataset(name)))
        reports = [report]
        if report.split.protocol != "cold_items":
            try:
                reports.append(report.among_new_items())
            except DataError as error:
                print(error)
        for made in reports:
            for table, rows in zip((scores, gaps), judge(made, name.rstrip("/").split("/")[-1])):
                table += rows
    print(pd.DataFrame(scores).round(4).to_string(index=False))
    print(pd.DataFrame(gaps).round(3).to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
