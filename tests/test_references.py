"""Bibliography, glossary and notation: what they name is there, and what the chapters cite is named."""

import re
import unicodedata
from functools import cache

import pytest

from tests.notebook_text import NOTEBOOKS, links, text_of

ROOT = NOTEBOOKS.parent
PAGES = ["references.md", "glossary.md", "notation.md", "project.md"]


@cache
def read(page: str) -> str:
    return (NOTEBOOKS / page).read_text(encoding="utf-8")


@cache
def chapter(name: str, kinds: tuple[str, ...] = ("markdown", "code")) -> str:
    return text_of(NOTEBOOKS / name, *kinds).replace("**", "")


def rows(page: str, columns: int) -> list[list[str]]:
    """Cells of the rows, less heads, of all tables with so many columns. A bar within a cell has to be \\lvert."""
    tables = re.findall(r"^(\|.+\|)\n\|[:|-]+\|\n((?:\|.+\|\n?)+)", read(page), re.M)
    found = []
    for head, body in tables:
        cells = [line.strip("| ").split("|") for line in body.splitlines()]
        assert {len(line) for line in cells} == {head.strip("| ").count("|") + 1}, head
        found += [[cell.strip() for cell in line] for line in cells if len(line) == columns]
    return found


@cache
def works() -> dict[str, dict[str, str]]:
    """Fields of every entry of references.bib: `@kind{key,`, one `name = {value},` a line, `}`."""
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@(\w+)\{(\w+),\n((?:  \w+ = \{.*\},\n)+)\}$", text, re.M)
    assert len(entries) == text.count("\n@"), "an entry that can't be read"
    keys = [key for _, key, _ in entries]
    assert len(keys) == len(set(keys)), "a key twice"
    return {key: dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.M)) | {"kind": kind} for kind, key, body in entries}


def plain(text: str) -> str:
    """Without TeX and without accents."""
    text = re.sub(r"\{?\\[\"'~vr] ?(\w)\}?", r"\1", text).replace("--", "–")
    decomposed = unicodedata.normalize("NFD", re.sub(r"[{}\\]", "", text))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def test_entries_are_whole():
    places = {"article": "journal", "inproceedings": "booktitle", "incollection": "booktitle", "book": "publisher",
              "misc": "archiveprefix", "techreport": "institution"}  # fmt: skip
    for key, work in works().items():
        place = "url" if "url" in work else places[work["kind"]]
        assert {"author", "title", "year", place} <= set(work), key
        assert work["year"] in key and re.fullmatch(r"(1[89]|20)\d\d", work["year"]), key
        assert all(value.count("{") == value.count("}") for value in work.values()), key
    for field in ("title", "doi", "eprint", "url"):
        values = [work[field] for work in works().values() if field in work]
        assert len(values) == len(set(values)), f"one {field} twice"


def test_every_work_is_on_the_page():
    lines = {line.rsplit("`", 2)[-2]: line for line in read("references.md").splitlines() if line.startswith("- ")}
    assert set(lines) == set(works())
    for key, work in works().items():
        shown = re.search(r"　(?:\[(.+?)\]\(http|\*(.+?)\*。|《(.+?)》。)", lines[key])
        assert plain(work["title"]) in shown.groups() and work["year"] in lines[key].split("　")[0], key
        assert (work.get("doi") or work.get("eprint") or work.get("url", "")) in lines[key], key


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    assert [file for file, _ in links(read(page)) if not (NOTEBOOKS / file).exists()] == []


def cited() -> dict[tuple[str, str], str]:
    """{(first surname, year): where} of what chapters, answers and docstrings cite in an author-year form."""
    name = r"[A-ZÀ-Ž][a-zà-ž][A-Za-zÀ-ž]*(?:-[A-Z][a-zà-ž]+)*"
    others = rf"(?:(?:、| ?& ?|与|和){name})*等?"
    chinese = rf"((?:van der )?{name}(?: Dacrema| Jones)?){others}[，（ ]*((?:19|20)\d\d)(?!\d|年|-)"
    english = rf"({name})(?:, {name})*(?: & {name})?(?: et al\.)?,? ((?:19|20)\d\d)\)"
    found = {}
    for path in sorted(NOTEBOOKS.rglob("[0-9r]*.ipynb")):
        text = chapter(path.relative_to(NOTEBOOKS).as_posix(), ("markdown",))
        found |= {match: path.name for match in re.findall(chinese, text)}
    for path in sorted((ROOT / "textrec_utils").rglob("*.py")):
        found |= {match: path.name for match in re.findall(english, path.read_text(encoding="utf-8"))}
    return found


def test_what_is_cited_has_an_entry():
    known = {(plain(work["author"].split(" and ")[0].split(",")[0]), work["year"]) for work in works().values()}
    assert len(cited()) > 40
    unknown = {(plain(name), year): where for (name, year), where in cited().items()}
    no_works = {("Reviews", "2023")}
    assert {one: where for one, where in unknown.items() if one not in known | no_works} == {}


def test_terms_are_in_their_chapters():
    terms = rows("glossary.md", 4)
    assert len(terms) > 150 and len({term for term, *_ in terms}) == len(terms)
    names = [path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb")]
    homeless = [term for term, *_, where in terms if where == "—"]
    told = {term: name for name in names for term in homeless if term in chapter(name, ("markdown",))}
    assert told == {}, "give these terms their chapter"
    linked = [(term, file) for term, *_, where in terms for file, _ in links(where)]
    assert len(linked) + len(homeless) == len(terms)
    assert [(term, file) for term, file in linked if term not in chapter(file)] == []


def test_symbols_are_in_their_chapters():
    def bare(text):
        return re.sub(r"[\s{}]", "", text)

    for symbols, _, _, where in rows("notation.md", 4):
        written = [bare(symbol) for symbol in re.findall(r"\$([^$]+)\$", symbols)]
        for file, _ in links(where):
            assert any(symbol in bare(chapter(file, ("markdown",))) for symbol in written), (symbols, file)
