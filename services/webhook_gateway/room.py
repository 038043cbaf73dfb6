"""How many bytes of bodies may be under way at a time: beyond that, memory would grow with whoever connects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import TransientError


class CrowdedError(TransientError):
    """Too many webhooks are on their way in; send this one again."""

    code = "crowded"


class Room:
    """So many bytes that bodies may take."""

    def __init__(self, size: int) -> None:
        """`size` is in bytes."""
        self._size = size
        self._taken = 0

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold `size` bytes for the block; raise `CrowdedError` where there is no room for them."""
        self.require(size)
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size

    def require(self, size: int) -> None:
        """Raise `CrowdedError` where there is no room for `size` bytes."""
        if not self.has(size):
            raise CrowdedError

    def has(self, size: int) -> bool:
        """Tell whether there is room for `size` bytes."""
        return self._taken + size <= self._size
