"""What is written in notebooks and pages: cells, their text, where links lead."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@cache  # not to be changed
def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text_of(path: Path, *kinds: str) -> str:
    """The sources of a notebook's cells of these kinds, a line after the other."""
    return "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] in kinds)


def links(text: str) -> list[tuple[str, str]]:
    """(file, section) of each relative link of a Markdown text; either may be empty."""
    found = re.findall(r"\]\(([^()\s#]*)(?:#([^()\s]*))?\)", text)
    return [(unquote(file), unquote(section)) for file, section in found if not re.match(r"\w+:", file)]
