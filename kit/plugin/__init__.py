"""The public interface for plugins: what the top level of a plugin needs, and nothing heavy.

Inside their functions plugins import from the modules beside this one (`kit.plugin.data`, `images`, `network`, ...) and
from `kit.errors`; their tests import from `kit.testing`. Everything else in `kit` may change without notice.
"""

from kit.hooks.hookspecs import hookimpl
from kit.hooks.lazy import lazy
from kit.hooks.learning import (
    AugmentationRequest,
    AugmentationSpec,
    HeadRequest,
    HeadSpec,
    LossRequest,
    LossSpec,
    ModelRequest,
    ModelSpec,
    OptimizerRequest,
    OptimizerSpec,
)
from kit.hooks.specs import Competition, DatasetSpec, Finding, MetricSpec, Picture, SubmissionSpec
from kit.hooks.trackers import ImageTracker, NetworkTracker, Preview, Tracker, TrackerSpec

__all__ = [
    "AugmentationRequest",
    "AugmentationSpec",
    "Competition",
    "DatasetSpec",
    "Finding",
    "HeadRequest",
    "HeadSpec",
    "ImageTracker",
    "LossRequest",
    "LossSpec",
    "MetricSpec",
    "ModelRequest",
    "ModelSpec",
    "NetworkTracker",
    "OptimizerRequest",
    "OptimizerSpec",
    "Picture",
    "Preview",
    "SubmissionSpec",
    "Tracker",
    "TrackerSpec",
    "hookimpl",
    "lazy",
]
