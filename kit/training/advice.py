"""What the images a second of each stage of training say: what the limit is, what to change, how long it takes."""

from dataclasses import dataclass

from kit.config import TrainConfig
from kit.console import duration
from kit.console import size as in_bytes

# In the order of the table.
STAGES = {
    "decode_one": "decode, one core",
    "decode_all": "decode, all cores",
    "pack": "pack",
    "gather": "gather",
    "augment": "augment",
    "copy": "host to device",
    "forward": "forward",
    "train": "forward, backward, step",
    "train_double": "the same, twice the batch",
    "epoch": "all of an epoch",
}
COUNTING = ("gather", "augment", "copy", "train")  # the stages of training; one of them is its limit
Rates = dict[str, float | None]


@dataclass(frozen=True)
class Bench:
    """What was measured, and on what.

    Args:
        rates: images a second by the names of `STAGES`; None: this machine has no such stage.
        config: what would be trained.
        device: `cpu` or `cuda`.
        mixed: whether in mixed precision.
        threads, cores: of the network on a CPU; that this process may use.
        own: whether the images go through a person's own pipeline.
        images: number of training images that the estimate is for.
        is_packed: whether their pixels are packed already.
        pack_bytes, memory: of the whole pack and of this machine.
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
        """Images a second of a stage; infinite where there is none."""
        return self.rates.get(stage) or float("inf")

    @property
    def limits(self) -> dict[str, str]:
        """What most of the time of packing goes into, and the slowest stage of training.

        Packing contains the decoding: only where it is much slower do resizing and writing limit it.
        """
        return {
            "packing": "decode_all" if self.rate("pack") >= 0.7 * self.rate("decode_all") else "pack",
            "training": min(COUNTING, key=self.rate),
        }

    @property
    def together(self) -> float:
        """Images a second that the stages of training allow: beside a GPU the host works ahead."""
        if self.device == "cpu":
            return 1 / (1 / self.rate("augment") + 1 / self.rate("train"))
        on_host = self.own or not self.config.pack
        on_device = 1 / self.rate("train") + (0 if on_host else 1 / self.rate("augment"))
        return min(1 / on_device, self.rate("gather"), self.rate("copy"), self.rate("augment"))

    def seconds(self) -> dict[str, float]:
        """Estimates: packing, one epoch of one fold with its validation, all folds and epochs."""
        config, part = self.config, self.images / self.config.folds
        pack = self.images / self.rate("pack") if config.pack and not self.is_packed else 0.0
        epoch = (self.images - part) / self.rate("epoch") + part / self.rate("forward")
        return {"packing": pack, "epoch": epoch, "run": pack + config.folds * config.epochs * epoch}


def advise(bench: Bench) -> list[str]:
    """What limits packing and training, and what would change that, from the numbers alone."""
    return [*_advise_packing(bench), *_advise_training(bench), *_advise_memory(bench)]


def _advise_packing(bench: Bench) -> list[str]:
    one, every, pack = (bench.rate(stage) for stage in ("decode_one", "decode_all", "pack"))
    if not bench.config.pack:
        return []
    if bench.limits["packing"] == "pack":
        smaller = "" if bench.config.size <= 96 else ", or a smaller --size"
        return [
            f"packing is limited by what follows decoding ({pack:,.0f} of {every:,.0f} images/s): a faster disk "
            f"for KIT_DATA{smaller}; it is done once"
        ]
    lines = [
        f"packing is limited by decoding ({every:,.0f} images/s on {bench.cores} cores): run kit pack on a "
        f"machine with more cores if that is too slow; it is done once"
    ]
    if bench.cores > 1 and every < 0.6 * bench.cores * one:
        lines.append(
            f"{bench.cores} cores decode {every / one:.1f} times as fast as one: something else uses them, or "
            "they are threads of one core"
        )
    return lines


def _advise_training(bench: Bench) -> list[str]:
    limit = bench.limits["training"]
    lines = [f"training is limited by {STAGES[limit]!r} ({bench.rate(limit):,.0f} images/s)"]
    if limit in ("gather", "copy"):
        lines.append(
            "a smaller --size moves fewer bytes an image"
            + (
                "; packed pixels that lie in memory are gathered faster: close other programs"
                if limit == "gather"
                else ""
            )
        )
    elif limit == "augment" and not bench.config.pack:
        lines.append("the files are decoded in each epoch: --set pack=true decodes them once")
    elif limit == "augment" and bench.own:
        lines.append(
            f"your own pipeline runs image by image: --set workers={bench.cores}, or the steps of kit config "
            "(rotate, zoom, ...) in its place, which are one warp a batch"
        )
    elif limit == "augment":
        lines.append(
            "a smaller --size, or fewer of the steps rotate, zoom, shift and shear: "
            "flips and right angles alone only copy pixels"
        )
    elif bench.device == "cpu":
        lines.append(
            f"no GPU here: the network runs on {bench.threads} CPU threads: a machine with a GPU, a smaller "
            f"--size (half the side is a quarter of the work), or a smaller network (kit models)"
        )
        if bench.threads < bench.cores:
            lines.append(f"{bench.cores} cores are there: OMP_NUM_THREADS={bench.cores} lets the network use them")
    else:
        lines += _advise_gpu(bench)
    if bench.rate("epoch") < 0.7 * bench.together:
        lines.append(
            f"together the stages reach {bench.rate('epoch'):,.0f} of {bench.together:,.0f} images/s: "
            "something else uses this machine, or the batches are small: a larger --batch-size"
        )
    return lines


def _advise_gpu(bench: Bench) -> list[str]:
    lines, double = [], bench.rates.get("train_double")
    if not bench.mixed:
        lines.append("mixed precision is off: --set amp=auto")
    if double is not None and double > 1.1 * bench.rate("train"):
        lines.append(f"--batch-size {2 * bench.config.batch_size} gives {double:,.0f} images/s: the GPU is not full")
    if not bench.config.compile:
        lines.append("--set compile=true may help where a run takes longer than some minutes")
    return [*lines, "otherwise a smaller --size or a smaller network (kit models)"]


def _advise_memory(bench: Bench) -> list[str]:
    if not bench.config.pack or bench.pack_bytes < 0.8 * bench.memory:
        return []
    return [
        f"the pack takes {in_bytes(bench.pack_bytes)}, this machine has {in_bytes(bench.memory)} of memory: "
        "each epoch will read it from the disk: more memory, or a smaller --size"
    ]


def in_words(bench: Bench) -> str:
    """The estimate for a person."""
    seconds, config = bench.seconds(), bench.config
    pack = f"packing {duration(seconds['packing'])} once, " if seconds["packing"] else ""
    return (
        f"{bench.images:,} images: {pack}an epoch of a fold {duration(seconds['epoch'])}, "
        f"{config.folds} folds of {config.epochs} epochs {duration(seconds['run'])}"
    )
