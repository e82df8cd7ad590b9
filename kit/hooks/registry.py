"""Specs by name: the one place where a command finds what plugins provide."""

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kit.errors import KitError, nearest
from kit.hooks.foreign import guarded
from kit.hooks.learning import AugmentationSpec, HeadSpec, LossSpec, ModelSpec, OptimizerSpec
from kit.hooks.manager import Plugin, Plugins, load_plugins
from kit.hooks.names import wrong_spec
from kit.hooks.specs import Competition, DatasetSpec, MetricSpec, SubmissionSpec
from kit.hooks.trackers import TrackerSpec

S = TypeVar(
    "S",
    AugmentationSpec,
    Competition,
    DatasetSpec,
    HeadSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
    SubmissionSpec,
    TrackerSpec,
)


@dataclass(frozen=True)
class Clash:
    """A name given by two or more plugins.

    Args:
        kind: `competition`, `model`, ...
        name: the name.
        distributions: the plugins that give it, each as `distribution (entry point)`.
    """

    kind: str
    name: str
    distributions: tuple[str, ...]

    def __str__(self) -> str:
        providers = " and ".join(self.distributions)
        return (
            f"{self.kind} {self.name!r} is provided by {providers}: uninstall one, "
            "or choose third-party plugins with KIT_PLUGINS=name,name"
        )


class Specs(Generic[S]):
    """All specs of one kind, for example all models."""

    def __init__(self, plugins: Plugins, kind: str, hook: str, type_: type[S]) -> None:
        self.kind, self._plugins = kind, plugins
        self._specs: dict[str, S] = {}
        owners: dict[str, list[Plugin]] = {}
        for plugin, specs in plugins.call(hook):
            wrong = _first_wrong(specs, type_)
            if wrong:
                plugins.mark_broken(
                    f"{plugin.distribution}:{plugin.name}", f"{hook}: {wrong}{plugins.place(plugin, hook)}"
                )
                continue
            for spec in specs:
                safe = guarded(spec, plugin.title, plugins.package_of(plugin))
                for name in _names(spec):
                    self._specs[name] = safe
                    owners.setdefault(name, []).append(plugin)
        self._owners = {
            name: tuple(f"{plugin.distribution} ({plugin.name})" for plugin in providers)
            for name, providers in owners.items()
        }
        self.clashes = {name: Clash(kind, name, own) for name, own in self._owners.items() if len(own) > 1}

    def __iter__(self) -> Iterator[S]:
        """Iterate over the specs, sorted by name, without those whose name clashes."""
        return iter(sorted({spec.name: spec for spec in self._usable().values()}.values(), key=lambda spec: spec.name))

    def _usable(self) -> dict[str, S]:
        return {name: spec for name, spec in self._specs.items() if name not in self.clashes}

    def owner(self, name: str) -> str:
        """Return who provides a name, as `distribution (entry point)`; empty if nobody does."""
        return " and ".join(self._owners.get(name, ()))

    def get(self, name: str) -> S:
        """Return the spec with this name, alias or slug, or the family it belongs to.

        Raises:
            KitError: the name is unknown, or two plugins give it.
        """
        if name in self.clashes:
            raise KitError(str(self.clashes[name]))
        family = name.split("/", 1)[0] + "/*"
        found = self._specs.get(name) or (self._specs.get(family) if "/" in name else None)
        if found is None:
            raise KitError(self._plugins.unknown(self.kind, name, nearest(name, sorted(self._usable()))))
        return found


def _names(spec: Any) -> set[str]:
    if isinstance(spec, Competition):
        return {spec.name, spec.slug, spec.slug.rsplit("/", 1)[-1], *spec.aliases}
    return {spec.name}


def _first_wrong(specs: object, type_: type) -> str:
    if not isinstance(specs, list):
        return f"returned {type(specs).__name__}, not a list of {type_.__name__}"
    wrong = [type(spec).__name__ for spec in specs if not isinstance(spec, type_)]
    if wrong:
        return f"returned a list with {wrong[0]}, not {type_.__name__}"
    return next(filter(None, map(wrong_spec, specs)), "")


class Registry:
    """All specs of this process's plugins; each kind is read when it is first needed."""

    def __init__(self, plugins: Plugins | None = None) -> None:
        self.plugins = load_plugins() if plugins is None else plugins
        self._specs: dict[str, Specs[Any]] = {}

    def _of(self, kind: str, hook: str, type_: type[S]) -> Specs[S]:
        if kind not in self._specs:
            self._specs[kind] = Specs(self.plugins, kind, hook, type_)
        return self._specs[kind]

    @property
    def competitions(self) -> Specs[Competition]:
        """Competitions, by name, alias or slug."""
        return self._of("competition", "kit_competitions", Competition)

    @property
    def datasets(self) -> Specs[DatasetSpec]:
        """Datasets, by name."""
        return self._of("dataset", "kit_datasets", DatasetSpec)

    @property
    def models(self) -> Specs[ModelSpec]:
        """Networks, by name or family (`timm/*`)."""
        return self._of("model", "kit_models", ModelSpec)

    @property
    def losses(self) -> Specs[LossSpec]:
        """Losses, by name."""
        return self._of("loss", "kit_losses", LossSpec)

    @property
    def submissions(self) -> Specs[SubmissionSpec]:
        """Submission formats, by name."""
        return self._of("submission", "kit_submissions", SubmissionSpec)

    @property
    def metrics(self) -> Specs[MetricSpec]:
        """Metrics, by name."""
        return self._of("metric", "kit_metrics", MetricSpec)

    @property
    def trackers(self) -> Specs[TrackerSpec]:
        """Trackers, by name."""
        return self._of("tracker", "kit_trackers", TrackerSpec)

    @property
    def heads(self) -> Specs[HeadSpec]:
        """Heads, by name."""
        return self._of("head", "kit_heads", HeadSpec)

    @property
    def optimizers(self) -> Specs[OptimizerSpec]:
        """Optimisers, by name."""
        return self._of("optimiser", "kit_optimizers", OptimizerSpec)

    @property
    def augmentations(self) -> Specs[AugmentationSpec]:
        """Steps of augmentation, by name."""
        return self._of("augmentation", "kit_augmentations", AugmentationSpec)

    def problems(self) -> tuple[list[Plugin], list[Clash]]:
        """Call every hook, then return all plugins (broken ones with the reason) and all name clashes."""
        kinds = (
            self.competitions,
            self.datasets,
            self.models,
            self.losses,
            self.submissions,
            self.metrics,
            self.trackers,
            self.heads,
            self.optimizers,
            self.augmentations,
        )
        return self.plugins.records, [clash for specs in kinds for clash in specs.clashes.values()]


_shared: ContextVar[Registry | None] = ContextVar("registry", default=None)


def share(registry: Registry) -> None:
    """Keep the specs of the plugins that this process has loaded."""
    _shared.set(registry)


def shared() -> Registry | None:
    """Return the same; None before the plugins are loaded."""
    return _shared.get()


def installed() -> Registry:
    """Return the same; load the plugins if no command has."""
    registry = shared()
    if registry is None:
        registry = Registry()
        share(registry)
    return registry
