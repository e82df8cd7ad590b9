"""For `SubmissionSpec.check` and `SubmissionSpec.grade`: checks of a csv that competitions share, and the truth."""

from kit.submission.checks import (
    bad_rows,
    check_numbers,
    check_probabilities,
    check_rows,
    check_table,
    read_submission,
)
from kit.submission.truth import beside_truth

__all__ = [
    "bad_rows",
    "beside_truth",
    "check_numbers",
    "check_probabilities",
    "check_rows",
    "check_table",
    "read_submission",
]
