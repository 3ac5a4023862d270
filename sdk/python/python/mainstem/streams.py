"""Live inputs, signing keys and playback URLs (``Streams``); watching and publishing them.

``from mainstem.streams import BroadcastViewer, Streams``
"""

from ._control import (
    LiveInput,
    LiveInputs,
    LiveInputWithSecret,
    SignedPlaybackUrl,
    SigningKey,
    SigningKeys,
    Streams,
)
from ._data import BroadcastChunk, BroadcastPublisher, BroadcastViewer, PublisherCodecs
from .errors import ApiError, MainstemError

__all__ = [
    "ApiError",
    "BroadcastChunk",
    "BroadcastPublisher",
    "BroadcastViewer",
    "LiveInput",
    "LiveInputWithSecret",
    "LiveInputs",
    "MainstemError",
    "PublisherCodecs",
    "SignedPlaybackUrl",
    "SigningKey",
    "SigningKeys",
    "Streams",
]
