"""The configuration of a run: one flat frozen record, merged and validated here and nowhere else."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kit.errors import KitError


class DataConfig(BaseModel):
    """Data: what is learned from, and what judges."""

    competition: str = Field(description="name of the competition")
    dataset: str = Field(description="name of the dataset, as `kit plugins` lists them")
    folds: int = Field(5, ge=2, le=100, description="number of folds")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, order and augmentation")
    only: str | None = Field(None, description="learn from and predict these rows alone, as in cell_type=HUVEC")
    external: str | None = Field(None, description="csv or folder of further training images, for every fold")


class ModelConfig(BaseModel):
    """Model: the network, and what it sees."""

    model: str = Field("efficientnet_lite0", description="name of the network")
    head: str = Field("linear", description="head of the network: linear or concat_pool")
    pretrained: bool = Field(True, description="start from pretrained weights")
    init: str | None = Field(None, description="run from whose networks, fold by fold, training starts")
    size: int = Field(96, ge=8, le=4096, description="side of the square input, pixels; 64,96 grows in equal stages")
    sizes: tuple[int, ...] = Field((), description="sides of the stages of progressive resizing, the last is size")
    metadata: bool = Field(False, description="the data's metadata (cell type; age, sex, site) go into the network")
    normalize: str = Field(
        "channels", description="channels: by mean and std; image, control, or a column as plate: by each one's own"
    )
    mean: tuple[float, ...] | Literal["data"] | None = Field(
        None, description="mean a channel in 0..1; data: of the training images; none: the network's own"
    )
    std: tuple[float, ...] | Literal["data"] | None = Field(
        None, description="standard deviation a channel; data: of the training images; none: the network's own"
    )


class OptimisationConfig(BaseModel):
    """Optimisation: steps, rates, averages."""

    epochs: int = Field(5, ge=1, le=10_000, description="passes over the training part of a fold")
    batch_size: int = Field(32, ge=1, le=65_536, description="images a forward pass")
    accumulate: int = Field(1, ge=1, le=4096, description="batches whose gradients make one step")
    sampler: Literal["uniform", "balanced"] = Field("uniform", description="balanced draws every class equally often")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="name of the optimiser")
    lr: float = Field(1e-3, gt=0, le=100, description="peak learning rate; 1e-5..1e-3 rises by depth up to the head")
    lr_low: float | None = Field(None, gt=0, le=100, description="rate of the first layers; none: the same for all")
    weight_decay: float = Field(1e-2, ge=0, le=10, description="decay of weights; not on norms and biases")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    nesterov: bool = Field(False, description="Nesterov's momentum for sgd")
    schedule: Literal["one_cycle", "constant", "step", "cosine", "plateau"] = Field(
        "one_cycle", description="course of the learning rate"
    )
    drops: int = Field(4, ge=1, le=100, description="step: how often the rate is divided by ten")
    warmup: float = Field(0.05, ge=0, lt=1, description="cosine: share of the steps that warm up")
    freeze_epochs: int = Field(0, ge=0, le=10_000, description="epochs that train the head alone, before the rest")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient; none: no limit")
    ema: float | None = Field(None, gt=0, lt=1, description="decay a step of the average of weights that predicts")
    patience: int | None = Field(None, ge=1, description="stop after this many epochs without a better metric")


class LossConfig(BaseModel):
    """Loss: what is made small."""

    loss: str = Field(description="name of the loss, or a weighted sum: 0.8*cross_entropy+0.2*arcface")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced weighs rare classes up in the loss"
    )
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of the target spread over all classes")
    bce_factor: float = Field(1, gt=0, description="bce: factor on the loss")
    focal_gamma: float = Field(2, ge=0, description="focal: how much easy samples are weighed down")
    focal_alpha: float | None = Field(None, ge=0, le=1, description="focal: weight of positives; none: no weights")
    margin: float = Field(0.5, ge=0, lt=3.2, description="arcface: angle in radians; cosface: cosine")
    margin_scale: float = Field(30, gt=0, description="arcface, cosface: factor on the cosine")


class AugmentationConfig(BaseModel):
    """Augmentation: how training images vary."""

    flip: bool = Field(True, description="mirror left-right at random")
    rot90: bool = Field(False, description="turn by 0, 90, 180 or 270 degrees at random")
    rotate: float = Field(0, ge=0, le=180, description="turn by up to this many degrees")
    zoom: float = Field(0, ge=0, lt=1, description="scale by 1 - zoom to 1 + zoom")
    shift: float = Field(0, ge=0, lt=1, description="move by up to this share of the side")
    shear: float = Field(0, ge=0, lt=90, description="shear by up to this many degrees")
    brightness: float = Field(0, ge=0, lt=1, description="brighten or darken by up to this share of white")
    contrast: float = Field(0, ge=0, lt=1, description="scale contrast by 1 - contrast to 1 + contrast")
    augment: str | None = Field(None, description="file of a saved albumentations pipeline, in place of the above")
    mixup: float = Field(0, ge=0, le=100, description="alpha of mixup; 0: none")
    cutmix: float = Field(0, ge=0, le=100, description="alpha of CutMix; 0: none")


class ValidationConfig(BaseModel):
    """Validation: when it is judged and saved, and by which views."""

    validate_every: int | None = Field(None, ge=1, description="validate each N steps too; none: each epoch only")
    checkpoint: Literal["last", "best"] = Field(
        "last", description="weights that predict; `best` by the validation metric is optimistic"
    )
    save_every: int | None = Field(None, ge=1, description="save each N steps too; none: each validation only")
    keep: int = Field(1, ge=1, le=10_000, description="how many of the newest checkpoints are kept")
    tta: Literal[1, 2, 4, 8] = Field(1, description="views averaged in prediction: 8 = all flips and right angles")
    scales: tuple[float, ...] = Field((1.0,), description="scales of prediction; above 1 in ordered crops: 1,1.25,1.5")


class RuntimeConfig(BaseModel):
    """Runtime: how it runs on this machine, and what it tells."""

    amp: Literal["auto", "on", "off"] = Field("auto", description="mixed precision; auto: on CUDA only")
    channels_last: bool = Field(True, description="memory format of the network")
    compile: bool = Field(False, description="compile the network by torch.compile (its first step takes a minute)")
    pack: bool = Field(True, description="decode the images once, into packed pixels; false: read the files each epoch")
    workers: int | None = Field(None, ge=0, le=256, description="processes that read files; none: by the machine")
    trackers: tuple[str, ...] = Field((), description="names of trackers that receive the numbers, e.g. tensorboard")
    note: str = Field("", description="a line for the experiment log")


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
    """Everything that decides what a run learns, flat. Each field says what it is, its unit and its range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _ranges(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`lr = "1e-5..1e-3"` sets lr_low and lr; `size = "64,96"` sizes and size; `scales = "1,1.5"` is a list."""
        lr, size = values.get("lr"), values.get("size")
        if isinstance(lr, str) and ".." in lr:
            values["lr_low"], values["lr"] = lr.split("..", 1)
        if isinstance(size, str) and "," in size:
            size = size.split(",")
        if isinstance(size, (list, tuple)) and size:
            values["sizes"], values["size"] = tuple(size), size[-1]
        if isinstance(values.get("scales"), str):
            values["scales"] = values["scales"].split(",")
        return values

    @model_validator(mode="after")
    def _fit(self) -> "TrainConfig":
        """Values that belong together agree, whichever sources they came from."""
        if self.lr_low is not None and self.lr_low > self.lr:
            raise ValueError(f"lr_low = {self.lr_low:g} is above lr = {self.lr:g}: give --lr LOW..HIGH")
        if not self.scales or min(self.scales) < 1 or max(self.scales) > 4:
            raise ValueError(f"scales = {','.join(f'{scale:g}' for scale in self.scales)}: each must be 1 to 4")
        if self.sizes and (self.sizes[-1] != self.size or min(self.sizes) < 8):
            stages = ",".join(map(str, self.sizes))
            raise ValueError(f"sizes = {stages} must be 8 or more and end at size = {self.size}: give --size A,B,...")
        return self


def describe() -> dict[str, str]:
    """Each field's description."""
    return {name: field.description or "" for name, field in TrainConfig.model_fields.items()}


def validate(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> TrainConfig:
    """Check values against the fields; the first wrong one is a `KitError` that names its source."""
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise KitError(first["msg"].removeprefix("Value error, ")) from None
        key = str(first["loc"][0])
        source = f" (from {sources[key]})" if sources and key in sources else ""
        raise KitError(f"{key} = {first['input']!r}{source}: {first['msg']}: {describe().get(key, '')}") from None
