"""New latents reach their place in their row's page, normed as `norm` norms them, and nothing else is written."""

import torch

from kernels import norm
from kernels.mla_append_triton import append
from tests.kernels.device import DEVICE, ON_GPU

DTYPE = torch.bfloat16 if ON_GPU else torch.float32
PAGE = 64


def test_each_row_gets_its_token() -> None:
    rank, shared, lengths = 48, 16, [1, PAGE, PAGE + 1, 3 * PAGE - 5]
    pages = torch.full((len(lengths), 3, PAGE, rank + shared), float("nan"), dtype=DTYPE, device=DEVICE)
    size = pages[0, 0].numel() * pages.element_size()
    spare = 2  # columns of the table that nothing looks at
    table = torch.zeros(len(lengths), 3 + spare, dtype=torch.int64, device=DEVICE)
    table[:, :3] = pages.data_ptr() + size * torch.arange(3 * len(lengths), device=DEVICE).view(-1, 3)
    wide = torch.randn(len(lengths), 2 * (rank + shared), device=DEVICE).to(DTYPE)
    latents, weight = wide[:, 5 : 5 + rank + shared], torch.rand(rank, device=DEVICE).to(DTYPE)

    append(latents, weight, 1e-6, table, torch.tensor(lengths, dtype=torch.int32, device=DEVICE), PAGE)

    for row, length in enumerate(lengths):
        page, place = divmod(length - 1, PAGE)
        written = pages[row, page, place]
        expected = norm.rms_norm(latents[row : row + 1, :rank].float().cpu(), weight.float().cpu(), 1e-6)[0]
        torch.testing.assert_close(written[:rank].float().cpu(), expected, rtol=1e-2 if ON_GPU else 1e-5, atol=1e-5)
        assert torch.equal(written[rank:], latents[row, rank:])
    assert int(pages.isnan().logical_not().sum()) == latents.numel()
