"""Kimi Linear inference: configuration, layers, state, weights, tokenizers, and the engine that reads and generates.

Start at `engine` (what the application calls), then `transformer`, `kda`, `mla` and `moe` (what a token goes through),
and `state` (what is left of it).
"""

import os

# Between two parallel steps an OpenMP thread spins, by default for so long that another program wanting the processor
# all but stops reading: on two cores 1 token/s where 1,000 were read. Sleeping at once halves the speed of a quiet
# machine. 10,000 turns keep all of it there, and a seventh beside one busy program (2026-11-24, mini, AMX). OpenMP
# looks at this when torch is loaded, so it stands here, before any module of ours imports torch.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# oneDNN keeps every primitive it has made, by default 1,024 of them, and many hold buffers of their own: memory grows
# by 100 MB for each thousand tokens read. With 128 kept, reading 10,000 tokens takes 1.0 GB instead of 1.9, in the same
# time; with 32 it is 0.9, but a question of 150 tokens takes 0.6 s instead of 0.5, for experts see many numbers of
# tokens (2026-11-26, mini, Zen 4). oneDNN looks at this at its first product.
os.environ.setdefault("DNNL_PRIMITIVE_CACHE_CAPACITY", "128")
