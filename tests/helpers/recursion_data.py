"""A raw folder of recursion small enough to train on in a test: real layout, few wells, 16 px images."""

from pathlib import Path

import cv2
import numpy as np

EXPERIMENTS = {
    "train": ("HEPG2-01", "HEPG2-02", "HUVEC-01", "HUVEC-02", "RPE-01", "RPE-02"),
    "test": ("HEPG2-03", "RPE-03"),
}
SIRNAS = ("sirna_7", "sirna_12", "sirna_100", "sirna_3")
CONTROLS = {"B02": ("UNTREATED", "negative_control"), "C03": ("sirna_50", "positive_control")}
SIDE = 16


def write(root: Path, images: bool = True) -> Path:
    """Two plates of two siRNAs each and two controls; the groups {7, 12} and {100, 3} change plates in odd experiments.

    Image: each siRNA brightens one of four channels, each experiment all of them.
    """
    random = np.random.default_rng(0)
    rows: dict[str, list[str]] = {name: [] for name in ("train", "test", "train_controls", "test_controls")}
    for part, experiments in EXPERIMENTS.items():
        for number, experiment in enumerate(experiments):
            for plate in (1, 2):
                group = SIRNAS[:2] if (plate + number) % 2 else SIRNAS[2:]
                wells = dict(zip(("B03", "D10"), group, strict=True))
                wells |= {well: name for well, (name, _) in CONTROLS.items()}
                for well, sirna in wells.items():
                    line = f"{experiment}_{plate}_{well},{experiment},{plate},{well}"
                    if well in CONTROLS:
                        rows[f"{part}_controls"].append(f"{line},{sirna},{CONTROLS[well][1]}")
                    else:
                        rows[part].append(f"{line},{sirna}" if part == "train" else line)
                    if images:
                        _draw(root / part / experiment / f"Plate{plate}", well, sirna, number, random)
    (root).mkdir(parents=True, exist_ok=True)
    well = "id_code,experiment,plate,well"
    heads = {"train": f"{well},sirna", "test": well}
    heads |= {f"{part}_controls": f"{well},sirna,well_type" for part in EXPERIMENTS}
    for name, lines in rows.items():
        (root / f"{name}.csv").write_text("\n".join([heads[name], *lines]) + "\n")
    ids = [line.split(",")[0] for line in rows["test"]]
    (root / "sample_submission.csv").write_text("\n".join(["id_code,sirna", *(f"{id_},sirna_7" for id_ in ids)]) + "\n")
    return root


def _draw(folder: Path, well: str, sirna: str, experiment: int, random: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for site in (1, 2):
        for channel in range(6):
            level = 40 + 15 * experiment + (90 if sirna in SIRNAS and SIRNAS.index(sirna) == channel else 0)
            image = np.clip(random.normal(level, 12, (SIDE, SIDE)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{well}_s{site}_w{channel + 1}.png"), image)
