"""GPUs that are not there: what torch would say of one, on a machine without any; and kit as a script with a P100."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# What wheels are built for (PyTorch's RELEASE.md); CUDA, torch, architectures.
CU126 = ("12.6", "2.7.1+cu126", "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90")
CU128 = ("12.8", "2.10.0+cu128", "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120")
CU130 = ("13.0", "2.11.0+cu130", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120")
P100 = ("Tesla P100-PCIE-16GB", (6, 0))


def fake(
    put: Callable[[Any, str, Any], None],
    card: tuple[str, tuple[int, int]],
    torch_build: tuple[str, str, str],
    failure: Exception | None = None,
    count: int = 1,
) -> list[str]:
    """Let torch see such cards, by `setattr` or a patch of it; what is computed there fails, or is done on the CPU.

    Returns:
        A list that grows with each operation that was waited for.
    """
    (name, capability), (cuda, version, built_for) = card, torch_build
    ones, done = torch.ones, []

    def synchronize(device: object = None) -> None:
        done.append("waited")
        if failure is not None:
            raise failure

    put(torch.cuda, "is_available", lambda: True)
    put(torch.cuda, "device_count", lambda: count)
    put(torch.cuda, "current_device", lambda: 0)
    put(torch.cuda, "set_device", lambda device: None)
    put(torch.cuda, "get_device_name", lambda device=None: name)
    put(torch.cuda, "get_device_capability", lambda device=None: capability)
    put(torch.cuda, "get_arch_list", lambda: built_for.split())
    put(torch.cuda, "synchronize", synchronize)
    put(torch, "ones", lambda *sides, device=None, **more: ones(*sides, **more))
    put(torch, "__version__", version)
    put(torch.version, "cuda", cuda)
    put(torch.version, "hip", None)
    return done


def main() -> None:
    """Run several commands of kit, joined by `+`, each to its end; then say what was imported."""
    from kit.cli.app import main as kit

    fake(setattr, P100, CU130, count=2)
    join = dist.init_process_group
    dist.init_process_group = lambda backend, **more: join("gloo", **more)  # nccl needs a real card
    words, last = sys.argv[1:], 0
    while words:
        end = words.index("+") if "+" in words else len(words)
        try:
            kit(words[:end])
        except SystemExit as ended:
            last = int(ended.code or 0)
        words = words[end + 1 :]
    print("loaded", *sorted({module.split(".")[0] for module in sys.modules}))
    sys.exit(last)


SCRIPT = Path(__file__)

if __name__ == "__main__":
    main()
