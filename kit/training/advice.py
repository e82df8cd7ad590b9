"""Turn the images per second of each training stage into advice: the limit, what to change, how long a run takes."""

from dataclasses import dataclass

from kit.config import TrainConfig
from kit.console import duration
from kit.console import size as in_bytes

# Stages in the order of the table, with the names that it shows.
STAGES = {
    "decode_one": "decode, one core",
    "decode_all": "decode, all cores",
    "pack": "pack",
    "gather": "gather",
    "augment": "augment",
    "copy": "host to device",
    "forward": "forward",
    "train": "forward, backward, step",
    "train_double": "the same, batch doubled",
    "epoch": "whole epoch",
}
COUNTING = ("gather", "augment", "copy", "train")  # the stages that can limit training
Rates = dict[str, float | None]


@dataclass(frozen=True)
class Bench:
    """The measured rates and what they were measured on.

    Args:
        rates: images per second by the keys of `STAGES`; None: this machine has no such stage.
        config: the configuration that would be trained.
        device: `cpu` or `cuda`.
        mixed: whether mixed precision is on.
        threads, cores: threads of the network on a CPU; cores that this process may use.
        own: whether the images go through the user's own pipeline.
        images: number of training images for the estimate.
        is_packed: whether their pixels are already packed.
        pack_bytes, memory: size of the whole pack and memory of this machine, bytes.
    """

    rates: Rates
    config: TrainConfig
    device: str
    mixed: bool
    threads: int
    cores: int
    own: bool
    images: int
    is_packed: bool
    pack_bytes: int
    memory: int

    def rate(self, stage: str) -> float:
        """Return the images per second of a stage; infinity if it was not measured."""
        return self.rates.get(stage) or float("inf")

    @property
    def limits(self) -> dict[str, str]:
        """The stage that takes most of the time of packing, and the slowest stage of training.

        Packing includes decoding: resizing and writing are the limit only if packing is much slower than decoding.
        """
        return {
            "packing": "decode_all" if self.rate("pack") >= 0.7 * self.rate("decode_all") else "pack",
            "training": min(COUNTING, key=self.rate),
        }

    @property
    def together(self) -> float:
        """Images per second that the training stages allow together; beside a GPU the host works ahead."""
        if self.device == "cpu":
            return 1 / (1 / self.rate("augment") + 1 / self.rate("train"))
        on_host = self.own or not self.config.pack
        on_device = 1 / self.rate("train") + (0 if on_host else 1 / self.rate("augment"))
        return min(1 / on_device, self.rate("gather"), self.rate("copy"), self.rate("augment"))

    def seconds(self) -> dict[str, float]:
        """Estimate the seconds for packing, for one epoch of one fold with its validation, and for the whole run."""
        config, valid_images = self.config, self.images / self.config.folds
        pack = self.images / self.rate("pack") if config.pack and not self.is_packed else 0.0
        epoch = (self.images - valid_images) / self.rate("epoch") + valid_images / self.rate("forward")
        return {"packing": pack, "epoch": epoch, "run": pack + config.folds * config.epochs * epoch}


def advise(bench: Bench) -> list[str]:
    """Say what limits packing and training and what would change that, from the numbers alone."""
    return [*_advise_packing(bench), *_advise_training(bench), *_advise_memory(bench)]


def _advise_packing(bench: Bench) -> list[str]:
    one, every, pack = (bench.rate(stage) for stage in ("decode_one", "decode_all", "pack"))
    if not bench.config.pack:
        return []
    if bench.limits["packing"] == "pack":
        smaller = "" if bench.config.size <= 96 else " or a smaller --size"
        return [
            f"packing is limited by the steps after decoding ({pack:,.0f} of {every:,.0f} images/s): use a faster disk "
            f"for KIT_DATA{smaller}; packing happens only once"
        ]
    lines = [
        f"packing is limited by decoding ({every:,.0f} images/s on {bench.cores} cores): run kit pack on a "
        f"machine with more cores if that is too slow; packing happens only once"
    ]
    if bench.cores > 1 and every < 0.6 * bench.cores * one:
        lines.append(
            f"{bench.cores} cores decode {every / one:.1f} times as fast as one: something else is using "
            "them, or they are hardware threads that share a core"
        )
    return lines


def _advise_training(bench: Bench) -> list[str]:
    limit = bench.limits["training"]
    lines = [f"training is limited by {STAGES[limit]!r} ({bench.rate(limit):,.0f} images/s)"]
    if limit in ("gather", "copy"):
        lines.append(
            "a smaller --size moves fewer bytes per image"
            + ("; packed pixels held in memory are gathered faster: close other programs" if limit == "gather" else "")
        )
    elif limit == "augment" and not bench.config.pack:
        lines.append("the files are decoded in every epoch: --set pack=true decodes them once")
    elif limit == "augment" and bench.own:
        lines.append(
            f"your own pipeline runs image by image: --set workers={bench.cores}, or replace it with the "
            "steps of kit config (rotate, zoom, ...), which are one warp per batch"
        )
    elif limit == "augment":
        lines.append(
            "use a smaller --size, or fewer of the steps rotate, zoom, shift and shear: "
            "flips and right-angle turns alone only copy pixels"
        )
    elif bench.device == "cpu":
        lines.append(
            f"no GPU here: the network runs on {bench.threads} CPU threads: use a machine with a GPU, a "
            f"smaller --size (half the side is a quarter of the work), or a smaller network (kit models)"
        )
        if bench.threads < bench.cores:
            lines.append(f"{bench.cores} cores are available: OMP_NUM_THREADS={bench.cores} lets the network use them")
    else:
        lines += _advise_gpu(bench)
    if bench.rate("epoch") < 0.7 * bench.together:
        lines.append(
            f"together the stages reach {bench.rate('epoch'):,.0f} of {bench.together:,.0f} images/s: "
            "something else is using this machine, or the batches are small: try a larger --batch-size"
        )
    return lines


def _advise_gpu(bench: Bench) -> list[str]:
    lines, double = [], bench.rates.get("train_double")
    if not bench.mixed:
        lines.append("mixed precision is off: --set amp=auto")
    if double is not None and double > 1.1 * bench.rate("train"):
        lines.append(f"--batch-size {2 * bench.config.batch_size} gives {double:,.0f} images/s: the GPU is underused")
    if not bench.config.compile:
        lines.append("--set compile=true may help if a run takes longer than a few minutes")
    return [*lines, "otherwise use a smaller --size or a smaller network (kit models)"]


def _advise_memory(bench: Bench) -> list[str]:
    if not bench.config.pack or bench.pack_bytes < 0.8 * bench.memory:
        return []
    return [
        f"the pack takes {in_bytes(bench.pack_bytes)}, this machine has {in_bytes(bench.memory)} of memory: "
        "every epoch will read it from disk: add memory or use a smaller --size"
    ]


def in_words(bench: Bench) -> str:
    """Put the estimate into words."""
    seconds, config = bench.seconds(), bench.config
    pack = f"packing {duration(seconds['packing'])} once, " if seconds["packing"] else ""
    return (
        f"{bench.images:,} images: {pack}one epoch of one fold {duration(seconds['epoch'])}, "
        f"{config.folds} folds of {config.epochs} epochs {duration(seconds['run'])}"
    )
