"""How a reader's table was written: its encoding by its bytes, its separator by the header. Both are said."""

import codecs
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from textrec_utils.core.errors import DataError
from textrec_utils.datasets.faults import Note
from textrec_utils.datasets.tables import lines_of

_SEPARATORS = {",": "逗号", ";": "分号", "\t": "制表符", "|": "竖线", "，": "全角逗号"}
_PACKED = {b"PK\3\4": "Excel 工作簿", b"\xd0\xcf\x11\xe0": "旧版的 Excel 工作簿", b"\x1f\x8b": "gzip 压缩文件"}
_PLAIN = 0.8  # the share of letters outside ASCII that are everyday 汉字 or marks in what GB 18030 makes of a file


def encoding_of(path: Path) -> tuple[str, list[Note]]:
    """Python's name of the encoding, and a note where it isn't UTF-8.

    A file that is neither is taken for UTF-8, and its reader names the line. Raises DataError for Excel's workbooks.
    """
    try:
        with open(path, "rb") as f:
            head = f.read(4096)
    except OSError:
        return "utf-8-sig", []  # the reader tells why
    for magic, what in _PACKED.items():
        if head.startswith(magic):
            raise DataError(f"{path} 其实是 {what}，不是文字，请打开后另存为“CSV UTF-8”，再用它换掉这个文件。")
    for name, mark, place in (("utf-16-le", codecs.BOM_UTF16_LE, 1), ("utf-16-be", codecs.BOM_UTF16_BE, 0)):
        every_other = head[place:12:2]
        if head.startswith(mark) or len(every_other) > 3 and not any(every_other) and any(head[1 - place : 12 : 2]):
            return name, [Note(f"{path.name} 按 UTF-16 读")]
    if _is_utf8(path) or not _is_gb18030(path):
        return "utf-8-sig", []
    return "gb18030", [Note(f"{path.name} 不是 UTF-8，按 GB18030（GBK）读")]


def separator_of(path: Path, encoding: str, known: Callable[[str], bool]) -> tuple[str, list[Note]]:
    """What parts the header into the most known names, and a note where it isn't the comma."""
    header = next((line for line in lines_of(path, encoding) if line.strip()), "")
    counts = {sep: sum(known(name.strip('"')) for name in header.strip().split(sep)) for sep in _SEPARATORS}
    best = max(counts, key=counts.__getitem__)  # the first where several part it alike
    return best, [] if best == "," else [Note(f"{path.name} 用{_SEPARATORS[best]}分列")]


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(path, "rb") as f:
            while part := f.read(1 << 20):
                decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_gb18030(path: Path) -> bool:
    """Decodes, and into what people write: other encodings decode as well, into rare letters."""
    try:
        text = path.read_bytes().decode("gb18030")
    except UnicodeDecodeError:
        return False
    letters = Counter(letter for letter in text if not letter.isascii())
    plain = sum(count for letter, count in letters.items() if _everyday(letter.encode("gb18030")))
    return "\0" not in text and plain >= _PLAIN * letters.total()


def _everyday(code: bytes) -> bool:
    """GB 2312's marks and its first level, the 3,755 汉字 that texts are made of."""
    return len(code) == 2 and code[1] >= 0xA1 and (0xB0 <= code[0] <= 0xD7 or 0xA1 <= code[0] <= 0xA3)
