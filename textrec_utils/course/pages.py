"""An executed notebook as one HTML page that needs no network and runs nothing that came from data."""

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

from textrec_utils.core.files import write_atomic
from textrec_utils.core.paths import build_dir, notebooks_dir, project_root
from textrec_utils.course.alt_text import describe_figures
from textrec_utils.course.chapters import Chapter, chapters, the_report
from textrec_utils.course.tables import tidy_tables

STATIC = Path(__file__).resolve().parents[1] / "static"
ANSWERS = "solutions-"  # prefix of the pages of worked answers
NOT_RUN = "<!-- textrec: not run -->"  # near the beginning of a page that only says so
SHOWN = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg", "image/svg+xml")
TAGS = (
    "a", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "details", "div", "dl", "dt", "em", "h1",
    "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "small", "span", "strong", "sub",
    "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
)  # fmt: skip
ATTRIBUTES = ("alt", "border", "class", "colspan", "height", "href", "id", "rowspan", "scope", "src", "style", "title")


def write_page(notebook: Path, page: Path, name: str, title: str = "") -> None:
    """name: of the chapter that the notebook is a run of, for the links to its neighbours. title: of the page, for tabs
    and bookmarks; the notebook's first heading where there is none."""
    import nbformat

    names = [c.name for c in chapters()]
    links = [("目录", "index.html")]
    if page.stem.startswith(ANSWERS):
        links.append(("回到这一章", f"{name}.html"))
    elif name in names:
        i = names.index(name)
        if i > 0:
            links.append(("上一章", f"{names[i - 1]}.html"))
        if i + 1 < len(names):
            links.append(("下一章", f"{names[i + 1]}.html"))
    content = nbformat.read(notebook, as_version=4)
    describe_figures(content.cells)
    # Chapters are read with their code; a report goes to people who want the findings.
    _write(content, title or Chapter(notebook).title, page, links, findings_only=name == "report")


def write_documents() -> dict[str, str]:
    """The course's documents (`notebooks/*.md`) as pages beside the chapters', and a word where a chapter's page, or
    that of its answers, would be: links lead somewhere whatever has been run. A page that is there stays. Returns
    the documents' titles by page."""
    import jinja2
    from nbformat.v4 import new_markdown_cell, new_notebook

    folder, titles = build_dir() / "report", {}
    looks = max(path.stat().st_mtime for path in (STATIC / "page.html.j2", Path(__file__)))
    for source in sorted(notebooks_dir().glob("*.md")):
        page = folder / f"{source.stem}.html"
        text = source.read_text(encoding="utf-8")
        found = re.search(r"^#\s+(.+)$", text, re.M)
        titles[page.name] = title = found[1] if found else source.stem
        if not page.exists() or page.stat().st_mtime <= max(looks, source.stat().st_mtime):
            content = new_notebook(cells=[new_markdown_cell(text)])
            _write(content, title, page, [("目录", "index.html")], findings_only=True)
    template = jinja2.Environment(autoescape=True).from_string((STATIC / "not_run.html.j2").read_text(encoding="utf-8"))
    for chapter in [*chapters(), the_report()]:
        for notebook, prefix in ((chapter.path, ""), (chapter.answers, ANSWERS)):
            page = folder / f"{prefix}{chapter.name}.html"
            if notebook.exists() and not page.exists():
                word = chapter.name.partition("_")[0]
                told = {"title": chapter.title, "answers": bool(prefix), "run": "report" if word == "report" else ""}
                told |= {"word": word, "href": _relative(notebook, page), "mark": NOT_RUN}
                write_atomic(page, template.render(told).encode())
    return titles


def is_made(page: Path) -> bool:
    """Is it there, and no mere word that the chapter was not run?"""
    try:
        with open(page, encoding="utf-8", errors="replace") as file:
            return NOT_RUN not in file.read(200)
    except OSError:
        return False


