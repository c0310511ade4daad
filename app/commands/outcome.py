"""What a command takes and gives back."""

import argparse
from collections.abc import Callable
from typing import Any, Protocol

from app.home import Home

Outcome = tuple[dict[str, Any], str, int]
"""The JSON object, the text for people, the exit code."""

Stop = Callable[[], bool]
"""Whether the person has asked to stop."""

Run = Callable[[Home, argparse.Namespace, Stop], Outcome]


class Command(Protocol):
    """Adds a command to the command line: its name, what runs it, one line of help."""

    def __call__(self, name: str, run: Run, help: str) -> argparse.ArgumentParser: ...
