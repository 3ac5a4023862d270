"""Watches a live stream with asyncio and counts what arrives, until it ends.

    python watch_aio.py <input id>

MAINSTEM_URL, MAINSTEM_API_KEY and MAINSTEM_ORG say where the control plane is and who asks.
"""

import asyncio
import os
import sys

from mainstem.aio import BroadcastViewer, Streams


async def main() -> None:
    streams = Streams(
        base_url=os.environ["MAINSTEM_URL"],
        api_key=os.environ["MAINSTEM_API_KEY"],
        org_id=os.environ["MAINSTEM_ORG"],
    )
    inp = await streams.live_input(sys.argv[1])
    ticket = await streams.signed_playback_url(inp, ttl_seconds=3600)
    inits = fragments = size = 0
    async with await BroadcastViewer.open(ticket.url) as viewer:
        async for chunk in viewer:
            inits += chunk.is_init
            fragments += not chunk.is_init
            size += len(chunk.data)
        print(f"{inits} init, {fragments} fragments, {size} bytes: {viewer.close_reason}", flush=True)


asyncio.run(main())
