"""Kimi Linear inference: configuration, layers, state, weights, tokenizers, and the engine that reads and generates.

Start at `engine` (what the application calls), then `transformer`, `kda`, `mla` and `moe` (what a token goes through),
and `state` (what is left of it).
"""

import os

# Idle OpenMP threads spin by default, and where another program wants the processor, two of them spinning on two cores
# stop reading almost entirely (over 100 times slower, measured). Asleep they cost a few microseconds. OpenMP looks at
# this when torch is loaded, so it stands here, before any module of ours imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
