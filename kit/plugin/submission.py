"""For `SubmissionSpec.check`: checks of a csv that competitions share."""

from kit.submission.checks import bad_rows, check_probabilities, check_rows, check_table, read_submission

__all__ = ["bad_rows", "check_probabilities", "check_rows", "check_table", "read_submission"]
