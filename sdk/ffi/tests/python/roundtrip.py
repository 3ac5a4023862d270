"""The C interface by ctypes: publishes a broadcast and watches it.

    python roundtrip.py <library> <publish url> <playback url> <id> <file>
"""

import ctypes
import struct
import sys
import threading
import time

STATE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)
BYTES = ctypes.POINTER(ctypes.c_uint8)
OBJECT = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint8, BYTES, ctypes.c_size_t
)

path, publish_url, playback_url, input_id, media = sys.argv[1:]
lib = ctypes.CDLL(path)
handle, text = ctypes.c_void_p, ctypes.c_char_p
for name, result, arguments in [
    ("connect", handle, [text, text, STATE, handle]),
    ("client_close", None, [handle]),
    ("publish_frame", handle, [handle, text, text, text, text, ctypes.c_uint8]),
    ("frame_write", None, [handle, ctypes.c_uint64, BYTES, ctypes.c_size_t, ctypes.c_uint8]),
    ("frame_pub_subscriber_count", ctypes.c_size_t, [handle]),
    ("frame_pub_close", None, [handle]),
    ("subscribe_frame", handle, [handle, text, text, OBJECT, handle]),
    ("frame_sub_close", None, [handle]),
]:
    function = getattr(lib, f"clutch_moqt_{name}")
    function.restype, function.argtypes = result, arguments

changed = threading.Condition()
states = {"up": [], "down": []}
objects = []


def await_(what, condition):
    with changed:
        assert changed.wait_for(condition, 15), f"waited in vain for {what}"


def state_of(side):
    def on_state(user, state):
        with changed:
            states[side].append(state)
            changed.notify_all()

    return STATE(on_state)


def on_object(user, timestamp_us, priority, data, length):
    with changed:
        objects.append((timestamp_us, priority, ctypes.string_at(data, length)))
        changed.notify_all()


callbacks = state_of("up"), state_of("down"), OBJECT(on_object)
publisher = lib.clutch_moqt_connect(publish_url.encode(), b"", callbacks[0], None)
viewer = lib.clutch_moqt_connect(playback_url.encode(), b"", callbacks[1], None)
assert publisher and viewer
pub = lib.clutch_moqt_publish_frame(
    publisher, f"publish/{input_id}".encode(), b"broadcast", b"media.broadcast", b"avc1.42E01F", 128
)
sub = lib.clutch_moqt_subscribe_frame(
    viewer, f"playback/{input_id}".encode(), b"broadcast", callbacks[2], None
)
assert pub and sub
await_("both sessions", lambda: states["up"][-1:] == [1] and states["down"][-1:] == [1])
until = time.monotonic() + 15
while lib.clutch_moqt_frame_pub_subscriber_count(pub) == 0:
    assert time.monotonic() < until, "waited in vain for a subscriber"
    time.sleep(0.01)

# As SDKs do: the init segment with priority 0, what follows with priority 1.
with open(media, "rb") as file:
    data = file.read()
at, writes, fragments = 0, [b""], 0
while at + 8 <= len(data):
    size, kind = struct.unpack(">I4s", data[at : at + 8])
    writes[-1] += data[at : at + size]
    if kind in (b"moov", b"mdat"):
        fragments += kind == b"mdat"
        writes.append(b"")
    at += size
for number, write in enumerate(write for write in writes if write):
    buffer = (ctypes.c_uint8 * len(write)).from_buffer_copy(write)
    lib.clutch_moqt_frame_write(pub, 1000 * number, buffer, len(write), int(number > 0))
await_("the fragments", lambda: len(objects) == 1 + fragments)
assert [priority for _, priority, _ in objects] == [0] + [1] * fragments, objects
assert objects[0][2][4:8] == b"ftyp"

lib.clutch_moqt_frame_pub_close(pub)
lib.clutch_moqt_client_close(publisher)
await_("the end", lambda: states["down"][-1:] == [3])
lib.clutch_moqt_frame_sub_close(sub)
lib.clutch_moqt_client_close(viewer)
print(f"{fragments} fragments by ctypes; states {states['up']} and {states['down']}")
