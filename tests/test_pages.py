"""HTML pages: complete without a network, readable by everyone, and nothing from data runs in them."""

import os
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.small_course import notebook
from textrec_utils.cli import main
from textrec_utils.core.escape import in_markdown
from textrec_utils.course import build_index, write_page
from textrec_utils.course.pages import is_made
from textrec_utils.course.tables import tidy_tables


def body(tmp_path, *cells) -> BeautifulSoup:
    """The page of a notebook of these cells, less its frame."""
    nbformat.write(new_notebook(cells=list(cells)), tmp_path / "00_page.ipynb")
    write_page(tmp_path / "00_page.ipynb", tmp_path / "00_page.html", "00_page")
    return BeautifulSoup((tmp_path / "00_page.html").read_text(encoding="utf-8"), "html.parser").main


def shows(**data: str):
    """A code cell with one output; `text_html` for text/html."""
    output = new_output("display_data", {kind.replace("_", "/"): text for kind, text in data.items()})
    return new_code_cell("1", outputs=[output])


def test_pages_need_no_network(small_course):
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    page = (small_course / "build" / "report" / "00_first.html").read_text(encoding="utf-8")
    assert "<math" in page and "$" not in page.split("<main>")[1]
    assert 'src="http' not in page and "cdn" not in page.lower() and 'import("' not in page
    assert 'class="mermaid"' in page.split("<main>")[1]
    assert 'href="01_next.html"' in page and 'href="index.html"' in page
    asset = small_course / "build" / "report" / "assets" / "mermaid.tiny.js"
    assert asset.stat().st_size > 1_000_000
    asset.unlink()
    build_index()
    assert asset.exists()