def _relative(target: Path, page: Path) -> str:
    """A file's address as seen from a page."""
    try:
        return quote(Path(os.path.relpath(target, page.parent)).as_posix())
    except ValueError:  # another drive
        return target.resolve().as_uri()


def _write(content, title: str, page: Path, links: list[tuple[str, str]], *, findings_only: bool) -> None:
    """links: (words, address) at the page's head. findings_only: without code and numbers of cells."""
    from traitlets.config import Config

    choices = {"embed_images": True, "exclude_input": findings_only, "exclude_output_prompt": findings_only}
    exporter = _offline_exporter()(
        config=Config({"HTMLExporter": choices}), template_file="page.html.j2", language_code="zh",
        extra_template_basedirs=[str(STATIC.parent)], extra_template_paths=[str(STATIC)],
    )  # fmt: skip
    content.metadata["title"] = title
    _make_harmless(content.cells, counts=not findings_only)
    resources = {"textrec_nav": links, "textrec_findings_only": findings_only}
    text, _ = exporter.from_notebook_node(content, resources=resources)
    # Links between notebooks become links between pages, which all lie in one folder.
    text = re.sub(r'href="(?:\./|\.\./)?([\w-]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', text)
    documents = "|".join(re.escape(path.stem) for path in notebooks_dir().glob("*.md"))
    text = re.sub(rf'href="(?:\./|\.\./)?({documents or "(?!)"})\.md(#[^"]*)?"', r'href="\1.html\2"', text)
    text = re.sub(r'href="(?:\./)?solutions/([\w-]+)\.ipynb(#[^"]*)?"', rf'href="{ANSWERS}\1.html\2"', text)

    def elsewhere(found: re.Match) -> str:
        return f'href="{_relative(project_root() / found[1], page)}{found[2] or ""}"'

    text = re.sub(r'href="(?:\.\./)+([\w./-]+)(#[^"]*)?"', elsewhere, text)  # other files lie where they lie
    write_atomic(page, text.encode())


def _make_harmless(cells, counts: bool) -> None:
    """Outputs may hold names from data: no scripts, and of their HTML what tables and text need. counts: as in
    `tidy_tables`."""
    import bleach
    from bleach.css_sanitizer import CSSSanitizer

    css = CSSSanitizer()
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in set(data) - set(SHOWN):
                del data[kind]
            if "text/html" in data:
                # pandas writes a style sheet before each table; the page brings its own
                text = re.sub(r"<style\b.*?</style>", "", data["text/html"], flags=re.S | re.I)
                text = bleach.clean(text, TAGS, list(ATTRIBUTES), css_sanitizer=css, strip=True)
                data["text/html"] = tidy_tables(text, counts=counts)


def _offline_exporter():
    import latex2mathml.converter
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        """Formulas become MathML, which browsers draw themselves; one that can't be read is shown as written."""

        def inline_math(self, body: str, display: str = "inline") -> str:
            try:
                return latex2mathml.converter.convert(body, display=display)
            except Exception:  # its errors have no common base, some are IndexErrors
                return f"<code>{html.escape(body)}</code>"

        def text(self, text: str) -> str:
            """Entities are what they stand for, escaped once, also where everything is escaped."""
            return html.escape(html.unescape(text), quote=False)

        def block_math(self, body: str) -> str:
            return self.inline_math(body, "block")

        def block_mermaidjs(self, code: str) -> str:
            return super().block_mermaidjs(html.escape(code, quote=False))

    class OfflineExporter(HTMLExporter):
        def markdown2html(self, context, source):
            cell, made = context.get("cell", {}), "output" in context  # made by code: perhaps of words from data
            renderer = Renderer(
                escape=made, allow_harmful_protocols=not made, attachments=cell.get("attachments", {}),
                embed_images=not made, path=str(notebooks_dir()), anchor_link_text="¶",
            )  # fmt: skip
            return MarkdownWithMath(renderer=renderer).render(source)

        markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg

    return OfflineExporter
