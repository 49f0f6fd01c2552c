"""The course as notebooks that are run and shown: chapters, the runner, HTML pages, the index of what there is."""

import sys

from textrec_utils.course.chapters import Chapter, CourseError, chapters, check_parameters, find_chapter, slug_of
from textrec_utils.course.index import build_index
from textrec_utils.course.jobs import run_many
from textrec_utils.course.pages import write_page
from textrec_utils.course.runner import Outcome, run_notebook

# nbformat, which these import when they need it, would load this to look at internationalised addresses, which
# notebooks have none of: nine tenths of what importing it takes. As a plugin (pyproject.toml) this precedes nbval.
sys.modules.setdefault("rfc3987_syntax", None)

__all__ = [
    "Chapter", "CourseError", "Outcome", "build_index", "chapters", "check_parameters", "find_chapter", "run_many",
    "run_notebook", "slug_of", "write_page",
]  # fmt: skip
