"""The configuration of a run: one flat frozen record, validated here and nowhere else."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kit.errors import KitError, nearest
from kit.hooks.learning import FUSED_STEPS


class DataConfig(BaseModel):
    """Data: what to learn from, and what to validate on."""

    competition: str = Field(description="name of the competition")
    dataset: str = Field(description="name of the dataset")
    folds: int = Field(5, ge=2, le=100, description="number of folds")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, order and augmentation")
    limit: int | None = Field(
        None, ge=2, description="learn from and validate on so many training ids only, drawn evenly; none: all"
    )
    only: str | None = Field(None, description="learn from and predict only these rows, e.g. cell_type=HUVEC")
    external: str | None = Field(None, description="csv or folder of further training images for every fold")


class ModelConfig(BaseModel):
    """Model: the network and its input."""

    model: str = Field("efficientnet_lite0", description="name of the network (kit models)")
    head: str = Field("linear", description="name of the head: what makes logits of features (kit list heads)")
    head_dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout before the last layer; none: the head's own"
    )
    head_batch_norm: bool | None = Field(None, description="batch norm of the head's features; none: the head's own")
    two_units: bool = Field(False, description="binary tasks: two softmax units in place of one sigmoid")
    pretrained: bool = Field(True, description="start from pretrained weights")
    init: str | None = Field(None, description="run whose networks training starts from, fold by fold")
    size: int = Field(96, ge=8, le=4096, description="side of the square input in pixels; 64,96 grows in equal stages")
    sizes: tuple[int, ...] = Field((), description="side per stage of progressive resizing; the last is size")
    crop: float = Field(1, gt=0, le=1, description="share of each side, about the centre, that the network sees")
    metadata: bool = Field(False, description="feed metadata (cell type; age, sex, site) to the network")
    normalize: str = Field(
        "channels", description="channels: by mean and std; image, control or a column of the index: by its own"
    )
    mean: tuple[float, ...] | Literal["data"] | None = Field(
        None, description="mean per channel in 0..1; data: of the training images; none: the network's own"
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | Literal["data"] | None = Field(
        None, description="standard deviation per channel; data: of the training images; none: the network's own"
    )


class OptimisationConfig(BaseModel):
    """Optimisation: steps, learning rates, averages."""

    epochs: int = Field(5, ge=1, le=10_000, description="passes over the training images of a fold")
    batch_size: int = Field(32, ge=1, le=65_536, description="images per forward pass")
    accumulate: int = Field(1, ge=1, le=4096, description="batches per optimiser step")
    sampler: Literal["uniform", "balanced"] = Field("uniform", description="balanced draws every class equally often")
    optimizer: str = Field("adamw", description="name of the optimiser (kit list optimizers)")
    lr: float = Field(1e-3, gt=0, le=100, description="peak learning rate; 1e-5..1e-3 rises with depth to the head")
    lr_low: float | None = Field(None, gt=0, le=100, description="learning rate of the first layers; none: lr")
    weight_decay: float = Field(1e-2, ge=0, le=10, description="weight decay, except on norms and biases")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd, rmsprop: momentum")
    nesterov: bool = Field(False, description="sgd: Nesterov momentum")
    schedule: Literal["one_cycle", "constant", "step", "cosine", "plateau"] = Field(
        "one_cycle", description="schedule of the learning rate"
    )
    decay: float = Field(0, ge=0, le=1, description="divides the rate by 1 + decay * step, as Keras does; 0: none")
    drops: int = Field(4, ge=1, le=100, description="step: how often the learning rate is divided by ten")
    warmup: float = Field(0.05, ge=0, lt=1, description="cosine: share of the steps spent warming up")
    freeze_epochs: int = Field(0, ge=0, le=10_000, description="first epochs, which train the head only")
    clip: float | None = Field(None, gt=0, description="maximum norm of the gradient; none: no limit")
    ema: float | None = Field(None, gt=0, lt=1, description="decay per step of the weight average that predicts")
    patience: int | None = Field(None, ge=1, description="stop after this many epochs without a better metric")


class LossConfig(BaseModel):
    """Loss: what training minimises."""

    loss: str = Field(description="name of the loss (kit list losses), or a sum: 0.8*cross_entropy+0.2*arcface")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced gives rare classes more weight in the loss"
    )
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of the target spread over all classes")
    bce_factor: float = Field(1, gt=0, description="bce: factor on the loss")
    focal_gamma: float = Field(2, ge=0, description="focal: how strongly easy samples are down-weighted")
    focal_alpha: float | None = Field(None, ge=0, le=1, description="focal: weight of positives; none: unweighted")
    bounds: tuple[float, float] | None = Field(
        None, description="regression: predict between these numbers, by a sigmoid, e.g. 0..100"
    )
    margin: float = Field(0.5, ge=0, lt=3.2, description="arcface: angle in radians; cosface: cosine")
    margin_scale: float = Field(30, gt=0, description="arcface, cosface: factor on the cosine")


class AugmentationConfig(BaseModel):
    """Augmentation: how training images vary."""

    flip: bool = Field(True, description="mirror left-right at random")
    flip_vertical: bool = Field(False, description="mirror up-down at random")
    rot90: bool = Field(False, description="turn by 0, 90, 180 or 270 degrees at random")
    rotate: float = Field(0, ge=0, le=180, description="turn by up to this many degrees")
    zoom: float = Field(0, ge=0, lt=1, description="scale by 1 - zoom to 1 + zoom")
    shift: float = Field(0, ge=0, lt=1, description="move by up to this share of the side")
    shear: float = Field(0, ge=0, lt=90, description="shear by up to this many degrees")
    brightness: float = Field(0, ge=0, lt=1, description="brighten or darken by up to this share of white")
    contrast: float = Field(0, ge=0, lt=1, description="scale contrast by 1 - contrast to 1 + contrast")
    brightness_range: tuple[Annotated[float, Field(ge=0, le=10)], Annotated[float, Field(ge=0, le=10)]] | None = Field(
        None, description="multiply the grey levels by a factor from this range, e.g. 0.2..1.2"
    )
    steps: dict[str, float] = Field(
        {}, description="further steps in this order, each with its strength, NAME=STRENGTH,... (kit list steps)"
    )
    probabilities: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="how often a step is applied, e.g. rotate=0.5,zoom=0.3; else flips 0.5, all others 1"
    )
    augment: str | None = Field(None, description="saved albumentations pipeline that replaces the above")
    mixup: float = Field(0, ge=0, le=100, description="alpha of mixup; 0: none")
    cutmix: float = Field(0, ge=0, le=100, description="alpha of CutMix; 0: none")


class ValidationConfig(BaseModel):
    """Validation: when to validate and save, and which views to average."""

    validate_every: int | None = Field(None, ge=1, description="also validate every N steps; none: every epoch only")
    checkpoint: Literal["last", "best", "best_loss"] = Field(
        "last", description="weights that predict; `best` by validation metric, `best_loss` by its loss are optimistic"
    )
    save_every: int | None = Field(None, ge=1, description="also save every N steps; none: every validation only")
    keep: int = Field(1, ge=1, le=10_000, description="number of newest checkpoints to keep")
    tta: Literal[1, 2, 4, 8] = Field(1, description="views averaged in prediction; 8: all flips and quarter turns")
    scales: tuple[float, ...] = Field(
        (1.0,), description="scales averaged in prediction, e.g. 1,1.25; above 1 in ordered crops"
    )


class RuntimeConfig(BaseModel):
    """Runtime: how training uses this machine, and what it reports."""

    amp: Literal["auto", "on", "off"] = Field("auto", description="mixed precision; auto: on CUDA only")
    channels_last: bool = Field(True, description="use the channels-last memory format")
    compile: bool = Field(False, description="use torch.compile (the first step takes a minute)")
    graphs: bool = Field(False, description="on CUDA, replay a step's kernels as CUDA graphs, for small batches")
    pack: bool = Field(True, description="decode images once into packed pixels; false: read files every epoch")
    pixels: Literal["auto", "gpu", "host"] = Field(
        "auto",
        description="where packed pixels lie in training; auto: in the GPU's memory if half of what is free holds them",
    )
    workers: int | None = Field(
        None, ge=0, le=256, description="processes that read files; none: chosen for the machine"
    )
    trackers: tuple[str, ...] = Field((), description="trackers that receive the numbers, e.g. tensorboard")
    track_network: bool = Field(
        False, description="trackers also receive the network at each validation: graph, weights, filters"
    )
    note: str = Field("", description="a line for the experiment log")


# What a command may set otherwise for a run that exists: it changes nothing that the run learns or predicts.
MACHINE = ("workers", "pack", "pixels", "compile", "graphs", "trackers", "track_network")

SECTIONS: dict[str, type[BaseModel]] = {
    "Data": DataConfig,
    "Model": ModelConfig,
    "Optimisation": OptimisationConfig,
    "Loss": LossConfig,
    "Augmentation": AugmentationConfig,
    "Validation": ValidationConfig,
    "Runtime": RuntimeConfig,
}


class TrainConfig(
    RuntimeConfig, ValidationConfig, AugmentationConfig, LossConfig, OptimisationConfig, ModelConfig, DataConfig
):
    """Everything that determines what a run learns, flat. Each field states its meaning, unit and range."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _ranges(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Split the text forms: `lr = "1e-5..1e-3"`, `size = "64,96"`, `scales = "1,1.5"` and those of augmentation."""
        lr, size = values.get("lr"), values.get("size")
        if isinstance(lr, str) and ".." in lr:
            values["lr_low"], values["lr"] = lr.split("..", 1)
        if isinstance(size, str) and "," in size:
            size = size.split(",")
        if isinstance(size, (list, tuple)) and size:
            values["sizes"], values["size"] = tuple(size), size[-1]
        if isinstance(values.get("scales"), str):
            values["scales"] = values["scales"].split(",")
        for name in ("brightness_range", "bounds"):
            if isinstance(ends := values.get(name), (str, int, float)):
                values[name] = str(ends).split(".." if ".." in str(ends) else ",")
                if len(values[name]) != 2:
                    raise ValueError(f"{name} = {ends}: give two numbers, LOW..HIGH")
        for key in ("steps", "probabilities"):
            if isinstance(text := values.get(key), str):
                values[key] = dict([step.partition("=")[::2] for step in text.split(",")])
        return values

    @model_validator(mode="after")
    def _fit(self) -> "TrainConfig":
        """Check that related values agree, whichever source each came from."""
        if self.lr_low is not None and self.lr_low > self.lr:
            raise ValueError(f"lr_low = {self.lr_low:g} is above lr = {self.lr:g}: give --lr LOW..HIGH")
        if not self.scales or min(self.scales) < 1 or max(self.scales) > 4:
            raise ValueError(f"scales = {','.join(f'{scale:g}' for scale in self.scales)}: each must be 1 to 4")
        if self.brightness_range is not None and self.brightness_range[0] > self.brightness_range[1]:
            low, high = self.brightness_range
            raise ValueError(f"brightness_range = {low:g}..{high:g} falls: give LOW..HIGH")
        if self.bounds is not None and self.bounds[0] >= self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"bounds = {low:g}..{high:g}: the second must be above the first: give LOW..HIGH")
        for name in self.steps:
            if name in FUSED_STEPS:
                raise ValueError(f"steps: {name} is a key of its own: --set {name}=...")
        for name in self.probabilities:
            if name not in FUSED_STEPS and name not in self.steps:
                known = nearest(name, [*FUSED_STEPS, *self.steps])
                raise ValueError(f"probabilities: this configuration has no step {name!r}: {known}")
        for name in ("mixup", "cutmix"):
            if 0 < getattr(self, name) < 1e-3:
                raise ValueError(f"{name} = {getattr(self, name):g}: give 0 (none), or 0.001 or more")
        if self.sizes and (self.sizes[-1] != self.size or min(self.sizes) < 8):
            stages = ",".join(map(str, self.sizes))
            raise ValueError(f"sizes = {stages} must be 8 or more and end at size = {self.size}: give --size A,B,...")
        return self


def describe() -> dict[str, str]:
    """Return the description of each field."""
    return {name: field.description or "" for name, field in TrainConfig.model_fields.items()}


def validate(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> TrainConfig:
    """Check values against the fields; raise a `KitError` that names the first wrong one and its source."""
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise KitError(first["msg"].removeprefix("Value error, ")) from None
        key = str(first["loc"][0])
        source = f" (from {sources[key]})" if sources and key in sources else ""
        given = "" if first["type"] == "missing" else f" = {_shown(first['input'])}"
        meaning = f": {describe()[key]}" if describe().get(key) else ""
        raise KitError(f"{key}{given}{source}: {first['msg']}{meaning}") from None


def _shown(value: object) -> str:
    """Return a value as it is written in code, or its beginning if that is long."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}..."
