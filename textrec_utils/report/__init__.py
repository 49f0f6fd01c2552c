"""The report: which methods there are, their run on one split, and what the numbers allow to say."""

from textrec_utils.report import (
    advice,
    claims,
    comparisons,
    examples,
    figures,
    groups,
    own_tower,
    summary,
    verdict,
    words,
)  # fmt: skip
from textrec_utils.report.methods import FUSION_WEIGHT, METHODS, PROFILES, Method, Workshop, methods_of, register
from textrec_utils.report.reading import open_encoder
from textrec_utils.report.run import Report, open_split, threshold

__all__ = [
    "FUSION_WEIGHT", "METHODS", "PROFILES", "Method", "Report", "Workshop", "advice", "claims", "comparisons",
    "examples", "figures", "groups", "methods_of", "open_encoder", "open_split", "own_tower", "register", "summary",
    "threshold", "verdict", "words",
]  # fmt: skip
