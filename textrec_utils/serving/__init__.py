"""From report to production: a method trained on all data, its lists by id with reasons, a folder that others serve."""

from textrec_utils.serving.bundle import load, save
from textrec_utils.serving.service import Service
from textrec_utils.serving.training import named, train

__all__ = ["Service", "load", "named", "save", "train"]
