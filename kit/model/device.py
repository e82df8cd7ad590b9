"""The device that computes, and its precision."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from kit.model.preflight import need_card


@dataclass(frozen=True)
class Runtime:
    """The device and the type of mixed precision; None: plain float32."""

    device: torch.device
    amp: torch.dtype | None

    def __post_init__(self) -> None:
        # By default cuDNN convolves float32 in TensorFloat-32, of three decimal digits. `amp` is the way to be fast:
        # what is not in half precision (`amp=off`, Grad-CAM) is float32 as on a CPU.
        torch.backends.cudnn.allow_tf32 = False

    @classmethod
    def choose(cls, amp: str) -> "Runtime":
        """Choose CUDA if available, otherwise the CPU.

        `amp` is auto, on or off. Auto means on CUDA only: bfloat16 on a CPU without native instructions for it was 17
        times slower than float32 (resnet18, 96 px: 60 -> 3.6 images/s).

        Raises:
            KitError: there is a GPU, but it can't compute (`kit.model.preflight`).
        """
        need_card()
        if torch.cuda.is_available():
            # Let cuDNN try its algorithms once a shape: shapes are few, steps are many. The choice can change bits.
            torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
            kind = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
            # With several processes, each has its own GPU.
            return cls(torch.device("cuda", torch.cuda.current_device()), None if amp == "off" else kind)
        return cls(torch.device("cpu"), torch.bfloat16 if amp == "on" else None)

    @classmethod
    def plain(cls) -> "Runtime":
        """Return the CPU and float32, for what need not be fast."""
        return cls(torch.device("cpu"), None)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context to run forward passes in."""
        return torch.autocast(self.device.type, dtype=self.amp or torch.bfloat16, enabled=self.amp is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Return the loss scaler, which only float16 needs."""
        return torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{name}, {str(self.amp).removeprefix('torch.') if self.amp else 'float32'}"
