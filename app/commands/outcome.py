"""What a command takes and gives back."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from app.errors import OncereadError
from app.home import Home

Outcome = tuple[dict[str, Any], str, int]
"""The JSON object, the text for people, the exit code."""

Stop = Callable[[], bool]
"""Whether the person has asked to stop."""

Run = Callable[[Home, argparse.Namespace, Stop], Outcome]


class Command(Protocol):
    """Adds a command to the command line: its name, what runs it, one line of help."""

    def __call__(self, name: str, run: Run, help: str) -> argparse.ArgumentParser: ...


def write(path: Path, forms: Mapping[str, Callable[[Home, int], str]], home: Home, number: int) -> None:
    """Write what has this number to a file, in the form that the file's ending asks for. Raises OncereadError."""
    if path.suffix not in forms:
        raise OncereadError(f"{path} ends in neither {' nor '.join(forms)}: which form is wanted?")
    content = forms[path.suffix](home, number)
    try:
        path.write_text(content, "utf-8")
    except OSError as error:
        raise OncereadError(f"{path} cannot be written ({error.strerror})") from error
