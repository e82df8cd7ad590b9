"""The contract with plugins: everything that a plugin's top level needs, and nothing heavy."""

from kit.plugin.hookspecs import hookimpl
from kit.plugin.specs import (
    Competition,
    DatasetSpec,
    Finding,
    ImageTracker,
    LossRequest,
    LossSpec,
    MetricSpec,
    ModelRequest,
    ModelSpec,
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
    "Picture",
    "Preview",
    "SubmissionSpec",
    "Tracker",
    "TrackerSpec",
    "hookimpl",
]
