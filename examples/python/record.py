"""Records a live stream to an MP4 file until Ctrl-C, or until it ends.

    python record.py <input id> <file>

MAINSTEM_URL, MAINSTEM_API_KEY and MAINSTEM_ORG say where the control plane is and who asks.
"""

import os
import sys
import time

from mainstem.streams import BroadcastChunk, BroadcastViewer, Streams

streams = Streams(
    base_url=os.environ["MAINSTEM_URL"],
    api_key=os.environ["MAINSTEM_API_KEY"],
    org_id=os.environ["MAINSTEM_ORG"],
)

inp = streams.live_inputs.get(id=sys.argv[1])
ticket = inp.signed_playback_url(ttl_seconds=3600)

out = open(sys.argv[2], "wb")
is_over = False


def on_chunk(is_init: bool, chunk: BroadcastChunk) -> None:
    # The first chunk is the init segment; the rest are fragments.
    out.write(chunk.data)


def on_close(reason: str, detail: object) -> None:
    global is_over
    out.close()
    is_over = True
    print("capture closed:", reason, detail, flush=True)


viewer = BroadcastViewer.open(ticket.url, on_chunk=on_chunk, on_close=on_close)

try:
    while not is_over:
        time.sleep(0.2)
except KeyboardInterrupt:
    viewer.close()
