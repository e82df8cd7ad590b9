"""CUDA graphs: the forward and backward pass of a step started as two graphs instead of a thousand kernels.

With small batches a GPU is faster than the host can start its kernels. A graph is captured for one shape and replayed
for each batch of it; batches of other shapes (an epoch's last one) run as ever, and so does everything that is not a
step: validation, previews, explanations. Loss, clipping and optimiser are no part of it.
"""

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from kit.console import Console
from kit.model import distributed
from kit.model.device import Runtime
from kit.model.memory import free_unused
from kit.model.network import Output


def why_no_graphs(device: torch.device) -> str:
    """Return why steps can't be replayed as CUDA graphs; empty if they can."""
    if device.type != "cuda":
        return "there is no GPU here"
    if distributed.world_size() > 1:
        return "several processes average their gradients during the backward pass"
    return ""


class Graphs:
    """A network that learns, called with a batch's images and metadata; replayed where the shape is fixed.

    A shape is fixed when it comes twice in succession: the second batch is captured. Only one graph is kept.

    Args:
        network: in training mode it is captured; in eval mode it is called as it is.
        runtime: its device and precision.
    """

    def __init__(self, network: nn.Module, runtime: Runtime) -> None:
        self.network, self.runtime = network, runtime
        self._fails = False
        self.forget()

    def forget(self) -> None:
        """Drop the graph, since it would go on computing the gradients of the weights that learned when it was made."""
        self._replayed: nn.Module | None = None
        self._shape: tuple[torch.Size, ...] = ()  # of the last batch
        self._captured: tuple[torch.Size, ...] = ()

    def __call__(self, images: Tensor, metadata: Tensor) -> Output:
        """Return the network's output, valid until the next call."""
        if self._fails or not self.network.training:
            return cast(Output, self.network(images, metadata))
        shape = (images.shape, metadata.shape)
        if shape == self._shape != self._captured:
            self.forget()
            self._replayed = self._capture(images, metadata)
            self._captured = shape if self._replayed is not None else ()
        self._shape = shape
        if self._replayed is None or shape != self._captured:
            return cast(Output, self.network(images, metadata))
        self._keep_gradients()
        return Output(*self._replayed(images, metadata))

    def _capture(self, images: Tensor, metadata: Tensor) -> nn.Module | None:
        """Return the network with its two passes captured for this shape; None, with a warning, where that fails."""
        amp = self.runtime.amp
        # A cast weight in autocast's cache would be that of the capture for ever.
        autocast = torch.autocast(
            self.runtime.device.type, dtype=amp or torch.bfloat16, enabled=amp is not None, cache_enabled=False
        )
        given = (images.detach().clone(), metadata.detach().clone())
        free_unused()  # an earlier graph and its memory are held by a cycle
        try:
            with _untouched(self.network, self.runtime.device), autocast:
                self._need_no_wait(given)
                # A margin loss leaves the network's own classifier without a gradient.
                graphed = torch.cuda.make_graphed_callables(_Tensors(self.network), given, allow_unused_input=True)
        except Exception as error:  # a network may wait for the device, or its memory may not suffice twice
            why = " ".join(str(error).split("\n\n")[0].split())[:200]
            Console().warn(f"this network can't be captured as a CUDA graph ({why}): going on without graphs")
            self._fails = True
            return None
        # The graph keeps the nodes that gather its gradients, on the stream of the capture: harmless, but torch warns.
        if hasattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch"):
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        return cast(nn.Module, graphed)

    def _need_no_wait(self, given: tuple[Tensor, Tensor]) -> None:
        """Raise an error if a pass waits for the device: that would break the capture half way, and leave torch so."""
        if self.runtime.device.type != "cuda":
            return
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            outputs = [output for output in self.network(*given) if output.requires_grad]
            if outputs:
                torch.autograd.grad(outputs, learning, [torch.ones_like(each) for each in outputs], allow_unused=True)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def _keep_gradients(self) -> None:
        """Move gradients of the step's earlier batches: they may lie where the replayed backward pass writes its own.

        Autograd takes a first gradient over as it is, so it is the graph's memory until the optimiser has used it.
        """
        held = [(each, each.grad) for each in self.network.parameters() if each.grad is not None]
        if held:
            copies = torch._foreach_mul([gradient for _, gradient in held], 1.0)
            for (parameter, _), copy in zip(held, copies, strict=True):
                parameter.grad = copy


class _Tensors(nn.Module):
    """The network with a plain tuple as output, a module of its own: capturing replaces the module's `forward`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, metadata: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and embedding."""
        output: Output = self.network(images, metadata)
        return output.logits, output.embedding


@contextlib.contextmanager
def _untouched(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Undo what the passes before a capture change: statistics of batch norm, random numbers, the current stream."""
    on_gpu = device.type == "cuda"
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    # A capture that fails leaves its own stream as the current one.
    stream = torch.cuda.stream(torch.cuda.current_stream(device) if on_gpu else None)
    try:
        with torch.random.fork_rng([device] if on_gpu else []), stream:
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
