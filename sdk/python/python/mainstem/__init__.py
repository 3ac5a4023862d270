"""Live streaming over Media over QUIC.

``mainstem.streams`` has the control plane (``Streams``) and the data plane (``BroadcastViewer``,
``BroadcastPublisher``); ``mainstem.aio`` has the same for asyncio.

Clients have threads of their own, which do not survive ``fork``: open them in the process that uses them
(with ``multiprocessing``, after the child has started).
"""

from ._native import __version__
from .errors import ApiError, MainstemError

__all__ = ["ApiError", "MainstemError", "__version__"]
