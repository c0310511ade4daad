"""Gluon kernels run on PyTorch tensors, one program after another, where there is no GPU: Gluon has no interpreter.

A kernel's body is Python. `stand_in` puts this module's functions where the body's module looks for Gluon's, so that
the very same lines run and what they compute can be tested, barriers between divided warps included: each part runs in
a thread of its own. Layouts, and what lies in which register, are left to a GPU.
"""

import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from triton.language import constexpr

PATIENCE = 60.0
"""Seconds after which a barrier that no one reaches is an error."""


class Value(Tensor):
    """A tensor with those methods of Gluon's that PyTorch lacks or means otherwise."""

    def split(self) -> Any:  # type: ignore[override]
        """Its two halves along the last dimension, as `gl.join` made it."""
        return self[..., 0], self[..., 1]

    def expand_dims(self, axis: int) -> Tensor:
        """A new dimension."""
        return self.unsqueeze(axis)


def value(x: Any) -> Any:
    """x as a kernel's tensor."""
    return torch.as_tensor(x).as_subclass(cast(Any, Value))


class Pointer:
    """Into the memory behind a tensor, counted in its numbers from its first."""

    def __init__(self, tensor: Tensor, offset: Any = 0) -> None:
        self.tensor, self.offset = tensor, offset
        self.dtype = SimpleNamespace(element_ty=tensor.dtype)

    def __add__(self, offset: Any) -> "Pointer":
        return Pointer(self.tensor, self.offset + offset)

    def places(self, mask: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """(the memory as one row, the place of every number, which of them are meant)."""
        storage, size = self.tensor.untyped_storage(), self.tensor.element_size()
        first = self.tensor.storage_offset()
        flat = torch.empty(0, dtype=self.tensor.dtype).set_(storage, first, (storage.nbytes() // size - first,), (1,))
        place = torch.as_tensor(self.offset).as_subclass(Tensor)
        meant = torch.as_tensor(True if mask is None else mask).as_subclass(Tensor)
        place, meant = torch.broadcast_tensors(place, meant)
        return flat, place, meant


class Shared:
    """Shared memory, full of NaN until something is written, or a view of it."""

    def __init__(self, data: Tensor) -> None:
        self.data, self.dtype, self.shape = data, data.dtype, data.shape

    def index(self, n: Any) -> "Shared":
        """One of many."""
        return Shared(self.data[n])

    def slice(self, start: int, length: int, dim: int = 0) -> "Shared":
        """A part."""
        return Shared(self.data.narrow(dim, start, length))

    def permute(self, order: tuple[int, ...]) -> "Shared":
        """Dimensions in another order."""
        return Shared(self.data.permute(order))

    def reshape(self, shape: list[int]) -> "Shared":
        """The same numbers in another shape."""
        return Shared(self.data.view(shape))

    def load(self, layout: Any = None) -> Any:
        """A copy."""
        return value(self.data.clone())

    def store(self, x: Tensor) -> None:
        """Written whole."""
        assert (x.shape, x.dtype) == (self.data.shape, self.data.dtype)
        self.data.copy_(x)


def load(pointer: Pointer, mask: Any = None, other: float = 0.0) -> Any:
    """gl.load"""
    flat, place, meant = pointer.places(mask)
    return value(torch.where(meant, flat[torch.where(meant, place, 0)], torch.tensor(other, dtype=flat.dtype)))


def store(pointer: Pointer, x: Tensor, mask: Any = None) -> None:
    """gl.store"""
    flat, place, meant = pointer.places(mask)
    assert x.dtype == flat.dtype
    flat[place[meant]] = torch.broadcast_to(x.as_subclass(Tensor), place.shape)[meant]


def atomic_add(pointer: Pointer, x: int, sem: str) -> Any:
    """gl.atomic_add of one number: programs run one after another, and of a program one part asks."""
    before = load(pointer)
    store(pointer, before + x)
    return before


def product(a: Any, b: Any, acc: Tensor, use_acc: bool = True, is_async: bool = False) -> Any:
    """acc + a b, summed in float32, rounded as `acc` is."""
    a, b = (x.data if isinstance(x, Shared) else x for x in (a, b))
    assert a.dtype == b.dtype != torch.float32
    made = a.float() @ b.float()
    return value((acc.float() + made if use_acc else made).to(acc.dtype))


class Barrier:
    """An mbarrier: its phase ends when so many have arrived and all expected bytes are there."""

    def __init__(self, count: int) -> None:
        self.count = self.awaited = count
        self.bytes, self.phase, self.changed = 0, 0, threading.Condition()

    def move(self, arrivals: int, more: int) -> None:
        """Arrivals, and bytes that are expected (more) or have come (less)."""
        with self.changed:
            self.awaited, self.bytes = self.awaited - arrivals, self.bytes + more
            if self.awaited == self.bytes == 0:
                self.awaited, self.phase = self.count, self.phase ^ 1
            self.changed.notify_all()

    def wait(self, phase: Any) -> None:
        """Until the phase of this parity has ended."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.phase != int(phase), PATIENCE), "no one reached a barrier"


class Barriers:
    """What kernels call `mbarrier`: barriers by the place of their shared memory."""

    def __init__(self) -> None:
        self.all: dict[int, Barrier] = {}
        self.MBarrierLayout = lambda: None

    def at(self, place: Shared) -> Barrier:
        """The barrier there."""
        return self.all[place.data.data_ptr()]

    def init(self, place: Shared, count: int) -> None:
        """A new one."""
        self.all[place.data.data_ptr()] = Barrier(count)

    def expect(self, place: Shared, size: int) -> None:
        """Arrive, and expect so many bytes."""
        self.at(place).move(1, size)

    def arrive(self, place: Shared, count: int, pred: Any = True) -> None:
        """Arrive, if so."""
        if pred:
            self.at(place).move(count, 0)

    def wait(self, place: Shared, phase: Any) -> None:
        """Until the phase of this parity has ended."""
        self.at(place).wait(phase)

    def copy(self, source: Any, corner: list[Any], place: Shared, tile: Shared) -> None:
        """The copy engine: zeros behind the tensor's end."""
        height, width = source.block_shape
        part = source.part(corner)
        tile.store(F.pad(part, (0, width - part.shape[1], 0, height - part.shape[0])))
        self.at(place).move(0, -source.block_type.nbytes)

    def scattered(self, tile: Shared, source: Pointer, mask: Any = None) -> None:
        """Numbers copied from wherever they are, zeros where the mask has none."""
        tile.store(load(source, mask))

    def scattered_arrive(self, place: Shared, increment_count: bool) -> None:
        """Every thread of four warps arrives with what it copied."""
        assert not increment_count
        self.at(place).move(128, 0)


class Tiles:
    """A tensor descriptor."""

    def __init__(self, base: Tensor, block_shape: list[int], layout: Any) -> None:
        self.base, self.block_shape, self.layout = base, block_shape, layout
        self.dtype = base.dtype
        size = block_shape[0] * block_shape[1] * base.element_size()
        self.block_type = SimpleNamespace(nbytes=size, shape=block_shape)

    from_tensor = classmethod(lambda cls, *of: cls(*of))

    def part(self, corner: list[Any]) -> Tensor:
        """What of the tensor a tile from `corner` on covers."""
        row, column = (int(x) for x in corner)
        return self.base[row : row + self.block_shape[0], column : column + self.block_shape[1]]


def copy_back(target: Tiles, corner: list[Any], tile: Shared) -> None:
    """The copy engine's other direction: nothing behind the tensor's end."""
    part = target.part(corner)
    part.copy_(tile.data[: part.shape[0], : part.shape[1]])


def warp_specialize(parts: list[tuple[Callable[..., None], tuple[Any, ...]]], *_: Any) -> None:
    """All parts side by side."""
    failures: list[BaseException] = []

    def run(part: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            part(*arguments)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=part) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Kernel:
    """A function under @gluon.jit: called by another one, or launched over a grid."""

    def __init__(self, body: Callable[..., Any], program: list[int]) -> None:
        self.body, self.program = body, program

    def __call__(self, *arguments: Any, **constants: Any) -> Any:
        return self.body(*arguments, **constants)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, num_warps: int, maxnreg: int | None = None, **constants: Any) -> None:
            given = [Pointer(x) if isinstance(x, Tensor) else x for x in arguments]
            for place in torch.cartesian_prod(*(torch.arange(n) for n in grid)).view(-1, len(grid)).tolist():
                self.program[:] = [*place, *grid]
                self.body(*given, **constants)

        return launch


TMA = SimpleNamespace(async_copy_shared_to_global=copy_back, store_wait=lambda pendings: None)


def language(program: list[int]) -> SimpleNamespace:
    """What kernels call `gl`, for one program after another: `program` is changed in between. It holds
    a program's place, then the grid."""
    layouts = ("DistributedLinearLayout SliceLayout NVMMADistributedLayout DotOperandLayout BlockedLayout "
               "SwizzledSharedLayout NVMMASharedLayout")  # fmt: skip
    types = "float16 bfloat16 float32 int16 int32 int64"
    return SimpleNamespace(
        **{name: lambda *_, **__: None for name in layouts.split()},
        **{name: getattr(torch, name) for name in types.split()}, float8e4nv=torch.float8_e4m3fn,
        constexpr=lambda x: x, static_range=range, load=load, store=store, atomic_add=atomic_add,
        program_id=lambda axis: value(program[axis]),
        num_programs=lambda axis: value(program[len(program) // 2 + axis]),
        arange=lambda start, end, layout=None: value(torch.arange(start, end)),
        full=lambda shape, x, dtype, layout=None: value(torch.full(shape, x, dtype=dtype)),
        zeros=lambda shape, dtype, layout=None: value(torch.zeros(shape, dtype=dtype)),
        where=lambda mask, a, b: torch.where(value(mask), value(a), value(b)),
        minimum=lambda a, b: torch.minimum(value(a), value(b)),
        maximum=lambda a, b: torch.maximum(value(a), value(b)),
        abs=torch.abs, rsqrt=torch.rsqrt, exp2=torch.exp2, exp=torch.exp,
        sum=lambda x, axis: x.sum(axis), max=lambda x, axis: x.amax(axis), join=lambda a, b: torch.stack([a, b], -1),
        convert_layout=lambda x, layout: x,
        allocate_shared_memory=allocate, warp_specialize=warp_specialize,
    )  # fmt: skip


def allocate(dtype: torch.dtype, shape: list[int], layout: Any) -> Shared:
    """gl.allocate_shared_memory"""
    return Shared(torch.full(shape, float("nan") if dtype.is_floating_point else -1, dtype=dtype))


def stand_in(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Have the kernels of these modules run on PyTorch tensors."""
    program, barriers = [0, 0, 0], Barriers()
    gl = language(program)
    others = {
        "gl": gl, "mbarrier": barriers, "copy_tile": barriers.copy, "TensorDescriptor": Tiles,
        "mma_v2": product, "warpgroup_mma": product, "warpgroup_mma_wait": lambda pending, deps: deps[0],
        "fence_async_shared": lambda: None, "tma": TMA,
        "async_copy": SimpleNamespace(
            async_copy_global_to_shared=barriers.scattered, mbarrier_arrive=barriers.scattered_arrive
        ),
    }  # fmt: skip
    for module in modules:
        for name, x in list(vars(module).items()):
            if hasattr(x, "fn"):  # a function under @gluon.jit
                monkeypatch.setattr(module, name, Kernel(x.fn, program))
            elif isinstance(x, constexpr):
                monkeypatch.setattr(module, name, x.value)
            elif name in others:
                monkeypatch.setattr(module, name, others[name])
