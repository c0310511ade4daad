"""`python -m tests.bench.compile_triton`: the Triton kernels compiled for Hopper without a GPU.

Prints what ptxas says of each: registers, spills, shared memory, and how many of the instructions that matter. Needs
Triton's own cuobjdump, which its Linux wheels carry. Not for `python -m tests.bench`: Triton must not be interpreted.
"""

import itertools
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
from triton.experimental.gluon._runtime import GluonASTSource, GluonJITFunction

from kernels import (
    conv_triton,
    kda_chunk_gluon_triton,
    kda_chunk_triton,
    kda_decode_triton,
    kda_pass_gluon_triton,
    kda_pass_triton,
    kda_prefill_triton,
    linear_pair_triton,
    linear_triton,
    memory_triton,
    mla_absorb_triton,
    mla_append_triton,
    mla_decode_gluon_triton,
    mla_decode_triton,
    mla_prefill_gluon_triton,
    mla_prefill_triton,
    moe_few_triton,
    moe_grouped_gluon_triton,
    moe_grouped_triton,
    norm_triton,
)

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SHARED_MEMORY = 227 << 10
SHOWN = ("HGMMA", "QGMMA", "HMMA", "UTMALDG", "MUFU", "BAR", "LDG", "LDGSTS", "STG", "SHFL")

TYPES = {
    "*fp32": "a_log_ptr bias_ptr total_ptr start_ptr end_ptr saved_ptr state_ptr maps_ptr next_state_ptr",
    "*i32": "bounds_ptr slots_ptr",
    "*fp16": "near_ptr sums_ptr",
    "fp32": "scale eps",
    "i32": "chunks segments slots H tokens channels rows width "
    "q_stride k_stride v_stride raw_stride beta_stride qkv_stride gate_stride x_stride other_stride",
}
ARGUMENTS = {name: kind for kind, names in TYPES.items() for name in names.split()}
"""What is not a pointer to bfloat16."""

EVEN = re.compile(r"_(ptr|stride|head|token)$|^(a|H|channels|columns|depth|inner|rank|rows|rows_in_all|tokens|width)$")
"""Arguments that are multiples of 16 at the 48B's shape."""


