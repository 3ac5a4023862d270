"""What can go wrong, by name."""

from typing import Optional

__all__ = ["ApiError", "MainstemError"]


class MainstemError(Exception):
    """What this package raises, beside ``ValueError`` and ``RuntimeError`` for what a caller could know before."""


class ApiError(MainstemError):
    """The control plane refused, or could not be reached."""

    code: str
    """Its word for why, such as ``NOT_FOUND`` or ``UNAUTHORIZED``; ``NETWORK`` when there was no answer,
    ``BAD_RESPONSE`` when it made no sense."""
    message: str
    """The same for people. It holds no credential."""
    status: Optional[int]
    """The status of HTTP; ``None`` when there was no answer."""
    path: str
    """The procedure that was called, such as ``streams.liveInputs.get``."""

    def __init__(
        self, code: str, message: str, status: Optional[int] = None, path: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.path = path
