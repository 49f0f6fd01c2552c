"""Words that come from data, made harmless for where they are shown: they may hold markup, formulas, commands."""

from __future__ import annotations

import html
import re

_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-!|~$>])")


def in_markdown(text: object) -> str:
    """Shown in Markdown as it is written: no HTML, no formula, no link, no table cell."""
    return _MARKS.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False)).replace("\\$", "&#36;")


def in_figure(text: object) -> str:
    """Shown by matplotlib as it is written: a dollar sign is no formula."""
    return " ".join(str(text).split()).replace("$", r"\$")


def in_format(text: object) -> str:
    """What `str.format` leaves as it is written: a brace is no field. papermill formats the paths that it is given."""
    return str(text).replace("{", "{{").replace("}", "}}")


def in_csv(text: object) -> str:
    """A cell that a spreadsheet shows instead of running it (a leading = + - @ begins a command there)."""
    text = str(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
