"""Helper package of the course 《预训练语言模型与文本推荐》: from Chinese text to a ranking.

One room a subject (a file, or a folder whose face names what it offers); import what you need from its room, e.g.
``from textrec_utils.datasets import load_dataset``. Importing the package itself
loads nothing heavy and prints nothing.
"""

__version__ = "0.1.0"
