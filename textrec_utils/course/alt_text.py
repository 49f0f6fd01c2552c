"""Alternative texts of figures, for those who cannot see them."""

import ast
import re


def describe_figures(cells) -> None:
    """Give each figure an alternative text: its section, the first sentence before it, titles and axes in its code."""
    heading = prose = ""
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+\s+(.+)$", cell.source, re.M))[-1]
            lines = [line for line in cell.source.splitlines() if re.match(r"[^\s#|>`$<-]", line)]
            prose = re.sub(r"\$[^$]*\$|\]\([^)]*\)|[*`\[]", "", lines[0]).partition("。")[0] if lines else ""
            prose = " ".join(prose.split())
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                words = [heading, prose, "、".join(_labels(cell.source))]
                output.metadata.setdefault("image/png", {})["alt"] = "图：" + "。".join(filter(None, words))


def _labels(source: str) -> list[str]:
    """The titles and axis names that a cell's code gives to its figure, in the order of the code."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:  # a cell with magics
        return []
    found = []
    for call in calls:
        named = [k.value for k in call.keywords if k.arg in ("title", "xlabel", "ylabel")]
        if getattr(call.func, "attr", "") in ("set_title", "set_xlabel", "set_ylabel"):
            named += call.args[:1]
        found += [v for v in named if isinstance(v, ast.Constant) and isinstance(v.value, str) and v.value]
    return list(dict.fromkeys(v.value for v in sorted(found, key=lambda v: (v.lineno, v.col_offset))))
