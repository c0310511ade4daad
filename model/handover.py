"""A state handed over to be saved while a GPU goes on reading: copied to the host beside the computation."""

from functools import lru_cache

import torch
from torch import Tensor

from model import state as layout
from model.errors import device_errors
from model.state import ModelState


class Handover:
    """A state's tensors as they are now. On a GPU they are copied to pinned memory by a stream of their own, as soon as
    they are computed; whoever asks for them waits for that."""

    def __init__(self, state: ModelState, after: int) -> None:
        """after: how many tokens' full pages are saved already, and stay where they are."""
        self.tokens = state.tokens
        self._tensors = state.to_tensors()
        self._arrived: torch.cuda.Event | None = None
        saved = {f"latents.{page}" for page in range(after // layout.PAGE)}
        leaving = {name: x for name, x in self._tensors.items() if x.is_cuda and name.split(".", 2)[2] not in saved}
        if leaving:
            copying = _copying(next(iter(leaving.values())).device)
            copying.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(copying):
                self._tensors |= {name: _to_host(x, copying) for name, x in leaving.items()}
            self._arrived = copying.record_event()

    @device_errors()
    def to_tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, as a state's."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._tensors


def _to_host(x: Tensor, copying: torch.cuda.Stream) -> Tensor:
    host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    host.copy_(x, non_blocking=True)
    x.record_stream(copying)  # x may be let go before it was copied
    return host


@lru_cache(maxsize=8)
def _copying(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