@pytest.mark.kernels
def test_figures_have_words_for_those_who_cannot_see_them(small_course):
    plot = """import matplotlib.pyplot as plt
_, ax = plt.subplots(figsize=(1, 1))
ax.set(xlabel='步', ylabel='损失（nat）')
ax.set_title('学习"曲线"')
plt.show()"""
    notebook(small_course / "notebooks" / "00_first.ipynb", "%matplotlib inline\nimport matplotlib.pyplot", plot)
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    page = (small_course / "build" / "report" / "00_first.html").read_text(encoding="utf-8")
    alts = [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
    assert alts == ['图：测试章。公式 和。步、损失（nat）、学习"曲线"']


ATTACKS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))", "<svg/onload=alert(1)>", "<iframe src='https://example.org'></iframe>",
    "<style>@import 'https://example.org'</style>", "<math><mtext></mtext><script>alert(1)</script></math>",
    "```mermaid\ngraph LR\n<img src=x onerror=alert(1)>\n```", "![x](javascript:alert(1))",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["text_markdown", "text_html"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_from_data_runs_in_a_page(tmp_path, kind, attack):
    main_part = body(tmp_path, shows(**{kind: f"类别 {attack} 末尾"}))
    assert "末尾" in main_part.text
    assert not main_part.select("script, iframe, svg, style")
    for element in main_part.find_all(True):
        assert not [name for name in element.attrs if name.startswith("on")], element
        assert "javascript:" not in str(element.get("href", "")) + str(element.get("src", ""))


@pytest.mark.parametrize(
    "words", ["Harper & Konstan", "<b>茶</b>", "5 < 6 & 7 > 6", "$\\frac$ 和 $x$", "a*b_c`d`", "&lt;"]
)
def test_words_from_data_stand_as_they_are_written(tmp_path, words):
    """Escaped for Markdown by the notebook, and once more by the page: a reader must see neither."""
    found = body(tmp_path, shows(text_markdown=f"- 来源：{in_markdown(words)}"))
    assert found.li.get_text() == f"来源：{words}" and not found.li.find_all()


def test_outputs_that_are_programs_are_left_out(tmp_path):
    main_part = body(tmp_path, shows(application_javascript="alert(1)", text_plain="图"), shows(text_latex="<b>x</b>"))
    assert not main_part.select("script, b") and "图" in main_part.text


def test_tables_keep_their_shape_and_their_dollars(tmp_path):
    table = pd.DataFrame({"类别": ["$a_i$", "<b>$5</b>"], "n": [1, 2]})
    main_part = body(tmp_path, shows(text_html=table.to_html()))
    cells = [cell.text for cell in main_part.select("td")]
    assert cells == ["$a_i$", "1", "<b>$5</b>", "2"] and main_part.select("table.dataframe thead th")
    assert not main_part.select("math")


def test_a_formula_that_cannot_be_read_is_shown_as_written(tmp_path):
    author = new_markdown_cell("价格 $\\frac$ 和 $x^2$")
    main_part = body(tmp_path, author, shows(text_markdown="$\\frac$"))
    assert [code.text for code in main_part.select("code")] == ["\\frac", "\\frac"]
    assert len(main_part.select("math")) == 1


def test_words_of_the_author_keep_their_markup(tmp_path):
    main_part = body(tmp_path, new_markdown_cell("上<br>下\n\n```mermaid\ngraph LR\n a-->b\n```"))
    assert main_part.br and main_part.select("pre.mermaid")[0].text.strip() == "graph LR\n a-->b"


def test_links_lead_somewhere_whatever_has_been_run(small_course):
    """To a chapter that was not run, to its answers, to the course's documents, to other files of the project."""
    folder = small_course / "notebooks"
    told = "[词](glossary.md#词) [下](01_next.ipynb#头) [答](solutions/01_next.ipynb) [锁](../requirements.lock)"
    first = new_markdown_cell(f"# 一\n\n{told}")
    parameters = new_code_cell("k = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[first, parameters]), folder / "00_first.ipynb")
    notebook(folder / "solutions" / "01_next.ipynb", "1")
    (folder / "glossary.md").write_text("# 术语表\n\n## 词\n\n[章](00_first.ipynb)", encoding="utf-8")
    assert CliRunner().invoke(main, ["run", "0"]).exit_code == 0
    report = small_course / "build" / "report"

    def targets(page):
        soup = BeautifulSoup((report / page).read_text(encoding="utf-8"), "html.parser")
        return [link["href"] for link in soup.select("a[href]") if not link["href"].startswith("#")]

    found = targets("00_first.html")
    assert {"glossary.html#词", "01_next.html#头", "solutions-01_next.html"} <= {unquote(href) for href in found}
    for page in ("00_first.html", "glossary.html", "01_next.html", "solutions-01_next.html"):
        for href in targets(page):
            assert (report / unquote(href.partition("#")[0])).exists(), (page, href)
    waiting = (report / "01_next.html").read_text(encoding="utf-8")
    assert "还没有运行过" in waiting and "textrec run 01" in waiting and not is_made(report / "01_next.html")
    index = (report / "index.html").read_text(encoding="utf-8")
    assert "未运行" in index and '<a href="glossary.html">术语表</a>' in index
    assert "✓ 00_first" in (listed := CliRunner().invoke(main, ["list"]).output) and "· 01_next" in listed
    assert CliRunner().invoke(main, ["run", "1"]).exit_code == 0
    assert is_made(report / "01_next.html") and is_made(report / "solutions-01_next.html")
    before = (report / "glossary.html").stat().st_mtime_ns
    build_index()
    assert (report / "glossary.html").stat().st_mtime_ns == before  # made once
    (folder / "glossary.md").write_text("# 改过", encoding="utf-8")
    os.utime(folder / "glossary.md", (2**31, 2**31))
    build_index()
    assert "改过" in (report / "glossary.html").read_text(encoding="utf-8")


def test_words_in_tables_stand_left_and_mere_counts_go():
    table = pd.DataFrame({"方法": ["EASE", "热门"], "ndcg": [0.1, "没有"], "区间": ["[0, 1]", "[-1, +2]"]})
    for given, cells in ((table, 3), (table.set_axis([1, 2]), 4), (table.set_axis(["a", "b"]), 4)):
        soup = BeautifulSoup(tidy_tables(given.to_html(), counts=False), "html.parser")
        assert [len(row.select("td, th")) for row in soup.select("tr")] == [cells] * 3
        left = [cell.text for cell in soup.select("td.textrec-word")]
        assert left == ["EASE", "热门"], left  # one word among numbers doesn't turn a column
    kept = BeautifulSoup(tidy_tables(table.to_html()), "html.parser")
    assert len(kept.select("tr")[0].select("th")) == 4
    odd = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]), index=pd.Index([0], name="n")).to_html()
    assert tidy_tables(odd, counts=False) == odd
    named = table.rename_axis("位置").to_html()
    assert tidy_tables(named, counts=False) == named


def test_code_tagged_hide_input_stands_folded(tmp_path):
    cells = [new_code_cell("shown = 1"), new_code_cell("hidden = 2", metadata={"tags": ["hide-input"]})]
    cells[1].outputs = [new_output("stream", text="结果")]
    folded = body(tmp_path, *cells).select("details.textrec-code")
    assert len(folded) == 1 and folded[0].summary.text == "代码" and "open" not in folded[0].attrs
    assert "hidden" in folded[0].text and "shown" not in folded[0].text and "结果" not in folded[0].text


def test_names_from_data_are_harmless_on_the_front_page_and_in_the_table(small_course):
    table = "report,min_value,dataset,protocol,method,metric,k,value,low,high,users,seconds,peak_mb,parameters,seed\n"
    table += "report,4,=cmd(),p,<img src=x onerror=alert(1)>,ndcg,10,.5,.4,.6,90,1,2,{},0\n"
    path = small_course / "build" / "report" / "metrics" / "report.csv"
    path.parent.mkdir(parents=True)
    path.write_text(table, encoding="utf-8")
    state = small_course / "build" / "state" / "report-x.json"
    state.parent.mkdir()
    state.write_text('{"chapter": "report", "title": "<script>1</script>", "parameters": {"dataset": "<b>"}}')
    index = BeautifulSoup(build_index().read_text(encoding="utf-8"), "html.parser")
    assert not index.select("script, img, b") and "<img src=x onerror=alert(1)>" in index.text
    row = pd.read_csv(path.parent.parent / "metrics.csv").iloc[0]
    assert row["dataset"] == "'=cmd()" and row["value"] == 0.5
