"""The public interface for plugins: what the top level of a plugin needs, and nothing heavy.

Inside their functions plugins import from the modules beside this one (`kit.plugin.data`, `images`, `network`, ...) and
from `kit.errors`; their tests import from `kit.testing`. Everything else in `kit` may change without notice.
"""

from kit.hooks.hookspecs import hookimpl
from kit.hooks.lazy import lazy
from kit.hooks.specs import (
    Competition,
    DatasetSpec,
    Finding,
    ImageTracker,
    LossRequest,
    LossSpec,
    MetricSpec,
    ModelRequest,
    ModelSpec,
    NetworkTracker,
    Picture,
    Preview,
    SubmissionSpec,
    Tracker,
    TrackerSpec,
)

__all__ = [
    "Competition",
    "DatasetSpec",
    "Finding",
    "ImageTracker",
    "LossRequest",
    "LossSpec",
    "MetricSpec",
    "ModelRequest",
    "ModelSpec",
    "NetworkTracker",
    "Picture",
    "Preview",
    "SubmissionSpec",
    "Tracker",
    "TrackerSpec",
    "hookimpl",
    "lazy",
]
