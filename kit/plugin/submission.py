"""For `SubmissionSpec`: the form of a sample submission, checks of a csv that competitions share, and the truth."""

from kit.submission.checks import (
    bad_rows,
    check_numbers,
    check_probabilities,
    check_rows,
    check_table,
    read_submission,
)
from kit.submission.form import SampleForm
from kit.submission.truth import beside_truth

__all__ = [
    "SampleForm",
    "bad_rows",
    "beside_truth",
    "check_numbers",
    "check_probabilities",
    "check_rows",
    "check_table",
    "read_submission",
]
