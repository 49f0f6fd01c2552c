"""Tables of pages: words stand left, numbers right, and rows that are merely counted from 0 lose the count."""

from __future__ import annotations

import html
import re

NUMBER = re.compile(r"[<>≈约]?[-+−±]?[\d.,]+(e[-+]?\d+)?(%|ms|s)?|\[[^\]]*\]|nan|none|inf|—|✓|✗", re.I)
WORD = 'class="textrec-word"'
_TABLE, _PART = re.compile(r"<table\b.*?</table>", re.S), re.compile(r"(<thead.*?</thead>)(.*)", re.S)
_ROW, _CELL = re.compile(r"<tr[^>]*>.*?</tr>", re.S), re.compile(r"<(t[dh])([^>]*)>(.*?)</\1>", re.S)


def tidy_tables(text: str, *, counts: bool = True) -> str:
    """The HTML of an output with its tables set as people read them. counts: keep the rows' numbers 0, 1, 2, …

    A table with cells over several rows or columns, or without a head, stays as it is.
    """
    return _TABLE.sub(lambda found: _tidy(found[0], counts), text)


def _tidy(table: str, counts: bool) -> str:
    parts = _PART.search(table)
    body = [_CELL.findall(row) for row in _ROW.findall(parts[2])] if parts else []
    heads = _ROW.findall(parts[1]) if parts else []
    if not body or len(heads) != 1 or "span=" in table or len({*map(len, [_CELL.findall(heads[0]), *body])}) != 1:
        return table
    columns = [[_words(content) for _, _, content in column] for column in zip(*body)]
    first = body[0][0][0] == "th" and columns[0] == [str(n) for n in range(len(body))]
    drop = first and not counts and not _words(_CELL.findall(heads[0])[0][2])
    words = [sum(not NUMBER.fullmatch(c) for c in column if c) > len(column) / 2 for column in columns]

    def row(found: re.Match) -> str:
        places = iter(range(len(columns)))

        def cell(found: re.Match) -> str:
            n = next(places)
            if drop and n == 0:
                return ""
            tag, attributes, content = found.groups()
            return f"<{tag}{attributes} {WORD}>{content}</{tag}>" if words[n] else found[0]

        return _CELL.sub(cell, found[0])

    return _ROW.sub(row, table)


def _words(content: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", content)).strip()
