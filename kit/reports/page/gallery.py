"""Where the networks of a run look: Grad-CAM of images they get wrong, and of images they get right; of numbers, of
those with the largest and the smallest errors."""

from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.reports.page.pictures import address, shrunk
from kit.reports.page.scored import Scored

EACH = 6  # wrong images, and right images
SIDE = 192  # pixels


def gallery(opened: OpenRun, scored: Scored, console: Console) -> tuple[dict[str, Any], list[list[str]]]:
    """Return what the page says of each explained image, and its pictures: the image, then one overlay per layer.

    A run without a network to explain (a blend) has no images and says `why`.
    """
    # Imported here: nothing else needs torch.
    from kit.explain.explain import explain_run
    from kit.explain.picture import overlay

    wanted = picked(scored)
    try:
        found = {explained.id: explained for explained in explain_run(opened, wanted, console=console)}
    except KitError as error:
        return {"why": str(error), "images": []}, []
    images, pictures = [], []
    for each in (found[id_] for id_ in wanted):
        images.append(
            {
                "id": each.id,
                "right": bool(scored.right[scored.row_of[each.id]]),
                "label": each.label,
                "predicted": each.predicted,
                "explained": each.explained,
                "probability": each.probability,
                "shown": each.shown,
                "fold": each.fold,
                "layers": list(each.maps),
            }
        )
        shown = [each.image, *(overlay(each.image, map_) for map_ in each.maps.values())]
        pictures.append([address(shrunk(image, SIDE)) for image in shown])
    return {"why": None, "images": images}, pictures


def picked(scored: Scored) -> list[str]:
    """Pick ids: the worst wrong ones, then the surest right ones, class by class in turn, frequent classes first; of
    numbers those with the largest errors, then those with the smallest."""
    order = np.argsort(-scored.losses, kind="stable")
    if not scored.task.has_classes:
        rows = dict.fromkeys([*order[:EACH].tolist(), *order[::-1][: min(EACH, len(order) - EACH)].tolist()])
        return [str(scored.ids[row]) for row in rows]
    wrong = order[~scored.right[order]][:EACH]
    right = order[::-1][scored.right[order[::-1]]]
    support = scored.truth.sum(0)
    classes = np.argsort(-support, kind="stable")[:EACH]
    of_class = [right[scored.truth[right, number]][:EACH].tolist() for number in classes]
    turns = [rows[turn] for turn in range(EACH) for rows in of_class if turn < len(rows)]
    chosen = [*wrong.tolist(), *list(dict.fromkeys(turns))[:EACH]]
    return [str(scored.ids[row]) for row in chosen]
