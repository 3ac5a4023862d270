"""Makes a live input and publishes a file to it, over and over, until Ctrl-C.

    python publish.py <file>

ffmpeg fragments the file; any source of fragmented MP4 would do, cut anywhere. MAINSTEM_URL,
MAINSTEM_API_KEY and MAINSTEM_ORG say where the control plane is and who asks.
"""

import os
import subprocess
import sys

from mainstem.streams import BroadcastPublisher, PublisherCodecs, Streams

streams = Streams(
    base_url=os.environ["MAINSTEM_URL"],
    api_key=os.environ["MAINSTEM_API_KEY"],
    org_id=os.environ["MAINSTEM_ORG"],
)
created = streams.live_inputs.create(name="From Python", ingest="fmp4")
print("input:", created.input.id, created.input.external_input_id, flush=True)

command = [os.environ.get("MAINSTEM_FFMPEG", "ffmpeg"), "-v", "error"]
command += ["-re", "-stream_loop", "-1", "-i", sys.argv[1], "-c", "copy", "-f", "mp4"]
command += ["-movflags", "+frag_every_frame+empty_moov+default_base_moof", "-"]
ffmpeg = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
assert ffmpeg.stdout is not None

publisher = BroadcastPublisher.open(
    created.input.external_input_id,
    created.stream_key,
    relay_host=streams.relay_host,
    codecs=PublisherCodecs(video="avc1.640028", audio="mp4a.40.2"),
    on_close=lambda reason, detail: print("publisher closed:", reason, detail, flush=True),
)
try:
    while publisher.close_reason is None:
        piece = os.read(ffmpeg.stdout.fileno(), 64 * 1024)
        if not piece:
            break
        publisher.write(piece)
except KeyboardInterrupt:
    pass
finally:
    ffmpeg.kill()
    publisher.close("finished")
