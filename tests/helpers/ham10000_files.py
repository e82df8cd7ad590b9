"""Small folders in HAM10000's layouts."""

from pathlib import Path

import cv2
import numpy as np

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
ROWS = [
    "HAM_1,ISIC_0000003,mel,histo,70.0,male,back",
    "HAM_1,ISIC_0000001,mel,histo,70.0,male,back",
    "HAM_2,ISIC_0000002,nv,consensus,,unknown,unknown",
    "HAM_3,ISIC_0000004,vasc,consensus,30.0,female,lower extremity",
]
IDS = [row.split(",")[1] for row in ROWS]
TESTS = ["ISIC_0034525", "ISIC_0034524"]


def image(path: Path, size: tuple[int, int] = (60, 45), level: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), level, np.uint8))


def metadata(root: Path, name: str = "HAM10000_metadata.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(HEADER + "".join(f"{row}\n" for row in ROWS))


def parts(root: Path) -> None:
    for number, id_ in enumerate(IDS):
        image(root / f"HAM10000_images_part_{1 + number % 2}" / f"{id_}.jpg")
