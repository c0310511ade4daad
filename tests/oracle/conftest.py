"""The oracle: transformers' own model class, kept quiet."""

from collections.abc import Iterator

import pytest
from transformers.utils import logging


@pytest.fixture(autouse=True, scope="package")
def _quiet() -> Iterator[None]:
    """No progress bars and no advice on faster kernels while the oracle runs."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(before)
    logging.enable_progress_bar()
