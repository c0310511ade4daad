"""A value that is made when it is first asked for: once, for all threads."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What `make` gives. Where that fails it is asked again the next time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._making = threading.Lock()

    @property
    def value(self) -> T:
        """The value. Raises what `make` raises."""
        with self._making:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
