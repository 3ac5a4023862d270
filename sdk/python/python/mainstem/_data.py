"""The data plane: chunks of CMAF to and from a relay.

Callbacks come from a thread of the object's own, one after the other; none runs any more once ``close`` has
returned, unless ``close`` was called by a callback: then ``on_close`` follows. Whatever waits lets other
threads of Python run.
"""

import atexit
import dataclasses
import threading
import weakref
from types import TracebackType
from typing import Callable, Optional, Type, Union

from . import _native
from ._relay import relay_or_default

__all__ = ["BroadcastChunk", "BroadcastPublisher", "BroadcastViewer", "PublisherCodecs"]

BytesLike = Union[bytes, bytearray, memoryview]
OnChunk = Callable[[bool, "BroadcastChunk"], object]
OnClose = Callable[[str, Optional[str]], object]


@dataclasses.dataclass(frozen=True)
class BroadcastChunk:
    """A piece of a broadcast: the init segment, or a fragment."""

    data: bytes = dataclasses.field(repr=False)
    """CMAF: ``ftyp`` and ``moov`` of all tracks, or a whole ``moof`` with its ``mdat``."""
    timestamp_us: int
    """The publisher's, in microseconds; where it gave none, the wall clock's or the decode time."""
    priority: int
    """0 for the init segment, 1 for a fragment."""
    is_init: bool
    """Whether it is the init segment."""


@dataclasses.dataclass(frozen=True)
class PublisherCodecs:
    """The codecs of a broadcast, as RFC 6381 writes them."""

    video: Optional[str] = "avc1.42E01F"
    """Of the picture; ``None`` when there is none."""
    audio: Optional[str] = "opus"
    """Of the sound; ``None`` when there is none."""

    def __str__(self) -> str:
        return ",".join(codec for codec in (self.video, self.audio) if codec)


class _Closed:
    """What became of an object, and the wait for it."""

    def __init__(self, on_close: Optional[OnClose]) -> None:
        self._on_close = on_close
        self._done = threading.Event()
        self.reason: Optional[str] = None
        self.detail: Optional[str] = None

    def tell(self, reason: str, detail: Optional[str]) -> None:
        if self._done.is_set():
            return
        self.reason, self.detail = reason, detail
        try:
            if self._on_close is not None:
                self._on_close(reason, detail)
        finally:
            self._done.set()

    def wait(self, timeout: Optional[float]) -> bool:
        return self._done.wait(timeout)


class _Endpoint:
    """What a viewer and a publisher have in common."""

    _closed: _Closed
    _inner: Union[_native.Viewer, _native.Publisher]

    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``reconnecting``, ``closed`` or ``failed``."""
        return self._inner.state

    @property
    def close_reason(self) -> Optional[str]:
        """Why it is over: ``complete``, ``finished``, ``auth_failed``, ``network`` or ``closed_by_caller``; ``None`` while
        it is not."""
        return self._closed.reason

    @property
    def close_detail(self) -> Optional[str]:
        """The same for people, where there is more to say."""
        return self._closed.detail

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until it is over; returns whether it is. Not for callbacks."""
        return self._closed.wait(timeout)

    def _finish(self) -> None:
        raise NotImplementedError


