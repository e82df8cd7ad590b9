"""For `SubmissionSpec.write` and `SubmissionSpec.postprocess`: ids x classes of probabilities."""

from kit.scoring.predictions import Predictions

__all__ = ["Predictions"]