def variants() -> Iterator[tuple[Any, dict[str, Any], dict[str, int], dict[str, str]]]:
    """(kernel, constants, options, other types) of all that runs at the shapes of the 48B and of mini."""
    half = {"HALF": tl.float16, "WIDE": tl.bfloat16}
    for dim in (128, 64):
        shape = {"K": dim, "V": dim, "C": 64}
        tiles, options = _split(kda_prefill_triton.TILES | {"num_stages": 1})
        yield kda_chunk_triton.chunk_kernel, {**shape, "LEVELS": 6, **half, **tiles}, options, {}
        yield kda_chunk_gluon_triton.chunk_kernel, {"K": dim, "V": dim}, kda_chunk_gluon_triton.OPTIONS, {}
        layout = memory_triton.MATRIX
        tiles_of = {name: f"tensordesc<bf16[64,{width}],{layout!r}>" for name, width in (
            ("values_desc", 64), ("keys_desc", dim), ("read_desc", dim), ("write_desc", dim), ("attention_desc", 64),
        )}  # fmt: skip
        stages = {"STAGES": kda_pass_gluon_triton.STAGES}
        yield kda_pass_gluon_triton.pass_kernel, {"K": dim, "V": dim, **stages}, {"num_warps": 4}, tiles_of
        for columns in (64, 32):
            passing = {"num_warps": 4, "num_stages": 3}
            yield kda_pass_triton.pass_kernel, {**shape, "SLICE": columns}, passing, {}
            yield kda_pass_triton.segment_kernel, {**shape, "SLICE": columns}, passing, {}
            join = {"K": dim, "V": dim, "SLICE": columns}
            yield kda_pass_triton.join_kernel, join, {"num_warps": 8}, {}
        step = {"K": dim, "W": 4, "SETTLED": True, "OVERLAP": True}
        yield kda_decode_triton.decode_kernel, step, {"num_warps": dim // 32}, {}
    constants = {"WIDTH": 12_288, "STRIDE": 12_576, "W": 4, "TOKENS": conv_triton.TOKENS,
                 "CHANNELS": conv_triton.CHANNELS}  # fmt: skip
    yield conv_triton.conv_kernel, constants, {"num_warps": 4}, {}
    for width, rows, add, gate, results in (
        (2304, 1, True, False, 0), (2304, 1, True, False, 8), (2304, 1, False, False, 0), (128, 32, False, True, 0),
    ):  # fmt: skip
        block = triton.next_power_of_2(width)
        constants = {"D": width, "BLOCK": block, "ROWS": rows, "ADD": add, "GATE": gate, "RESULTS": results,
                     "OVERLAP": True}  # fmt: skip
        yield norm_triton.norm_kernel, constants, {"num_warps": 4}, {"other_ptr": "*fp32"} if results else {}
    for form, weight, scale, zero in (
        ("whole", "*bf16", "*bf16", "*bf16"), ("fp8", "*fp8e4nv", "*fp32", "*fp32"), ("int4", "*u8", "*bf16", "*bf16"),
    ):  # fmt: skip
        types = {"weight_ptr": weight, "scale_ptr": scale, "zero_ptr": zero}
        for tokens in (1, 2):
            constants = {"TOKENS": tokens, "ROWS": linear_triton.ROWS, "BLOCKS": 32, "FORM": form, "OVERLAP": True}
            yield linear_triton.rows_kernel, constants, {"num_warps": 4}, types
        for step in (linear_triton.STEP, linear_triton.SMALL_STEP) if form == "whole" else (linear_triton.STEP,):
            constants = {"TOKENS": linear_triton.MOST_TOKENS, "ROWS": linear_triton.TILE_ROWS, "STEP": step,
                         "FORM": form, "OVERLAP": True}  # fmt: skip
            yield linear_triton.tiles_kernel, constants, {"num_warps": 1, "num_stages": 6}, types
    constants = {"WIDTH": 128, "BLOCK": 128, "TOKENS": linear_pair_triton.TOKENS, "ROWS": linear_pair_triton.ROWS,
                 "OVERLAP": True}  # fmt: skip
    yield linear_pair_triton.pair_kernel, constants, {"num_warps": 4}, {"y_stride": "i32"}


ONE = {"*bf16": "*bf16", "*fp8e4nv": "*fp32", "*u8": "*bf16"}
"""Weights and their scales."""


def mla_and_moe() -> Iterator[tuple[Any, dict[str, Any], dict[str, int], dict[str, str]]]:
    """The same of MLA and MoE, at the 48B's shape."""
    whole = "tokens keys rank count strips columns depth blocks_k blocks_n slot rows_in_all pages queries most inner "
    whole += "pairs programs parts other_pages other_queries"
    types = dict.fromkeys(whole.split(), "i32") | {"q_head": "i64", "o_head": "i64", "past_head": "i64"}
    types |= dict.fromkeys(["q_token", "o_token", "past_token", "past_lse_head", "past_lse_token"], "i32")
    floats = "lse past past_lse out_scale a_scale weights results"
    whole = "pair tile_expert tile_start tile_end listed filled pairs"
    types |= {f"{name}_ptr": "*fp32" for name in floats.split()} | {f"{name}_ptr": "*i32" for name in whole.split()}
    for span in ("", "other_"):
        types |= {f"{span}table_ptr": "*i64", f"{span}lengths_ptr": "*i32", f"{span}queries_ptr": "*i32"}
    widths = {"NOPE": 128, "SHARED": 64, "VALUE": 128}
    for past, causal in ((False, False), (True, False), (True, True)):
        how = {**widths, "PAST": past, "CAUSAL": causal}
        blocks = {"BLOCK_NOPE": 128, "BLOCK_SHARED": 64, "BLOCK_VALUE": 128}
        tiles, options = _split(mla_prefill_triton.TILES)
        height = tiles["BLOCK_N"]
        own = {"k_desc": f"tensordesc<bf16[{height},128]>", "v_desc": f"tensordesc<bf16[{height},128]>",
               "shared_desc": f"tensordesc<bf16[{height},64]>", "o_ptr": "*bf16" if causal else "*fp32"}  # fmt: skip
        yield mla_prefill_triton._attend, how | blocks | tiles, options, types | own
        layout, height = memory_triton.MATRIX, mla_prefill_gluon_triton.BLOCK_N
        own |= {name: f"tensordesc<bf16[{rows},{width}],{layout!r}>" for name, rows, width in (
            ("q_desc", 64, 128), ("q_common_desc", 64, 64), ("k_desc", height, 128), ("v_desc", height, 128),
            ("shared_desc", height, 64),
        )}  # fmt: skip
        constants = how | {"BLOCK_N": height, "STAGES": mla_prefill_gluon_triton.STAGES}
        yield mla_prefill_gluon_triton.attend_kernel, constants, {"num_warps": 4}, types | own
    tiles, options = _split(mla_decode_triton.TILE)
    for rows in (32, 64):
        shape: dict[str, Any] = {"HEADS": 32, "RANK": 512, "SHARED": 64, "PAGE": 4096,
                     "LEAST": mla_decode_triton.TILES_A_SPLIT,
                     "BLOCK_HEADS": 32, "BLOCK_ROWS": rows, "BLOCK_RANK": 512, "BLOCK_SHARED": 64,
                     "OVERLAP": True}  # fmt: skip
        options["num_warps"] = rows // 8
        yield mla_decode_triton._partial, shape | tiles, options, types | {"o_ptr": "*fp32"}
    layout, height = memory_triton.LAYOUT, mla_decode_gluon_triton.TILE
    own = {f"{name}_desc": f"tensordesc<bf16[1,1,{height},{width}],{layout!r}>" for name, width in (
        ("half", 256), ("shared", 64),
    )}  # fmt: skip
    own["q_desc"] = f"tensordesc<bf16[1,1,32,64],{layout!r}>"
    shape = {"HEADS": 32, "RANK": 512, "SHARED": 64, "PAGE": 4096, "ROWS": mla_decode_gluon_triton.ROWS,
             "TILE": height, "STAGES": mla_decode_gluon_triton.STAGES, "SETTLED": True, "OVERLAP": True}  # fmt: skip
    yield mla_decode_gluon_triton.partial_kernel, shape, {"num_warps": 4}, types | own | {"o_ptr": "*fp32"}
    shape = {"RANK": 512, "SHARED": 64, "PAGE": 4096, "BLOCK_RANK": 512, "BLOCK_SHARED": 64, "OVERLAP": True}
    yield mla_append_triton.append_kernel, shape, {"num_warps": 4}, types
    shape = {"NOPE": 128, "HEIGHT": 256, "RANK": 512, "ROWS": mla_absorb_triton.ROWS, "OVERLAP": True}
    own = {"SHARED": 64, "LATENTS": mla_absorb_triton.LATENTS, "BLOCK_NOPE": 128, "BLOCK_SHARED": 64}
    yield mla_absorb_triton.absorb_kernel, shape | own, {"num_warps": 4}, types | {"heads": "i32"}
    own = {"VALUES": mla_absorb_triton.VALUES, "BLOCK_RANK": 512}
    yield mla_absorb_triton.unabsorb_kernel, shape | own, {"num_warps": 4}, types | {"heads": "i32", "o_ptr": "*fp32"}
    for name, tiles in moe_grouped_triton.TILES.items():
        step, _, form = name.partition(" ")
        weight = {"": "*bf16", "fp8": "*fp8e4nv", "int4": "*u8"}[form]
        tiles, options = _split(tiles)
        width = 128 if form == "fp8" else 64
        shape = {"TOP_K": 8, "UP": step == "up", "FORM": form, "EVEN": True, "ROWS": 128, "BLOCK_K": width,
                     "SCALED": 128, "PROGRAMS": 132, **tiles}  # fmt: skip
        a = weight if form == "fp8" else "*bf16"
        own = {"a_ptr": a, "out_ptr": a if step == "up" else "*bf16", "b_scale_ptr": ONE[weight],
               "b_desc": f"tensordesc<{weight[1:]}[{tiles['BLOCK_N']},{width}]>"}  # fmt: skip
        yield moe_grouped_triton._grouped, shape, options, types | own
    gluon = moe_grouped_gluon_triton
    forms = {False: ("bf16", memory_triton.MATRIX, 64), True: ("fp8e4nv", gluon.BYTES, 128)}
    types |= dict.fromkeys(["strips", "experts", "height", "second", "places", "together"], "i32")
    for up, fp8 in itertools.product((True, False), (False, True)):
        kind, layout, width = forms[fp8]
        out, out_layout, _ = forms[fp8 and up]
        own = dict.fromkeys(["a", "b_desc", "shared_desc"], f"tensordesc<{kind}[128,{width}],{layout!r}>")
        own |= {"a": f"*{kind}" if up else f"tensordesc<{kind}[{gluon.HALF},{width}],{layout!r}>"}
        own |= {"out_desc": f"tensordesc<{out}[64,128],{out_layout!r}>"}
        own |= dict.fromkeys(["b_scale_ptr", "shared_scale_ptr"], "*fp32")
        own |= dict.fromkeys(["expert_ptr", "start_ptr", "end_ptr", "taken_ptr"], "*i32")
        shape = {"UP": up, "FP8": fp8, "STEPS": (2304 if up else 1024) // width, "TOP_K": 8, "STAGES": gluon.STAGES}
        yield gluon.products_kernel, shape, {"num_warps": 4}, types | own
    for tokens, warps in ((8, 4), (32, 8), (64, 16)):
        shape = {"COLUMNS": moe_few_triton.COLUMNS, "BLOCKS": tokens // moe_few_triton.COLUMNS,
                 "CHUNK": moe_few_triton.CHUNK, "BLOCK_P": 8 * tokens, "BLOCK_E": 256, "OVERLAP": True}  # fmt: skip
        yield moe_few_triton._plan, shape, {"num_warps": warps}, types | {"chosen_ptr": "*i64"}
    for form, weight in (("", "*bf16"), ("fp8", "*fp8e4nv"), ("int4", "*u8")):
        shape = {"PIECES": 1, "PLANNED": True, "OVERLAP": True, "FORM": form, "BLOCK_T": moe_few_triton.COLUMNS,
                 "BLOCK_K": moe_few_triton.STEP[form], "EVEN": True, "BITS": True}  # fmt: skip
        scale = ONE[weight]
        own = {"gate_up_ptr": weight, "down_ptr": weight, "shared_ptr": weight, "scale_ptr": scale,
               "shared_scale_ptr": scale}  # fmt: skip
        up = shape | {"TOP_K": 8, "BLOCK": moe_few_triton.BLOCK, "ASK": True}
        yield moe_few_triton._up, up, moe_few_triton.TILES, types | own
        yield moe_few_triton._down, shape | {"BLOCK": moe_few_triton.DOWN_BLOCK}, moe_few_triton.TILES, types | own


def _split(tiles: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Constants of a kernel, and options of its launch."""
    options = {name: tiles[name] for name in ("num_warps", "num_stages", "maxnreg") if name in tiles}
    return {name: value for name, value in tiles.items() if name not in options}, options


def compiled(kernel: Any, constants: dict[str, Any], options: dict[str, int], types: dict[str, str]) -> str:
    """One row of the table. Raises AssertionError where shared memory does not fit."""
    names = kernel.arg_names
    signature = {
        name: "constexpr" if name in constants else types.get(name) or ARGUMENTS.get(name, "*bf16") for name in names
    }
    even = {(n,): [["tt.divisibility", 16]] for n, name in enumerate(names) if EVEN.search(name)}
    make = GluonASTSource if isinstance(kernel, GluonJITFunction) else ASTSource
    source = make(kernel, signature, constexprs=constants, attrs=even)
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
    for variant in (*variants(), *mla_and_moe()):
        print(compiled(*variant), flush=True)
