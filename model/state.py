"""What the model remembers of the tokens it has read, as a value: fork it, measure it, name its tensors, build it back.

A KDA layer remembers in constant space; an MLA layer keeps one row of latents for each token, in pages. Tensors held
by a state are never changed in place, with one exception: rows are added to the last page, which `fork` therefore
copies. Full pages are shared by all forks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import KimiConfig
from model.errors import StateError

PAGE = 4096
"""Tokens in a page of latents: about 1 MiB for mini, 4.5 MiB for the 48B."""


@dataclass
class KDAState:
    """conv [W-1, 3*H*K]: the last inputs of the short convolutions. recurrent float32 [H, K, V]."""

    conv: Tensor
    recurrent: Tensor


class MLAState:
    """Latents of every token read, [tokens, R+P], in pages of `PAGE` rows."""

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.tokens = 0
        self._pages: list[Tensor] = []
        self._like = torch.empty(0, width, dtype=dtype, device=device)

    def append(self, rows: Tensor) -> None:
        """Add the latents of the next tokens, rows [T, R+P]."""
        while rows.shape[0]:
            used = self.tokens % PAGE
            fits = rows[: PAGE - used]
            self.make_room()[-1][used : used + fits.shape[0]] = fits
            self.tokens += fits.shape[0]
            rows = rows[fits.shape[0] :]

    def take(self, rows: Tensor) -> None:
        """Add the latents of a saved page, rows [T, R+P]; a full one becomes a page as it is, uncopied."""
        if rows.shape[0] == PAGE and self.tokens % PAGE == 0:
            self._pages[self.tokens // PAGE :] = [rows]
            self.tokens += PAGE
        else:
            self.append(rows)

    def make_room(self) -> list[Tensor]:
        """All pages [PAGE, R+P] whole, with room for a token more; who writes its latents there then counts it."""
        if self.tokens == len(self._pages) * PAGE:
            self._pages.append(self._like.new_empty(PAGE, self._like.shape[1]))
        return self._pages

    def count(self, tokens: int) -> None:
        """So many tokens' latents were written behind the last."""
        self.tokens += tokens

    def pages(self) -> Iterator[Tensor]:
        """The filled part of each page, [<= PAGE, R+P]."""
        for number, start in enumerate(range(0, self.tokens, PAGE)):
            yield self._pages[number][: min(PAGE, self.tokens - start)]

    def rows(self, start: int) -> Tensor:
        """The latents of the tokens from `start` on, as one tensor [tokens - start, R+P]."""
        pieces = [page[max(0, start - n * PAGE) :] for n, page in enumerate(self.pages())]
        return torch.cat([self._like, *pieces])

    def fork(self) -> "MLAState":
        """A state that goes its own way: full pages are shared, a page still being filled is copied."""
        other = MLAState(self._like.shape[1], self._like.dtype, self._like.device)
        other.tokens = self.tokens
        other._pages = self._pages[: -(-self.tokens // PAGE)]
        if self.tokens % PAGE:
            other._pages[-1] = self._pages[-1].clone()
        return other


@dataclass
class ModelState:
    """The state of every layer after `tokens` tokens."""

    tokens: int
    layers: list[KDAState | MLAState]

    @staticmethod
    def empty(config: KimiConfig, dtype: torch.dtype, device: torch.device) -> "ModelState":
        """The state before the first token."""
        layers: list[KDAState | MLAState] = []
        for n in range(config.layers):
            if n in config.mla_layers:
                layers.append(MLAState(config.latent_width, dtype, device))
            else:
                conv = torch.zeros(config.conv_taps - 1, 3 * config.kda_channels, dtype=dtype, device=device)
                shape = (config.kda_heads, config.kda_dim, config.kda_dim)
                layers.append(KDAState(conv, torch.zeros(shape, device=device)))
        return ModelState(0, layers)

    def fork(self) -> "ModelState":
        """An independent copy; costs one page for each MLA layer."""
        layers = [KDAState(x.conv, x.recurrent) if isinstance(x, KDAState) else x.fork() for x in self.layers]
        return ModelState(self.tokens, layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is remembered."""
        return sum(x.numel() * x.element_size() for x in self.to_tensors().values())

    def to_tensors(self) -> dict[str, Tensor]:
        """Every tensor by name: `layers.N.conv`, `layers.N.recurrent`, `layers.N.latents.P`.

        Of an MLA layer's pages all but the last are full, and a full page never changes again.
        """
        tensors = {}
        for n, layer in enumerate(self.layers):
            if isinstance(layer, KDAState):
                tensors[f"layers.{n}.conv"] = layer.conv
                tensors[f"layers.{n}.recurrent"] = layer.recurrent
            else:
                tensors.update({f"layers.{n}.latents.{p}": page for p, page in enumerate(layer.pages())})
        return tensors

    @staticmethod
    def page_names(config: KimiConfig, page: int) -> set[str]:
        """The names of the tensors of one page: the latents of tokens page * PAGE up to (page + 1) * PAGE."""
        return {f"layers.{n}.latents.{page}" for n in config.mla_layers}

    @staticmethod
    def from_tensors(config: KimiConfig, tokens: int, tensors: dict[str, Tensor], like: "ModelState") -> "ModelState":
        """Build a state back; `like` (an empty state) gives dtype and device. Raises StateError naming what is off."""
        left = dict(tensors)
        state = like.fork()
        for n, layer in enumerate(state.layers):
            if isinstance(layer, KDAState):
                layer.conv = _take(left, f"layers.{n}.conv", layer.conv)
                layer.recurrent = _take(left, f"layers.{n}.recurrent", layer.recurrent)
            else:
                for page, start in enumerate(range(0, tokens, PAGE)):
                    rows = layer._like.new_empty(min(PAGE, tokens - start), config.latent_width)
                    layer.take(_take(left, f"layers.{n}.latents.{page}", rows))
        if left:
            raise StateError(f"the saved state has tensors this model does not: {_few(left)}")
        state.tokens = tokens
        return state


def state_bytes(config: KimiConfig, tokens: int, dtype: torch.dtype) -> int:
    """Bytes of the state after `tokens` tokens, without building one."""
    return fixed_bytes(config, dtype) + tokens * bytes_per_token(config, dtype)


def fixed_bytes(config: KimiConfig, dtype: torch.dtype) -> int:
    """Bytes of the KDA layers' state, the same at any length."""
    conv = (config.conv_taps - 1) * 3 * config.kda_channels * dtype.itemsize
    return len(config.kda_layers) * (conv + config.kda_heads * config.kda_dim**2 * 4)


def bytes_per_token(config: KimiConfig, dtype: torch.dtype) -> int:
    """Bytes the MLA layers keep for each token."""
    return len(config.mla_layers) * config.latent_width * dtype.itemsize


def _take(tensors: dict[str, Tensor], name: str, like: Tensor) -> Tensor:
    if name not in tensors:
        raise StateError(f"the saved state lacks {name}")
    tensor = tensors.pop(name)
    if tensor.shape != like.shape or tensor.dtype != like.dtype:
        found, needed = (f"{x.dtype} {list(x.shape)}" for x in (tensor, like))
        raise StateError(f"the saved {name} is {found}, not {needed}")
    return tensor.to(like.device)


def _few(names: dict[str, Tensor]) -> str:
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
