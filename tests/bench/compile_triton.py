"""`python -m tests.bench.compile_triton`: KDA's and `linear`'s Triton kernels compiled for Hopper without a GPU.

Prints what ptxas says of each: registers, spills, shared memory, and how many of the instructions that matter. Needs
Triton's own cuobjdump, which its Linux wheels carry. Not for `python -m tests.bench`: Triton must not be interpreted.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels import conv_triton, kda_chunk_triton, kda_decode_triton, kda_pass_triton, linear_triton, norm_triton

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SHARED_MEMORY = 227 << 10
SHOWN = ("HGMMA", "HMMA", "MUFU", "BAR", "LDG", "LDGSTS", "STG", "SHFL")

TYPES = {
    "*fp32": "a_log_ptr bias_ptr total_ptr start_ptr end_ptr saved_ptr state_ptr maps_ptr next_state_ptr",
    "*i32": "bounds_ptr slots_ptr",
    "fp32": "scale eps",
    "i32": "chunks segments slots H tokens channels rows width "
    "q_stride k_stride v_stride raw_stride beta_stride qkv_stride gate_stride x_stride other_stride",
}
ARGUMENTS = {name: kind for kind, names in TYPES.items() for name in names.split()}
"""What is not a pointer to bfloat16."""

EVEN = re.compile(r"_ptr$|_stride$|^(H|channels|width|rows)$")
"""Arguments that are multiples of 16 at the 48B's shape."""


def variants() -> Iterator[tuple[Any, dict[str, Any], dict[str, int], dict[str, str]]]:
    """(kernel, constants, options, other types) of all that runs at the shapes of the 48B and of mini."""
    half = {"HALF": tl.float16, "WIDE": tl.bfloat16}
    for dim in (128, 64):
        shape = {"K": dim, "V": dim, "C": 64}
        yield kda_chunk_triton.chunk_kernel, {**shape, "LEVELS": 6, **half}, {"num_warps": 4}, {}
        for columns in (64, 32):
            passing = {"num_warps": 4, "num_stages": 3}
            yield kda_pass_triton.pass_kernel, {**shape, "SLICE": columns}, passing, {}
            yield kda_pass_triton.segment_kernel, {**shape, "SLICE": columns}, passing, {}
            join = {"K": dim, "V": dim, "SLICE": columns}
            yield kda_pass_triton.join_kernel, join, {"num_warps": 8}, {}
        yield kda_decode_triton.decode_kernel, {"K": dim, "W": 4}, {"num_warps": 4}, {}
    yield conv_triton.conv_kernel, {"W": 4, "TOKENS": 32, "CHANNELS": 128}, {"num_warps": 4}, {}
    for width, rows, add, gate in ((2304, 1, True, False), (2304, 1, False, False), (128, 32, False, True)):
        block = triton.next_power_of_2(width)
        constants = {"D": width, "BLOCK": block, "ROWS": rows, "ADD": add, "GATE": gate}
        yield norm_triton.norm_kernel, constants, {"num_warps": 4}, {}
    for form, weight, scale, zero in (
        ("whole", "*bf16", "*bf16", "*bf16"), ("fp8", "*fp8e4nv", "*fp32", "*fp32"), ("int4", "*u8", "*bf16", "*bf16"),
    ):  # fmt: skip
        types = {"weight_ptr": weight, "scale_ptr": scale, "zero_ptr": zero}
        for tokens in (1, 2):
            constants = {"TOKENS": tokens, "ROWS": linear_triton.ROWS, "BLOCKS": 32, "FORM": form}
            yield linear_triton.rows_kernel, constants, {"num_warps": 4}, types
        constants = {"TOKENS": linear_triton.MOST_TOKENS, "ROWS": linear_triton.TILE_ROWS, "FORM": form}
        yield linear_triton.tiles_kernel, constants, {"num_warps": 1, "num_stages": 6}, types


def compiled(kernel: Any, constants: dict[str, Any], options: dict[str, int], types: dict[str, str]) -> str:
    """One row of the table. Raises AssertionError where shared memory does not fit."""
    names = kernel.arg_names
    signature = {
        name: "constexpr" if name in constants else types.get(name) or ARGUMENTS.get(name, "*bf16") for name in names
    }
    even = {(n,): [["tt.divisibility", 16]] for n, name in enumerate(names) if EVEN.search(name)}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=even)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([TOOLS / "cuobjdump", how, file.name], capture_output=True, text=True, check=True).stdout
            for how in ("-res-usage", "--dump-sass")
        )
    registers = re.search(r"REG:(\d+)", usage)
    operations = Counter(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ )?([A-Z0-9_]+)", code, re.M))
    assert built.metadata.shared <= SHARED_MEMORY
    shape = " ".join(f"{k}={getattr(v, 'name', v)}" for k, v in constants.items())
    counts = " ".join(f"{name} {operations[name]}" for name in SHOWN if operations[name])
    return (f"| {kernel.__name__} | {shape} | {registers[1] if registers else '?'} | "
            f"{operations['STL'] + operations['LDL']} | {built.metadata.shared / 1024:.0f} | "
            f"{sum(operations.values()):,} | {counts} |")  # fmt: skip


if __name__ == "__main__":
    print(f"triton {triton.__version__}, sm_90\n")
    print("| kernel | constants | registers | spills | shared KiB | instructions | of them |")
    print("|---|---|---|---|---|---|---|")
    for variant in variants():
        print(compiled(*variant), flush=True)
