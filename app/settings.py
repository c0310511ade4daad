"""Where data lives, which model runs, and on what."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

import model

MINI = Path(model.__file__).parent / "mini"
"""The embedded model."""


@dataclass(frozen=True)
class Settings:
    """home: the data folder. model: a checkpoint folder. device: as PyTorch names it."""

    home: Path
    model: Path
    device: str

    @staticmethod
    def from_environment(device: str | None = None) -> "Settings":
        """`$ONCEREAD_HOME`, `$ONCEREAD_MODEL` and `$ONCEREAD_DEVICE`, or the user's data folder, mini and the CPU."""
        environment = os.environ
        home = environment.get("ONCEREAD_HOME") or platformdirs.user_data_dir("onceread", appauthor=False)
        chosen = device or environment.get("ONCEREAD_DEVICE") or "cpu"
        return Settings(Path(home), model_folder(environment.get("ONCEREAD_MODEL") or "mini"), chosen)

    @property
    def model_name(self) -> str:
        """`mini`, or the checkpoint folder's name."""
        return self.model.name


def model_folder(name: str) -> Path:
    """The folder of a model given as `mini` or as a path."""
    return MINI if name == "mini" else Path(name).expanduser()
