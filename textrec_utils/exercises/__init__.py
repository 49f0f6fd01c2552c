"""The exercises' judges: hidden cases the learner can't read off the page, and hints in stages.

A notebook holds the task, `answer_1 = None` and `check("01-1", answer_1)`; the cases lie here, one file a chapter.
"""

from textrec_utils.exercises.judge import check, hint, verdict

__all__ = ["check", "hint", "verdict"]
