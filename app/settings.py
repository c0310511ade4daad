"""Where data lives, which model runs, and on what."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs

import model
from app.errors import OncereadError
from model.memory import FORMS, Form

MINI = Path(model.__file__).parent / "mini"
"""The embedded model."""


@dataclass(frozen=True)
class Settings:
    """home: the data folder. model: a checkpoint folder. device: as PyTorch names it.

    max_state: bytes that all saved states together may take; None: any number. database: where the library is, if not
    in a file of the data folder: a URL like postgresql://user@host/name. pack_state: whether states are saved packed,
    without loss: about 0.7 of the bytes for a few seconds a gigabyte. round_latents: whether full pages of latents are
    rounded to 8 bits, in memory and on disk: about half the bytes on disk, and other states than without. weights: the
    form that the model's experts are held in; each has states of its own.
    """

    home: Path
    model: Path
    device: str
    max_state: int | None = None
    database: str | None = None
    pack_state: bool = False
    round_latents: bool = False
    weights: Form = "bf16"

    @staticmethod
    def from_environment(
        device: str | None = None, max_state: str | None = None, weights: str | None = None
    ) -> "Settings":
        """`$ONCEREAD_HOME`, `$ONCEREAD_MODEL` and `$ONCEREAD_DEVICE`, or the user's data folder, mini and the CPU;
        `$ONCEREAD_WEIGHTS`, `$ONCEREAD_MAX_STATE`, `$ONCEREAD_DATABASE`, `$ONCEREAD_PACK_STATE` and
        `$ONCEREAD_ROUND_LATENTS` (1: yes). What is given here goes before. Raises OncereadError."""
        environment = os.environ
        home = environment.get("ONCEREAD_HOME") or platformdirs.user_data_dir("onceread", appauthor=False)
        chosen = device or environment.get("ONCEREAD_DEVICE") or "cpu"
        most = max_state or environment.get("ONCEREAD_MAX_STATE")
        return Settings(
            Path(home), model_folder(environment.get("ONCEREAD_MODEL") or "mini"), chosen,
            size(most) if most else None, environment.get("ONCEREAD_DATABASE") or None,
            _yes("ONCEREAD_PACK_STATE"), _yes("ONCEREAD_ROUND_LATENTS"),
            form(weights or environment.get("ONCEREAD_WEIGHTS") or "bf16"),
        )

    @property
    def model_name(self) -> str:
        """`mini`, or the checkpoint folder's name."""
        return self.model.name


def _yes(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


def size(words: str) -> int:
    """Bytes of `2GB`, `500 MB` or `1000000` (units of 1000, as disks are sold). Raises OncereadError."""
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(|[KMGT])B?\s*", words.upper())
    if parts is None:
        raise OncereadError(f"{words!r} is no size: say it like 500MB, 20GB or 1.5TB")
    return int(float(parts[1]) * 1000 ** " KMGT".index(parts[2] or " "))


def form(name: str) -> Form:
    """The form of that name. Raises OncereadError."""
    if name not in FORMS:
        raise OncereadError(f"there are no {name!r} weights: choose {', '.join(FORMS)}")
    return name


def model_folder(name: str) -> Path:
    """The folder of a model given as `mini` or as a path."""
    return MINI if name == "mini" else Path(name).expanduser()
