"""With what, and how much, a report reads the texts."""

from __future__ import annotations

from textrec_utils.datasets.dataset import Dataset
from textrec_utils.datasets.registry import DATASETS
from textrec_utils.encoder.encoder import Encoder
from textrec_utils.encoder.lengths import LEAST, length_for


def open_encoder(
    data: Dataset, dataset: str, model: str, *, prefix: str = "", pooling: str = "auto", max_length: str | int = "auto"
) -> tuple[Encoder, str]:
    """The encoder of a report, and one sentence on how much it reads, "" where that needs none.

    dataset: its name or folder, as it was asked for. max_length: auto is `length_for` these texts; of the course's own
    data LEAST tokens, as in the chapters, whose numbers the report's shall be comparable with. Raises DataError where
    the model can't be had or can't encode a text: now, not minutes later.
    """
    encoder = Encoder(model, prefix=prefix, pooling=pooling, max_length=max_length)
    if max_length != "auto":
        return encoder, ""
    if dataset in DATASETS:
        encoder.max_length = min(LEAST, encoder.most)
        return encoder, ""
    found = length_for(encoder.lengths(list(data.items["text"])), encoder.most, encoder.layer_parameters)
    encoder.max_length = found.max_length
    return encoder, str(found)
