"""What the model computes, one operation a file, each a plain PyTorch function a person can check against the paper.

The letters used for shapes, everywhere in the project:

    T   tokens in this call            H   heads
    D   model (hidden) dimension       K   key dimension of a head
    V   value dimension of a head      C   channels of a convolution, or tokens of a KDA chunk (said where used)
    R   rank of MLA's latent           P   shared key part of MLA (the "rope" dimensions, never rotated)
    E   experts                        I   inner dimension of an expert
    S   keys (past tokens) attended to

Modules: `kda` (gate, recurrence, chunked form), `conv` (short causal convolution), `norm` (RMS norms), `mla`
(attention with its log-sum-exp, merged over segments), `moe` (router and experts), `linear` (matrix times tokens).
`backend` chooses between these references and their Triton forms, `*_triton`; NOTES.md says what those are made of.
On a processor there are `*_numba`: for one token at a time, a layer a call (`model.single`), and for KDA over many.
"""
