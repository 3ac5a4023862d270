from typing import Callable, Optional

__version__: str
"""The package's version: ``0.1.0``."""

def join_dropped() -> None: ...

class Viewer:
    def __init__(
        self,
        url: str,
        on_chunk: Callable[[bool, bytes, int, int], object],
        on_close: Callable[[str, Optional[str]], object],
        *,
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 30.0,
        retained: bool = False,
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def state(self) -> str: ...
    @property
    def dropped(self) -> int: ...

class Publisher:
    def __init__(
        self,
        input_id: str,
        stream_key: str,
        relay: str,
        on_close: Callable[[str, Optional[str]], object],
        *,
        codecs: str = "",
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 60.0,
    ) -> None: ...
    def write(self, data: bytes, timestamp_us: Optional[int] = None) -> None: ...
    def close(self, reason: str) -> None: ...
    @property
    def state(self) -> str: ...
    def subscribers(self) -> int: ...
