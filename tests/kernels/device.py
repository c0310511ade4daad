"""Where tests of Triton kernels run: on a GPU at full size, else in Triton's interpreter on the CPU at small sizes."""

import os

import torch

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

if not ON_GPU:  # Triton looks at this when it is imported
    os.environ["TRITON_INTERPRET"] = "1"
