"""The course as notebooks that are run and shown: chapters, the runner, HTML pages, the index of what there is."""

from textrec_utils.course.chapters import Chapter, CourseError, chapters, check_parameters, find_chapter, slug_of
from textrec_utils.course.index import build_index
from textrec_utils.course.jobs import run_many
from textrec_utils.course.pages import write_page
from textrec_utils.course.runner import Outcome, run_notebook

__all__ = [
    "Chapter", "CourseError", "Outcome", "build_index", "chapters", "check_parameters", "find_chapter", "run_many",
    "run_notebook", "slug_of", "write_page",
]  # fmt: skip
