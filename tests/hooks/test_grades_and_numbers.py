"""Grades and numbers, from the raw folder to the checked csv: the two examples as their authors would use them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import cohen_kappa_score, r2_score, root_mean_squared_error

from helpers.strangers import use
from kit import testing
from kit.hooks.manager import load_plugins
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import ORDINAL

EXAMPLES = Path(__file__).parents[2] / "examples"
