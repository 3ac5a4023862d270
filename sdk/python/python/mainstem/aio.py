"""The same for asyncio.

    async with await BroadcastViewer.open(url) as viewer:
        async for chunk in viewer:
            ...
    print(viewer.close_reason)

Calls that wait run in the loop's executor; the loop is never blocked. A viewer holds up to a few hundred
chunks for a task that is busy, then the ones below it up to their own bound, then groups are dropped.
"""

import asyncio
import collections
import functools
import threading
from types import TracebackType
from typing import Any, Callable, Deque, List, Mapping, Optional, Type, TypeVar

from . import _control, _data
from ._control import LiveInput, LiveInputWithSecret, SignedPlaybackUrl, SigningKey
from ._data import BroadcastChunk, BytesLike, PublisherCodecs
from .errors import ApiError, MainstemError

__all__ = [
    "ApiError",
    "BroadcastChunk",
    "BroadcastPublisher",
    "BroadcastViewer",
    "LiveInput",
    "LiveInputWithSecret",
    "MainstemError",
    "PublisherCodecs",
    "SignedPlaybackUrl",
    "SigningKey",
    "Streams",
]

#: Chunks that wait for a task that is busy.
_WAITING_MAX = 256

T = TypeVar("T")


async def _run(call: Callable[..., T], *args: Any, **named: Any) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, functools.partial(call, *args, **named))


class Streams:
    """The control plane; see :class:`mainstem.streams.Streams`. Its calls raise ``ApiError``."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        org_id: Optional[str] = None,
        *,
        relay_host: Optional[str] = None,
        timeout: float = 10.0,
    ) -> None:
        self._sync = _control.Streams(
            base_url, api_key, org_id, relay_host=relay_host, timeout=timeout
        )

    async def create_live_input(self, name: str, ingest: str = "fmp4") -> LiveInputWithSecret:
        """Makes a live input. ``ingest`` is ``fmp4``, ``whip``, ``rtmp`` or ``srt``."""
        return await _run(self._sync.live_inputs.create, name, ingest)

    async def live_input(self, id: str) -> LiveInput:
        """The live input of this id: ``li_..`` or ``lv_..``."""
        return await _run(self._sync.live_inputs.get, id)

    async def live_inputs(self, page: int = 1, per_page: int = 50) -> List[LiveInput]:
        """A page of the organisation's live inputs, the newest first. ``page`` counts from 1."""
        return await _run(self._sync.live_inputs.list, page, per_page)

    async def signed_playback_url(
        self, input: LiveInput, ttl_seconds: int = 3600
    ) -> SignedPlaybackUrl:
        """Signs a playback URL. The server holds ``ttl_seconds`` to 30 seconds and up to 24 hours."""
        return await _run(input.signed_playback_url, ttl_seconds)

    async def rotate_stream_key(self, input: LiveInput) -> str:
        """Makes a fresh stream key and returns it. It is shown this once; the old one is void."""
        return await _run(input.rotate_stream_key)

    async def create_signing_key(self, alg: str = "Ed25519", use: str = "playback") -> SigningKey:
        """Makes a key; tokens are signed with it from now on. ``alg`` is ``Ed25519`` or ``RS256``."""
        return await _run(self._sync.signing_keys.create, alg, use)

    async def signing_keys(self) -> List[SigningKey]:
        """The organisation's keys, the newest first."""
        return await _run(self._sync.signing_keys.list)

    async def deactivate_signing_key(self, id: str) -> None:
        """Takes a key out of use: tokens that it has signed are refused from now on, and their viewers end."""
        await _run(self._sync.signing_keys.deactivate, id)

    async def call(self, path: str, input: Mapping[str, Any], *, mutation: bool) -> Any:
        """Calls any procedure of the API; see :meth:`mainstem.streams.Streams.call`."""
        return await _run(self._sync.call, path, input, mutation=mutation)


