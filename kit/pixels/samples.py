"""Rows of an index as images of one size, from packed pixels or from files, with the statistics that normalise them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from kit.config import TrainConfig
from kit.console import Console
from kit.data.images import read_sample, resize, stored_side
from kit.data.index import Index
from kit.data.store import Store
from kit.hooks.specs import DatasetSpec
from kit.images.decode import second_reader
from kit.pixels.pack import BY_PILLOW, Packed, Split, packs_for
from kit.pixels.pack_sources import frame_of
from kit.pixels.statistics import ChannelStatistics, row_statistics
from kit.pixels.warp import cropped, gather, warp_batch


@dataclass(frozen=True)
class Samples:
    """Rows of an index at one size, from packed pixels where they exist for that size.

    Args:
        root: the folder that `files` are relative to.
        files: names of each sample's files: the array of the index's column.
        targets, metadata: as the index returns them.
        dataset: reads a sample's files.
        size: side in pixels.
        packs: packed pixels of the whole split, by the size they serve.
        places: row of each sample in the packs; for an external sample, -1 - row in `external_packs`.
        external_packs: packed pixels of the external samples, by the size they serve.
        statistics: mean and standard deviation per channel that normalise each sample; None: the run's.
        crop: share of each side, about the centre, that the network sees at `size`.
    """

    root: Path
    files: ExtensionArray | np.ndarray
    targets: np.ndarray
    metadata: np.ndarray
    dataset: DatasetSpec
    size: int
    packs: Mapping[int, Packed] = field(default_factory=dict)
    places: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    external_packs: Mapping[int, Packed] = field(default_factory=dict)
    statistics: ChannelStatistics | None = None
    crop: float = 1.0

    @classmethod
    def of(
        cls,
        index: Index,
        frame: pd.DataFrame,
        dataset: DatasetSpec,
        size: int,
        packs: Mapping[int, Packed] | None = None,
        statistics: ChannelStatistics | None = None,
        crop: float = 1.0,
    ) -> "Samples":
        """Make samples of `frame`, rows of the training or test split; rows without a target get targets of width 0."""
        targets = index.targets(frame) if "target" in frame else np.zeros((len(frame), 0), np.float32)
        whole = index.train if "target" in frame else index.test
        places = whole.index.get_indexer(frame.index)
        files = frame["files"].array
        own = None if statistics is None else statistics.of(places)
        metadata = index.metadata_of(frame)
        return cls(index.root, files, targets, metadata, dataset, size, packs or {}, places, statistics=own, crop=crop)

    def with_external(
        self,
        index: Index,
        frame: pd.DataFrame,
        packs: Mapping[int, Packed],
        statistics: ChannelStatistics | None = None,
    ) -> "Samples":
        """Return these samples followed by the rows of `frame`, a selection of the index's external samples."""
        if not len(frame):
            return self
        places = index.external.index.get_indexer(frame.index)
        return replace(
            self,
            files=np.concatenate([np.asarray(self.files), np.asarray(frame["files"])]),
            targets=np.concatenate([self.targets, index.targets(frame)]),
            metadata=np.concatenate([self.metadata, index.metadata_of(frame)]),
            places=np.concatenate([self.places, -1 - places]),
            external_packs=packs,
            statistics=self.statistics and statistics and self.statistics.followed_by(statistics.of(places)),
        )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def pack(self) -> Packed | None:
        """The packed pixels that serve this size, if any."""
        return self.packs.get(self.size)

    def stored(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return an array of stored images NxHxWxC, and the places of the rows' images in it."""
        if self.pack is None:
            raise ValueError(f"no packed pixels at {self.size} px")
        places = self.places[rows]
        external = places < 0
        pixels = self.pack.verified(places[~external])
        if not external.any():
            return pixels, places
        both = np.empty((len(rows), *pixels.shape[1:]), np.uint8)
        both[~external] = gather(pixels, places[~external])
        external_pixels = self.external_packs[self.size].verified(-1 - places[external])
        for row in np.flatnonzero(external):
            both[row] = resize(np.asarray(external_pixels[-1 - places[row]]), both.shape[1])
        return both, np.arange(len(rows))

    def image(self, row: int) -> np.ndarray:
        """Return one sample as the network sees it, size x size x C uint8."""
        whole = self.whole(row)
        if self.crop == 1:
            return whole
        return warp_batch(whole[None], np.array([0]), cropped(1, self.crop, whole.shape[:2], self.size), self.size)[0]

    def whole(self, row: int) -> np.ndarray:
        """Return one sample before it is cropped, as large as its crop needs."""
        side = stored_side(self.size, self.crop)
        if self.pack is not None:
            pixels, (place,) = self.stored(np.array([row]))
            return resize(np.asarray(pixels[place]), side)
        return resize(read_sample(self.dataset, self.root, self.files[row]), side)


def samples_of(
    store: Store, index: Index, split: Split, config: TrainConfig, console: Console, sizes: Sequence[int] = ()
) -> Callable[[pd.DataFrame], Samples]:
    """Return a function from rows of one split of the index to samples, packed and normalised as configured.

    The packs and statistics of the whole split are found, or made, once, in this call.

    Args:
        store: the data.
        index: the store's index.
        split: the split the rows belong to; not `external`.
        config: its size is the samples'.
        console: shows the progress of packing.
        sizes: further sides that will be needed.
    """
    packs = packs_for(store, index, split, config, (config.size, *sizes), console)
    if not packs and len(frame := frame_of(index, split)):
        # Once here, before there are worker processes: how levels are read, and how slowly.
        read_sample(store.dataset, index.root, frame["files"].iat[0])
        if second_reader():
            console.say(BY_PILLOW)
    statistics = row_statistics(store, index, split, config, console)
    # A plugin's test frame may have targets too, which are not looked at.
    unseen = ["target"] if split == "test" else []

    def of(frame: pd.DataFrame) -> Samples:
        own = frame.drop(columns=unseen, errors="ignore")
        return Samples.of(index, own, store.dataset, config.size, packs, statistics, config.crop)

    return of
