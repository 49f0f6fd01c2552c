"""What language models must beat: popularity, neighbours, linear models, factorisation, words, under one contract."""

from textrec_utils.baselines.base import Recommender
from textrec_utils.baselines.bm25 import BM25
from textrec_utils.baselines.content import HistoryMean, tfidf_vectors, unit_rows
from textrec_utils.baselines.ease import EASE, EASEWithText
from textrec_utils.baselines.factors import ALS, BPR
from textrec_utils.baselines.history import history_weights
from textrec_utils.baselines.neighbours import ItemKNN, RP3Beta, UserKNN
from textrec_utils.baselines.prior import TextPopularity
from textrec_utils.baselines.simple import Popularity, Random, RecentPopularity

__all__ = [
    "ALS", "BM25", "BPR", "EASE", "EASEWithText", "HistoryMean", "ItemKNN", "Popularity", "RP3Beta", "Random",
    "RecentPopularity", "Recommender", "TextPopularity", "UserKNN", "history_weights", "tfidf_vectors", "unit_rows",
]  # fmt: skip
