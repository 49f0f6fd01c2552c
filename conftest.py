"""For all tests and for notebooks under nbval: what needs data that the course doesn't ship, where they can't be had,
and how long each notebook took.

A notebook names the data sets behind its committed outputs in `metadata.textrec.datasets`. Where one can't be had, its
cells still run, and may not fail, but nothing is compared. Marked `needs_data`: those notebooks, and the tests that ask
for the fixture `mirror` (`textrec test --data` runs nothing else).
"""

from collections import Counter

import pytest

pytest_plugins = ["tests.small_course"]


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_data: needs data sets that the course doesn't ship")
    config.addinivalue_line("markers", "kernels: the small course's notebooks run in kernels")
    config.addinivalue_line("markers", "in_mirror(*names): folders that the fixture `mirror` must have")


def _datasets(item) -> list[str]:
    notebook = getattr(item.parent, "nb", None)
    return list(notebook.metadata.get("textrec", {}).get("datasets", [])) if notebook else []


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    for item in items:
        if "mirror" in getattr(item, "fixturenames", ()) or _datasets(item):
            item.add_marker("needs_data")


def pytest_runtest_setup(item):
    from textrec_utils.course.chapters import why_not

    reasons = [reason for name in _datasets(item) if (reason := why_not(name))]
    if reasons:
        item.options["check"] = False
        item.user_properties.append(("not compared", (item.nodeid.split("::")[0], " ".join(reasons))))


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    seconds = Counter()
    for report in reports:
        notebook = getattr(report, "nodeid", "").split("::")[0]
        if notebook.endswith(".ipynb"):
            seconds[notebook] += report.duration
    if seconds:  # for SECONDS in course/chapters.py, by which the next run puts the longest first
        told = "，".join(f"{name} {taken:.0f}" for name, taken in seconds.most_common())
        terminalreporter.write_line(f"每个笔记本用的秒数：{told}")
    found = {
        tuple(value) for r in reports for name, value in getattr(r, "user_properties", ()) if name == "not compared"
    }
    for notebook, reason in sorted(found):
        terminalreporter.write_line(f"{notebook}：跑过了，输出没有比较，因为缺数据。{reason}")
