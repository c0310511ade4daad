"""What can go wrong with a model, each an error of one clear line.

    ModelError
        ConfigError       config.json is missing, damaged or describes another architecture
        CheckpointError   weights are missing, left over, of the wrong shape, or damaged
        TokenizerError    no tokenizer, or one that cannot be read
        StateError        a saved state that does not fit the model
        DeviceError       the GPU has no memory left, or failed
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ModelError(Exception):
    """A model cannot be loaded or used; the message says what to do."""


class ConfigError(ModelError):
    """config.json is missing, damaged, or describes a model this is not."""


class CheckpointError(ModelError):
    """The weights do not match the configuration."""


class TokenizerError(ModelError):
    """The tokenizer is missing or cannot be read."""


class StateError(ModelError):
    """A saved state does not fit this model."""


class DeviceError(ModelError):
    """The device that computes has no memory left, or failed."""


@contextmanager
def device_errors() -> Iterator[None]:
    """Say in one line what a GPU, or the host's memory, could not do, as DeviceError. A decorator of what computes."""
    try:
        yield
    except torch.AcceleratorError as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"the GPU failed ({reason}): start Onceread again; saved states are intact") from error
    except RuntimeError as error:
        gpu = isinstance(error, torch.OutOfMemoryError)
        if not gpu and "can't allocate memory" not in str(error):  # all that PyTorch says of the host's
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what was made on the way here
        if gpu:
            torch.cuda.empty_cache()  # others may go on with what is free now
        advice = "close what else uses it, choose smaller --weights, or read a shorter text; saved states are intact"
        raise DeviceError(f"the {'GPU' if gpu else 'computer'} has no memory left for this: {advice}") from error
