"""Kimi Linear inference: configuration, layers, state, weights, tokenizers, and the engine that reads and generates.

Start at `engine` (what the application calls), then `transformer`, `kda`, `mla` and `moe` (what a token goes through),
and `state` (what is left of it).
"""