class BroadcastViewer(_Endpoint):
    """A live stream that is being watched, made by ``open``. It may be closed from any thread."""

    _inner: _native.Viewer

    def __init__(self, inner: _native.Viewer, closed: _Closed) -> None:
        self._inner = inner
        self._closed = closed
        _open.add(self)

    @classmethod
    def open(
        cls,
        url: str,
        on_chunk: OnChunk,
        on_close: Optional[OnClose] = None,
        *,
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 30.0,
        from_start: bool = False,
    ) -> "BroadcastViewer":
        """Begins to watch ``moqt://host/playback/<input>?tok=<jwt>`` (``https://`` for WebTransport).

        ``on_chunk(is_init, chunk)`` gets the init segment first, then fragments; another init segment
        follows when the stream changes. ``on_close(reason, detail)`` is called once, with ``complete``,
        ``auth_failed``, ``network`` or ``closed_by_caller``. A lost connection is begun anew.

        ``cert_sha256`` trusts the relay with that certificate (SHA-256 in hex) instead of the system's roots,
        ``insecure`` any. ``patience`` is for how many seconds there may be no relay or no stream, ``None`` for
        ever. ``from_start`` begins with the oldest that the relay retains, not with the newest group.

        Raises ``ValueError`` for a URL, a certificate hash or a ``patience`` that is none, ``OSError`` for what this
        machine cannot do, such as open a socket. What the relay says later comes as the close reason.
        """
        closed = _Closed(on_close)

        def chunk(is_init: bool, data: bytes, timestamp_us: int, priority: int) -> None:
            on_chunk(is_init, BroadcastChunk(data, timestamp_us, priority, is_init))

        inner = _native.Viewer(
            url,
            chunk,
            closed.tell,
            cert_sha256=cert_sha256,
            insecure=insecure,
            patience=patience,
            retained=from_start,
        )
        return cls(inner, closed)

    @property
    def dropped(self) -> int:
        """Chunks that were dropped because ``on_chunk`` took too long."""
        return self._inner.dropped

    def close(self) -> None:
        """Ends it; ``on_close("closed_by_caller", None)`` has returned by then. Again is allowed."""
        self._inner.close()

    _finish = close

    def __enter__(self) -> "BroadcastViewer":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class BroadcastPublisher(_Endpoint):
    """A live stream that is being published, made by ``open``. It may be written to and closed from any thread."""

    _inner: _native.Publisher

    def __init__(self, inner: _native.Publisher, closed: _Closed) -> None:
        self._inner = inner
        self._closed = closed
        _open.add(self)

    @classmethod
    def open(
        cls,
        input_id: str,
        stream_key: str,
        relay_host: Optional[str] = None,
        codecs: Optional[PublisherCodecs] = None,
        on_close: Optional[OnClose] = None,
        *,
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 60.0,
    ) -> "BroadcastPublisher":
        """Begins to publish to a live input.

        ``relay_host`` is ``host:port``, or ``https://host:port`` for WebTransport; by default what
        ``MAINSTEM_RELAY`` says, or port 4443 of this machine. ``on_close(reason, detail)`` is called once, with
        ``closed_by_caller``, ``auth_failed``, ``network`` or ``finished``. ``patience`` is for how many seconds there
        may be no relay, ``None`` for ever. The rest is as for a viewer.

        Raises ``ValueError`` for a relay, a certificate hash or a ``patience`` that is none, ``OSError`` for what this
        machine cannot do, such as open a socket. What the relay says later comes as the close reason.
        """
        closed = _Closed(on_close)
        inner = _native.Publisher(
            input_id,
            stream_key,
            relay_or_default(relay_host),
            closed.tell,
            codecs=str(codecs or PublisherCodecs()),
            cert_sha256=cert_sha256,
            insecure=insecure,
            patience=patience,
        )
        return cls(inner, closed)

    def write(self, chunk: BytesLike, timestamp_us: Optional[int] = None) -> None:
        """Pushes fragmented MP4: the init segment first, then fragments; pieces may be cut anywhere.

        ``timestamp_us`` (microseconds) is for viewers; without it, it is the time since the publisher was opened.
        Raises ``ValueError`` for what is no fragmented MP4, ``RuntimeError`` when it is over.
        """
        self._inner.write(bytes(chunk), timestamp_us)

    def subscribers(self) -> int:
        """How many relays want it: one however many viewers watch there, none when nobody does."""
        return self._inner.subscribers()

    def close(self, reason: str = "closed_by_caller") -> None:
        """Ends the stream, once what was written is with the relay; viewers close as ``complete``.

        ``reason`` is what ``on_close`` gets: ``closed_by_caller`` or ``finished``. Again is allowed. Raises
        ``ValueError`` for a reason that is none.
        """
        self._inner.close(reason)

    def _finish(self) -> None:
        self.close()

    def __enter__(self) -> "BroadcastPublisher":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close("finished" if kind is None else "closed_by_caller")


_open: "weakref.WeakSet[_Endpoint]" = weakref.WeakSet()


def _close_all() -> None:
    """Their threads must not call into an interpreter that is gone."""
    for endpoint in list(_open):
        endpoint._finish()
    _native.join_dropped()


atexit.register(_close_all)
