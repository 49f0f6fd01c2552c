"""A course of two chapters and a report in a folder of its own, for the tests of runner, pages and command line."""

from pathlib import Path

import nbformat
import pytest

from textrec_utils.core.files import atomic_path
from textrec_utils.course import runner

PARAMETERS = 'word = "好"\nk = 10\nseed = 0\nrate = 0.5\nfast = True\nks = [5, 10]'
REPORT_PARAMETERS = 'dataset = "movielens-zh"\nk = 10\nmin_value = 0.0\nmetrics_csv = ""\nreport_id = ""'
FIRST = """# 测试章
公式 $a_i^2$ 和

$$\\sum_{r=1}^{k} \\frac{1}{r}$$

```mermaid
flowchart LR
 a-->b
```

[下一章](01_next.ipynb)"""
ROWS = """from pathlib import Path
import pandas as pd
row = dict(report=report_id, min_value=min_value, dataset=Path(dataset).name, protocol='p', method='m', metric='recall')
row |= dict(k=k, value=.5 + min_value / 100, low=.4, high=.6, users=90, seconds=1.0, peak_mb=2.0)
row |= dict(parameters='{}', seed=0)
pd.DataFrame([row]).to_csv(metrics_csv, index=False)"""


def notebook(path: Path, *sources: str, parameters: str = PARAMETERS, tags: tuple[str, ...] = ()) -> None:
    """A notebook of one Markdown cell, one cell of parameters and these code cells, the last one with `tags`."""
    cells = [nbformat.v4.new_markdown_cell(FIRST)]
    cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(s) for s in sources]
    if tags:
        cells[-1].metadata["tags"] = list(tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def in_this_process(chapter, parameters, executed, begun, step) -> None:
    """What the runner's `_execute` does, without a kernel: ten times as quick."""
    content, said = nbformat.read(chapter.path, as_version=4), []
    names = {"print": lambda *words: said.append(" ".join(map(str, words)) + "\n")}
    for index, cell in enumerate(content.cells):
        begun(cell, index)
        if cell.cell_type == "code":
            exec(cell.source, names)
            cell.outputs = [nbformat.v4.new_output("stream", text="".join(said))]
            said.clear()
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters
    with atomic_path(executed) as path:
        nbformat.write(content, path)


@pytest.fixture
def small_course(tmp_path, monkeypatch, request):
    """Its folder. Notebooks run in this process, but in kernels under `@pytest.mark.kernels` and in other processes."""
    if not request.node.get_closest_marker("kernels"):
        monkeypatch.setattr(runner, "_execute", in_this_process)
    notebooks = tmp_path / "notebooks"
    notebook(notebooks / "00_first.ipynb", "print(word, k)")
    notebook(notebooks / "01_next.ipynb", "print('第二章')")
    notebook(notebooks / "report.ipynb", ROWS, parameters=REPORT_PARAMETERS)
    monkeypatch.setenv("TEXTREC_NOTEBOOKS", str(notebooks))
    monkeypatch.setenv("TEXTREC_BUILD", str(tmp_path / "build"))
    return tmp_path
