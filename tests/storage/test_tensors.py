"""Tensors as rows, bit for bit."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storage.tensors import MOST_BYTES, Encoding, Row, _checksum, _tensor, _unpacked, check_size, pack

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8]
SHAPES = st.lists(st.integers(0, 5), max_size=4)


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@given(st.sampled_from(DTYPES), SHAPES, st.integers(0, 2**31), st.booleans(), st.sampled_from(get_args(Encoding)))
def test_any_bits_survive(
    dtype: torch.dtype, shape: list[int], seed: int, transposed: bool, encoding: Encoding
) -> None:
    count = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.randint(0, 256, (count,), dtype=torch.uint8,
                        generator=torch.Generator().manual_seed(seed))  # NaNs with payloads, infinities, subnormals
    tensor = raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    tensor = tensor.mT if transposed and tensor.dim() > 1 else tensor
    packed = pack("name", tensor, encoding)
    plain = _unpacked(_tensor(bytes(packed["data"])), packed["dtype"], packed["shape"], packed["encoding"])
    assert plain is not None
    assert packed["checksum"] == _checksum("name", packed["dtype"], packed["shape"], plain.numpy().data)
    back = Row("name", packed["dtype"], packed["shape"], plain, True).tensor()
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert _bits(back) == _bits(tensor)
    assert packed["length"] == len(packed["data"])
    assert len(plain) == count


def test_the_checksum_covers_name_dtype_shape_and_bytes() -> None:
    variants = [("a", "int8", "4", b"1234"), ("b", "int8", "4", b"1234"), ("a", "uint8", "4", b"1234"),
                ("a", "int8", "2,2", b"1234"), ("a", "int8", "4", b"1235")]
    assert len({_checksum(*variant) for variant in variants}) == len(variants)


def test_a_tensor_too_large_for_a_row() -> None:
    check_size("fits", torch.empty(MOST_BYTES, dtype=torch.uint8))
    with pytest.raises(ValueError, match="large has 67,108,866 bytes, more than 67,108,864: save it in pages"):
        check_size("large", torch.empty(MOST_BYTES // 2 + 1, dtype=torch.bfloat16))


def test_latents_take_less_room_packed() -> None:
    latents = torch.randn(4096, 144, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert pack("x", latents, "zstd")["length"] < 0.8 * pack("x", latents)["length"]


BOMB = pack("x", torch.zeros(70 << 20, dtype=torch.int8), "zstd")["data"]


@pytest.mark.parametrize("data", [b"", b"no zstd at all", BOMB])
def test_packed_data_that_is_none_is_no_tensor(data: bytes) -> None:
    for encoding in ("zstd", "mxint8"):
        assert _unpacked(_tensor(data), "float32", "7,7", encoding) is None
        assert _unpacked(_tensor(data), "no_dtype", "7,7", encoding) is None
    for shape in ("", "0", "-1,-1", "7,", "seven"):
        assert _unpacked(_tensor(data), "float32", shape, "mxint8") is None
