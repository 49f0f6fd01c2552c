"""Results that take longer than a chapter may: made once by `textrec remake`, shipped, compared with a live slice.

A new table: a file here of its name with `PARTS` (a list of settings, plain JSON values) and `rows(**part)`, which
makes the rows of one part as a DataFrame (a column `seed` where there are seeds); one line in `TABLES` of `tables.py`.
A chapter reads it with `read`, makes a slice of it live, and holds both together with `assert_within`.
"""

from textrec_utils.shipped.tables import TABLES, about, assert_within, read

__all__ = ["TABLES", "about", "assert_within", "read"]
