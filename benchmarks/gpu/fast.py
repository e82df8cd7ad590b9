"""Stage `fast`: images/s of training end to end, beside other loops and in kit's variants.

kit trains from packs on disk with full augmentation by its whole loop (plan, history, progress, loss reading); given is
the second epoch. Beside it: `bare`, the same network on one batch that lies on the GPU; `DataLoader`, torchvision's
transforms over raw tif files in 16 workers with a plain AMP loop; `Lightning` over that loader. Labels are random. The
sides take turns, the most important ones first, and in as many rounds as the time allows; figures are medians, ratios
are medians of those of a round.
"""

import gc
import os
import statistics
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import loops
import torch
from loops import Case, Pixels
from stage import Stage

from kit.errors import KitError

COMPILING = 45.0  # seconds that must be left for it
ROUND = 4.0  # seconds that must be left for any other side
ROUNDS = 3  # more of them, as far as the time allows
OTHERS = {"bare": "kit / bare", "DataLoader": "kit / DataLoader", "Lightning": "kit / Lightning"}


class Fast:
    """What has been measured so far."""

    def __init__(self, stage: Stage) -> None:
        self.stage, rehearsal = stage, stage.rehearsal
        self.cases = loops.cases(rehearsal)
        workers = 2 if rehearsal else min(16, os.cpu_count() or 1)
        loader = {"workers": workers, "rehearsal": rehearsal}
        self.sides: dict[str, Callable[[Case, Pixels], dict[str, Any]]] = {
            "bare": loops.bare_loop,
            "kit": loops.kit_loop,
            "DataLoader": partial(loops.dataloader_loop, **loader),
            "Lightning": partial(loops.lightning_loop, **loader),
            "kit, pixels=host": partial(loops.kit_loop, pixels="host"),
            "kit, pixels=gpu": partial(loops.kit_loop, pixels="gpu"),
            "kit, graphs": partial(loops.kit_loop, graphs=True),
            "kit, compile": partial(loops.kit_loop, compile=True),
            "kit, compile, graphs": partial(loops.kit_loop, compile=True, graphs=True),
            "bare, compile": partial(loops.bare_loop, compiled=True),
        }
        self.pixels: dict[int, Pixels] = {}
        self.found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.given_up: set[tuple[str, str]] = set()

    def order(self) -> Iterator[tuple[Case, str]]:
        """The cases and sides of some rounds."""
        small, large, *others = self.cases
        main, variants = ("bare", "kit", "DataLoader"), ("kit, graphs", "kit, pixels=host", "kit, pixels=gpu")
        yield from ((case, side) for case in (small, large) for side in main)
        yield from ((case, side) for case in others for side in ("bare", "kit"))
        few = (small,) if self.stage.rehearsal else (small, large)
        yield from ((case, side) for case in few for side in ("kit", "bare", *variants))
        yield from ((case, "Lightning") for case in few)
        yield from ((case, "DataLoader") for case in others)
        yield from ((small, side) for side in ("kit, compile", "bare, compile", "kit, compile, graphs"))
        if self.stage.rehearsal:
            return
        yield from ((case, side) for case in others for side in (*variants, "Lightning"))
        for turn in range(ROUNDS):
            sides = (*main, *variants) if turn % 2 else (*variants, *main[::-1])
            yield from ((case, side) for case in self.cases for side in sides)
        yield from ((case, side) for case in (large, *others) for side in ("kit, compile", "bare, compile"))

    def measure(self, case: Case, side: str) -> None:
        """Measure one side once, and note it with all that follows from it."""
        compiles = "compile" in side
        if (case.title, side) in self.given_up or self.stage.left() < (
            ROUND if self.stage.rehearsal or not compiles else COMPILING
        ):
            return
        if compiles and self.stage.rehearsal:
            if case is not self.cases[0]:
                return
            case = replace(case, model="small_cnn")  # compiling any other takes minutes of a CPU
        try:
            figures = self.sides[side](case, self.pixels_of(case))
        except Exception as error:  # what one side can't do must not cost the others their figures
            self.give_up(case, side, error)
        else:
            self.found.setdefault((case.title, side), []).append(figures)
            self.note(case, side)
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if compiles:
                torch.compiler.reset()

    def give_up(self, case: Case, side: str, error: Exception) -> None:
        """Note why a side has no figure, and don't try it again."""
        # Where one network can't be compiled, none can, and kit warns of it once only.
        self.given_up |= {(case.title, side)}
        if "compile" in side:
            self.given_up |= {(each.title, name) for each in self.cases for name in self.sides if "compile" in name}
        traceback.print_exc()
        if (case.title, side) in self.found:
            return
        # A CPU can't do all that a GPU can.
        skipped = (ImportError, KitError, loops.NotAsAskedError) if self.stage.rehearsal else (ImportError,)
        why = " ".join(str(error).split())[:200] or type(error).__name__
        self.stage.note(f"{case.title}: {side}", {"skipped" if isinstance(error, skipped) else "failed": why})

    def pixels_of(self, case: Case) -> Pixels:
        if case.size not in self.pixels:
            count = max(other.images for other in self.cases if other.size == case.size)
            files = min(count, 16_384 if case.size < 200 else 4_096)
            folder = self.stage.scratch / f"{case.size}"
            self.pixels[case.size] = Pixels.make(folder, case.size, count, files)
        return self.pixels[case.size]

    def note(self, case: Case, side: str) -> None:
        rounds = self.found[case.title, side]
        numbers = [key for key, value in rounds[0].items() if isinstance(value, float)]
        medians = {key: round(statistics.median(one[key] for one in rounds), 4) for key in numbers}
        facts = {"warnings": said} if (said := rounds[0].get("warnings")) else {}
        facts |= {"model": case.model, "size": case.size, "batch": case.batch}
        speeds = [round(one["images/s"], 1) for one in rounds]
        self.stage.note(f"{case.title}: {side}", {**medians, "rounds": speeds, **facts})
        ratios = self.ratios(case.title)
        if ratios:
            self.stage.note(f"{case.title}: ratios", ratios)

    def ratios(self, title: str) -> dict[str, Any]:
        """kit beside the others, and its fastest variant."""
        kit, ratios = self.found.get((title, "kit"), []), {}
        for side, name in OTHERS.items():
            both = [*zip(kit, self.found.get((title, side), []), strict=False)]
            if both:
                ratios[name] = round(statistics.median(a["images/s"] / b["images/s"] for a, b in both), 4)
        speeds = {
            side: statistics.median(one["images/s"] for one in rounds)
            for (case, side), rounds in self.found.items()
            if case == title and side.startswith("kit")
        }
        if speeds:
            fastest = max(speeds, key=lambda side: speeds[side])
            short = fastest.removeprefix("kit, ").replace(", ", "+") if fastest != "kit" else "as it is"
            ratios |= {"best variant": short, "best images/s": round(speeds[fastest], 1)}
        return ratios


def main(stage: Stage) -> None:
    fast = Fast(stage)
    for case, side in fast.order():
        if stage.left() < ROUND:
            break
        fast.measure(case, side)


if __name__ == "__main__":
    main(Stage.of_arguments())
