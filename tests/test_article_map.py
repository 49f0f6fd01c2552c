"""The answer to the source article: a section for each of its headings, rows that say something, links that lead."""

import re
from pathlib import Path

import pytest

from tests.notebook_text import NOTEBOOKS, cells, links, text_of

MAP = NOTEBOOKS / "article_map.md"
TEXT = MAP.read_text(encoding="utf-8")

# The headings of the article, by its own numbers (there is no 6.1 to 6.3); 0 is what stands before the first.
HEADINGS = """0 1 2 2.1 2.2 2.3 3 3.1 3.2 3.3 3.4 4 4.1 4.2 4.3 5 5.1 5.2 5.3 5.4 6 6.4 7 7.1 7.2 7.3
              8 8.1 8.2 8.3 8.4 9 9.1 9.2 9.3""".split()
VERDICTS = {"对", "半对", "错", "空泛", "没说"}
MEASURED = re.compile(r"\d\.\d{3,}|\d+\.\d%|\d{1,3}(?:,\d{3})+")  # the figures that a chapter must print


def anchors(path: Path) -> set[str]:
    """What JupyterLab calls the headings of a notebook or a page: their text, with hyphens for spaces."""
    text = text_of(path, "markdown") if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)  # a comment in code is no heading
    return {heading.replace(" ", "-") for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.M)}


def printed(path: Path) -> str:
    """What stands in a notebook and in its outputs."""
    parts = []
    for cell in cells(path):
        parts.append("".join(cell["source"]))
        for output in cell.get("outputs", []):
            shown = [output.get("text", ""), *map(output.get("data", {}).get, ("text/plain", "text/markdown"))]
            parts += ["".join(text) for text in shown if text]
    return "\n".join(parts)


def sections(text: str) -> dict[str, str]:
    """Number -> what stands under its heading, subsections not included."""
    parts = re.split(r"^#{2,3} (.+)$", text, flags=re.M)
    return {title.split()[0]: body for title, body in zip(parts[1::2], parts[2::2])}


def rows(text: str) -> list[list[str]]:
    """The rows of the tables with a verdict: article, verdict, answer, place."""
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in row] for row in table if len(row) == 4]
    return [row for row in table if row[1] != "判断" and set(row[1]) != {"-"}]


@pytest.mark.parametrize("file, section", sorted(set(links(TEXT))))
def test_links_lead_somewhere(file, section):
    target = (NOTEBOOKS / file).resolve() if file else MAP
    assert target.is_relative_to(NOTEBOOKS.parent) and target.is_file(), f"no file {file}"
    assert not section or section in anchors(target), f"no heading {section} in {file or MAP.name}"


def test_the_closing_project_leads_somewhere_and_its_points_make_a_hundred():
    text = (MAP.parent / "project.md").read_text(encoding="utf-8")
    for file, section in links(text):
        assert not section or section in anchors(MAP.parent / file), (file, section)
    rubric = text[text.index("## 评分表") :]
    assert sum(int(points) for points in re.findall(r"^\| [^|]+ \| (\d+) \|", rubric, re.M)) == 100


def test_every_heading_of_the_article_is_answered():
    body = sections(TEXT)
    titles = [number.split()[0] for number in re.findall(r"^\| (\d\S* [^|]+) \|", body["一页看完"], re.M)]
    assert titles == HEADINGS[1:], "the overview has one row a heading"
    assert [n for n in HEADINGS if n not in body] == []
    parents = {n for n in HEADINGS if f"{n}.1" in HEADINGS}
    assert [n for n in HEADINGS if n not in parents and not rows(body[n])] == [], "a heading without a row"


def test_every_row_says_how_the_article_stands_and_where_to_look():
    assert len(rows(TEXT)) > 100
    for article, verdict, answer, place in rows(TEXT):
        assert article and answer, f"an empty cell beside {article or answer}"
        assert verdict in VERDICTS, f"{article}: {verdict}"
        assert links(place), f"{article}: no place"


def test_figures_stand_in_the_chapters_that_the_row_names():
    text = {path: printed(path) for path in NOTEBOOKS.glob("*.ipynb")}
    for article, _, answer, place in rows(TEXT):
        for figure in MEASURED.findall(answer):
            chapters = [NOTEBOOKS / file for file, _ in links(place) if file.endswith(".ipynb")]
            form = rf"(?<![\d.]){re.escape(figure)}(?!\d)"
            assert any(re.search(form, text[c]) for c in chapters), f"{article}: {figure} is nowhere there"


def test_boxes_that_the_map_names_exist():
    """A row in bold 常见错误 leads to a chapter that has a box or a section of that name."""
    named = [row for row in rows(TEXT) if "**常见错误" in row[2]]
    assert len(named) >= 6
    for article, _, answer, place in named:
        name = re.search(r"\*\*常见错误：(.+?)。?\*\*", answer)[1]
        chapters = [printed(NOTEBOOKS / file) for file, _ in links(place)]
        assert any("常见错误" in text and name in text for text in chapters), f"{article}: no box {name}"


def test_the_test_can_fail():
    assert "2-十来行写出自注意力" in anchors(NOTEBOOKS / "04_pretraining.ipynb")
    assert "no such heading" not in anchors(NOTEBOOKS / "04_pretraining.ipynb")
    assert links("[a](b.ipynb#c) [d](e.md) [f](https://g)") == [("b.ipynb", "c"), ("e.md", "")]
    assert rows("| a | 判断 | b | c |\n|---|---|---|---|\n| x \\| y | 错 | b | c |") == [["x \\| y", "错", "b", "c"]]
