"""Off a GPU, Triton's interpreter is mended before any kernel runs in it."""

from tests.kernels import device

if not device.ON_GPU:
    from tests.kernels.interpreter_triton import faithful_bfloat16

    faithful_bfloat16()
