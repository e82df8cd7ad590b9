"""What to do where memory is too small: free what is not used, undo what a failed pass has changed, take less at once.

Whoever catches such an error must leave the `except` block first: the error holds the frames of the failed pass, and
these hold its tensors.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from kit.console import Console
from kit.errors import out_of_memory, too_little_memory
from kit.model import distributed
from kit.pixels.batches import Batch, Loader
from kit.pixels.sampler import Plan

T = TypeVar("T")


def free_unused() -> None:
    """Give back the memory that nothing uses any more, to the GPU and to other programs on it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Kept:
    """A copy of tensors that a pass may change, such as the statistics of batch norm: few calls, nothing is waited for.

    Args:
        tensors: changed in place alone.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}  # of one type, a GPU copies many at once
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        self._pairs = [(own, [tensor.detach().clone() for tensor in own]) for own in kinds.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the tensors as they are."""
        for own, copies in self._pairs:
            torch._foreach_copy_(copies, own)

    @torch.no_grad()
    def restore(self) -> None:
        """Set the tensors back to what was remembered."""
        for own, copies in self._pairs:
            torch._foreach_copy_(own, copies)


class AtOnce:
    """How many images pass through a network at once: those of a batch, until memory is too small for so many.

    One for all passes of a command: the next begins with what the last one had room for.

    Args:
        console: told once; None: a warning of the main process.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.most: int | None = None  # images; None: as many as the batches have
        self._console = console or Console(silent=not distributed.is_main())
        self._untold = ""

    def each(
        self, loader: Loader, plan: Plan, work: Callable[[Batch], T], views: int = 1, least: int = 1
    ) -> Iterator[tuple[Batch, T]]:
        """Yield the batches of a plan with what `work` makes of each; from where memory runs out, of half as many rows.

        Args:
            loader: loads the batches.
            plan: (rows, seeds) of each batch.
            work: computes; it may be called again for the same rows, and must not have counted them then.
            views: of each image. When a single row is left and its views are too many, `work` is called again; it
                passes `most` of them at once.
            least: rows that `work` needs.

        Raises:
            KitError: memory is too small for the least.
        """
        left = self._divided(plan, views, least)
        while left:
            done, full = 0, ""
            try:
                for batch in loader.batches(left):
                    found = work(batch)
                    self._tell()
                    yield batch, found
                    done += 1
            except Exception as error:
                if not (full := too_little_memory(error)):
                    raise
            if not full:
                return
            batch = found = None  # type: ignore[assignment]
            left = left[done:]
            self._halve(len(left[0][0]) * views, least, full)
            left = self._divided(left, views, least)

    def _divided(self, plan: Plan, views: int, least: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Divide batches of too many images into equal parts."""
        if self.most is None:
            return list(plan)
        divided: list[tuple[np.ndarray, np.ndarray]] = []
        for rows, seeds in plan:
            parts = max(1, min(-(-len(rows) * views // self.most), len(rows) // least))
            divided += zip(np.array_split(rows, parts), np.array_split(seeds, parts), strict=True)
        return divided

    def _halve(self, images: int, least: int, full: str) -> None:
        """Take half as many at once as these, of which `full` says that there is too little memory for them."""
        images = min(images, self.most or images)
        if images < 2 * least:
            raise out_of_memory(
                f"{full} for fewer than {2 * least} images at once", "take smaller images (--size of a new run)"
            )
        self.most = -(-images // 2)
        self._untold = self._untold or f"{full} for {images} images at once"
        free_unused()

    def _tell(self) -> None:
        if self._untold:
            self._console.warn(f"{self._untold}: going on with {self.most}, which changes no result")
            self._untold = ""
