"""HTML pages: complete without a network, readable by everyone, and nothing from data runs in them."""

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
