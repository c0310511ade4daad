"""Off a GPU, Triton's interpreter is mended before any kernel runs in it."""

from tests.kernels import device

if not device.ON_GPU:
    device.faithful_bfloat16()
