"""Pretrained weights from files that others made: what a file is, before anything in it is decoded."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from kit.errors import DISK, KitError
from kit.files import sha256

# Older ones can be made to run code by a pickle, even with `weights_only` (CVE-2026-24747).
SAFE_TORCH = "2.10"
ZIP, PICKLE = b"PK\x03\x04", b"\x80"


def read_weights(path: Path, right: str, known: str = "") -> dict[str, Tensor]:
    """Read a file of weights: safetensors, or a pickle of torch's where that is safe.

    Args:
        path: the file.
        right: what to do if it is not the right one; the end of the error.
        known: how its SHA-256 begins, if that is known; a file that fits may be a pickle under any torch.

    Raises:
        KitError: it is something else, damaged, or a pickle that this torch can't read safely.
    """
    try:
        kind = _kind(path, right)
        if known and not sha256(path).startswith(known):
            raise KitError(f"{path} is damaged or another file (its SHA-256 does not begin with {known}): {right}")
    except OSError as error:
        raise KitError(f"{path} can't be read ({error.strerror}): fix its permissions", DISK) from None
    if kind == "safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise KitError(f"{path} is cut or damaged ({error}): {right}") from None
    if path.suffix == ".safetensors":
        raise KitError(f"{path} is a pickle, not safetensors as its name says: {right}")
    if not known and TorchVersion(str(torch.__version__)) < SAFE_TORCH:
        raise KitError(
            f"{path} is a pickle, from which torch {torch.__version__} can be made to run code (CVE-2026-24747): "
            "pip install -U 'torch>=2.10', or there convert it: python -c \"import torch, safetensors.torch as s; "
            f"s.save_file(torch.load('{path.name}', weights_only=True), '{path.stem}.safetensors')\""
        )
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle or archive leads to
        first = next(iter(str(error).splitlines()), "")
        raise KitError(f"{path} is cut or damaged ({type(error).__name__}: {first[:120]}): {right}") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise KitError(f"{path} holds no weights by name: {right}")
    return dict(tensors)


def _kind(path: Path, right: str) -> str:
    """Return `safetensors` or `pickle`; raise `KitError` with what the file is if it is neither."""
    if not path.is_file():
        raise KitError(f"{path} is {'no file' if path.exists() else 'not there'}: {right}")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
    what, start = "", head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if size == 0:
        what = "is empty"
    elif start.startswith(b"version https://git-lfs"):
        what = "is a Git-LFS pointer, not the file that it stands for"
    elif start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        what = "is a web page"
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40:
        if int.from_bytes(head[:8], "little") + 8 <= size:
            return "safetensors"
        what = f"is cut: it has {size:,} bytes and needs more for its header alone"
    elif head.startswith((ZIP, PICKLE)):
        return "pickle"
    else:
        what = "is text" if head.isascii() and head.decode().replace("\n", "").isprintable() else "holds no weights"
    raise KitError(f"{path} {what}: {right}")


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path, right: str) -> None:
    """Load weights into a network; every name and shape must fit, or they are another network's."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise other_network(path, error, right) from None


def other_network(path: Path, error: object, right: str) -> KitError:
    """Return the error for a file with the weights of another network; the first difference is named."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = next(iter(lines[1:] or lines), "")[:160]
    return KitError(f"{path} holds the weights of another network ({detail}): {right}")
