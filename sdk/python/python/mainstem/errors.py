"""What can go wrong, by name."""

from typing import Optional

__all__ = ["ApiError", "MainstemError"]


class MainstemError(Exception):
    """What this package raises."""


class ApiError(MainstemError):
    """The control plane refused, or could not be reached.

    ``code`` is its word for why, such as ``"NOT_FOUND"`` or ``"UNAUTHORIZED"``; ``"NETWORK"`` when there
    was no answer, ``"BAD_RESPONSE"`` when it made no sense. ``status`` is that of HTTP.
    """

    def __init__(
        self, code: str, message: str, status: Optional[int] = None, path: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.path = path
