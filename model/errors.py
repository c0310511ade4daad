"""What can go wrong with a model, each an error of one clear line.

    ModelError
        ConfigError       config.json is missing, damaged or describes another architecture
        CheckpointError   weights are missing, left over, of the wrong shape, or damaged
        TokenizerError    no tokenizer, or one that cannot be read
        StateError        a saved state that does not fit the model
"""


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
