"""Which of several scores is the best, where some are undefined."""

from types import SimpleNamespace

import pytest

from kit.decision.rule import best_method
from kit.ensemble.blend import best
from kit.hooks.specs import MetricSpec
from kit.scoring.metrics import best_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "higher", "lower"),
    [
        ([0.1, 0.3, 0.2], 1, 0),
        ([0.3, 0.3], 0, 0),
        ([NAN, 0.3, 0.2], 1, 2),
        ([0.2, NAN, 0.3], 2, 0),
        ([0.2, NAN], 0, 0),
        ([-0.5, NAN], 0, 0),
        ([NAN, NAN], 0, 0),
    ],
)
def test_an_undefined_score_is_passed_over_everywhere(scores, higher, lower):
    for upward, wanted in ((True, higher), (False, lower)):
        assert best_of(range(len(scores)), scores.__getitem__, upward) == wanted
        rules = {str(number): SimpleNamespace(estimate=score) for number, score in enumerate(scores)}
        assert best_method(rules, upward) == str(wanted)
        rows = [{"number": number, "estimate": score} for number, score in enumerate(scores)]
        metric = MetricSpec("m", upward, lambda target, prediction: 0.0)
        assert best(rows, metric)["number"] == wanted
