"""Grad-CAM finds what decides: on the miniature of histopathology the centre, and there lies the heat."""

from pathlib import Path

import numpy as np
import pytest

from kit.data.open_run import OpenRun
from kit.explain.explain import explain_run, layers_of_run
from kit.hooks.registry import Registry
from kit.run import Run
from kit.scoring.predictions import out_of_fold

CENTRE = slice(24, 72)  # 48x48 of 96x96
STRIDE = 16


@pytest.mark.slow
def test_the_heat_of_right_positives_lies_in_the_centre(kit):
    """Issue 9: at least 70 % of the mass, at the stride-16 layers, by the miniature's own defaults; 25 % if uniform."""
    from kit.console import Console

    kit("download", "histo", "--miniature")
    run = Run.open(Path(kit("train", "histo", "--fold", 0, "--json").json["path"]))
    opened, console = OpenRun(Registry(), run), Console(silent=True)
    layers = [layer.name for layer in layers_of_run(opened).values() if layer.listed and layer.stride == STRIDE]
    assert len(layers) >= 2
    explained = explain_run(opened, list(out_of_fold(run).ids), layers, console=console)
    right = [one.maps for one in explained if one.label == one.predicted == one.explained == "tumor"]
    assert len(right) >= 28, "of 32"
    for layer in layers:
        shares = [maps[layer][CENTRE, CENTRE].sum() / maps[layer].sum() for maps in right]
        assert np.mean(shares) >= 0.7, layer
    last = np.array([maps[layers[-1]][CENTRE, CENTRE].sum() / maps[layers[-1]].sum() for maps in right])
    assert (last >= 0.7).mean() >= 0.9
