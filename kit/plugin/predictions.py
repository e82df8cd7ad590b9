"""For `SubmissionSpec.write` and `SubmissionSpec.postprocess`: probabilities, ids x classes."""

from kit.scoring.predictions import Predictions

__all__ = ["Predictions"]