class _Waiting:
    """Chunks between the viewer's thread and the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Event()
        self._room = threading.Condition()
        self._chunks: Deque[BroadcastChunk] = collections.deque()
        self.is_over = False

    def put(self, is_init: bool, chunk: BroadcastChunk) -> None:
        with self._room:
            self._room.wait_for(lambda: self.is_over or len(self._chunks) < _WAITING_MAX)
            if self.is_over:
                return
            self._chunks.append(chunk)
        self._tell()

    def end(self) -> None:
        with self._room:
            self.is_over = True
            self._room.notify_all()
        self._tell()

    async def take(self) -> Optional[BroadcastChunk]:
        while True:
            self._changed.clear()
            with self._room:
                if self._chunks:
                    self._room.notify_all()
                    return self._chunks.popleft()
                if self.is_over:
                    return None
            await self._changed.wait()

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            # The loop is closed: nobody waits.
            pass


class BroadcastViewer:
    """A live stream that is being watched: an asynchronous iterator over its chunks, once."""

    def __init__(self, sync: _data.BroadcastViewer, waiting: _Waiting) -> None:
        self._sync = sync
        self._waiting = waiting

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 30.0,
        from_start: bool = False,
    ) -> "BroadcastViewer":
        """Begins to watch; see :meth:`mainstem.streams.BroadcastViewer.open`."""
        waiting = _Waiting(asyncio.get_running_loop())
        sync = await _run(
            _data.BroadcastViewer.open,
            url,
            waiting.put,
            lambda reason, detail: waiting.end(),
            cert_sha256=cert_sha256,
            insecure=insecure,
            patience=patience,
            from_start=from_start,
        )
        return cls(sync, waiting)

    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``reconnecting``, ``closed`` or ``failed``."""
        return self._sync.state

    @property
    def close_reason(self) -> Optional[str]:
        """Why it is over: ``complete``, ``finished``, ``auth_failed``, ``network`` or ``closed_by_caller``; ``None`` while
        it is not."""
        return self._sync.close_reason

    @property
    def close_detail(self) -> Optional[str]:
        """The same for people, where there is more to say."""
        return self._sync.close_detail

    @property
    def dropped(self) -> int:
        """Chunks that were dropped because the task that iterates took too long."""
        return self._sync.dropped

    async def close(self) -> None:
        """Ends it; what waits is not told any more."""
        self._waiting.end()
        await _run(self._sync.close)

    def __aiter__(self) -> "BroadcastViewer":
        return self

    async def __anext__(self) -> BroadcastChunk:
        chunk = await self._waiting.take()
        if chunk is None:
            # The callback that ended it may still be on its way out.
            await _run(self._sync.wait, 5.0)
            raise StopAsyncIteration
        return chunk

    async def __aenter__(self) -> "BroadcastViewer":
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


class BroadcastPublisher:
    """A live stream that is being published."""

    def __init__(self, sync: _data.BroadcastPublisher) -> None:
        self._sync = sync

    @classmethod
    async def open(
        cls,
        input_id: str,
        stream_key: str,
        relay_host: Optional[str] = None,
        codecs: Optional[PublisherCodecs] = None,
        *,
        cert_sha256: Optional[str] = None,
        insecure: bool = False,
        patience: Optional[float] = 60.0,
    ) -> "BroadcastPublisher":
        """Begins to publish; see :meth:`mainstem.streams.BroadcastPublisher.open`."""
        sync = await _run(
            _data.BroadcastPublisher.open,
            input_id,
            stream_key,
            relay_host,
            codecs,
            cert_sha256=cert_sha256,
            insecure=insecure,
            patience=patience,
        )
        return cls(sync)

    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``reconnecting``, ``closed`` or ``failed``."""
        return self._sync.state

    @property
    def close_reason(self) -> Optional[str]:
        """Why it is over: ``complete``, ``finished``, ``auth_failed``, ``network`` or ``closed_by_caller``; ``None`` while
        it is not."""
        return self._sync.close_reason

    @property
    def close_detail(self) -> Optional[str]:
        """The same for people, where there is more to say."""
        return self._sync.close_detail

    async def write(self, chunk: BytesLike, timestamp_us: Optional[int] = None) -> None:
        """Pushes fragmented MP4, cut anywhere. It waits only when far too much is under way.

        ``timestamp_us`` (microseconds) is for viewers; without it, it is the time since the publisher was opened.
        Raises ``ValueError`` for what is no fragmented MP4, ``RuntimeError`` when it is over.
        """
        await _run(self._sync.write, bytes(chunk), timestamp_us)

    async def subscribers(self) -> int:
        """How many relays want it: one however many viewers watch there, none when nobody does."""
        return await _run(self._sync.subscribers)

    async def wait(self) -> None:
        """Waits until it is over."""
        while not await _run(self._sync.wait, 0.5):
            pass

    async def close(self, reason: str = "closed_by_caller") -> None:
        """Ends the stream, once what was written is with the relay."""
        await _run(self._sync.close, reason)

    async def __aenter__(self) -> "BroadcastPublisher":
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close("finished" if kind is None else "closed_by_caller")
