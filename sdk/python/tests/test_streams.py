"""The package against a running ``mainstem up``; what of it needs no media.

The environment says where: MAINSTEM_URL, MAINSTEM_API_KEY, MAINSTEM_ORG, MAINSTEM_RELAY,
MAINSTEM_CERT_SHA256; MEDIA is a fragmented MP4 file.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
import unittest
import warnings
from typing import Any, List, Optional, Tuple

from mainstem import ApiError, aio
from mainstem.streams import (
    BroadcastChunk,
    BroadcastPublisher,
    BroadcastViewer,
    LiveInput,
    Streams,
)

with open(os.environ["MEDIA"], "rb") as media:
    MEDIA = media.read()


def control(**other: Any) -> Streams:
    fields = {
        "base_url": os.environ["MAINSTEM_URL"] + "/",
        "api_key": os.environ["MAINSTEM_API_KEY"],
        "org_id": os.environ["MAINSTEM_ORG"],
    }
    return Streams(**{**fields, **other})


class Seen:
    """What a viewer's callbacks were told."""

    def __init__(self) -> None:
        self.chunks: List[BroadcastChunk] = []
        self.closes: List[Tuple[str, Optional[str]]] = []
        self.threads = set()

    def on_chunk(self, is_init: bool, chunk: BroadcastChunk) -> None:
        assert is_init == chunk.is_init
        self.threads.add(threading.get_ident())
        self.chunks.append(chunk)

    def on_close(self, reason: str, detail: Optional[str]) -> None:
        self.threads.add(threading.get_ident())
        self.closes.append((reason, detail))


def wait_for(what: str, condition: Any, limit: float = 15.0) -> None:
    until = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.01)


def forged(token: str, **claims: Any) -> str:
    """The token with other claims under its old signature."""
    header, body, signature = token.split(".")
    read = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    text = json.dumps({**read, **claims}).encode()
    return ".".join([header, base64.urlsafe_b64encode(text).decode().rstrip("="), signature])


class ControlPlane(unittest.TestCase):
    def test_inputs_are_made_found_and_listed(self) -> None:
        streams = control()
        made, key = streams.live_inputs.create(name="one", ingest="fmp4")
        self.assertTrue(made.id.startswith("li_") and made.external_input_id.startswith("lv_"))
        self.assertEqual((made.name, made.status, made.ingest), ("one", "idle", "fmp4"))
        self.assertEqual(streams.live_inputs.get(id=made.id), made)
        self.assertIn(made, streams.live_inputs.list(page=1, per_page=50))
        self.assertNotEqual(made.rotate_stream_key(), key)
        for secret in (key, os.environ["MAINSTEM_API_KEY"]):
            self.assertNotIn(secret, f"{streams!r} {made!r}")

    def test_a_playback_url_names_relay_input_and_key(self) -> None:
        streams = control()
        made = streams.live_inputs.create(name="two").input
        ticket = made.signed_playback_url(ttl_seconds=60)
        relay = os.environ["MAINSTEM_RELAY"]
        start = f"moqt://{relay}/playback/{made.external_input_id}?tok="
        self.assertTrue(ticket.url.startswith(start), ticket)
        self.assertAlmostEqual(ticket.expires_at, time.time() + 60, delta=10)
        self.assertNotIn(ticket.token, repr(ticket))
        keys = {key.id: key for key in streams.signing_keys.list()}
        self.assertEqual(keys[ticket.kid].alg, "Ed25519")

    def test_signing_keys_are_made_and_withdrawn(self) -> None:
        streams = control()
        key = streams.signing_keys.create(alg="Ed25519", use="playback")
        self.assertIn("PUBLIC KEY", key.public_key_pem)
        self.assertIsNone(streams.signing_keys.deactivate(key.id))
        found = [each for each in streams.signing_keys.list() if each.id == key.id]
        self.assertEqual([each.status for each in found], ["inactive"])

    def test_errors_have_a_code_and_words(self) -> None:
        def code_of(call: Any) -> str:
            with self.assertRaises(ApiError) as caught:
                call()
            self.assertTrue(caught.exception.message)
            return caught.exception.code

        streams = control()
        self.assertEqual(code_of(lambda: streams.live_inputs.get(id="li_none")), "NOT_FOUND")
        wrong = control(api_key="tqs_live_wrong").live_inputs
        self.assertEqual(code_of(wrong.list), "UNAUTHORIZED")
        self.assertEqual(code_of(lambda: streams.live_inputs.create("x", "tape")), "BAD_REQUEST")
        nobody = Streams("http://127.0.0.1:9", "k", "o", timeout=2)
        self.assertEqual(code_of(nobody.live_inputs.list), "NETWORK")
        with self.assertRaises(ValueError):
            Streams("ftp://x", "k")


class DataPlane(unittest.TestCase):
    input: LiveInput
    key: str

    def setUp(self) -> None:
        self.input, self.key = control().live_inputs.create(name=self.id())

    def publish(self, **other: Any) -> BroadcastPublisher:
        opened = BroadcastPublisher.open(self.input.external_input_id, self.key, **other)
        self.addCleanup(opened.close)
        return opened

    def watch(self, seen: Seen, **other: Any) -> BroadcastViewer:
        url = self.input.signed_playback_url().url
        return BroadcastViewer.open(url, on_chunk=seen.on_chunk, on_close=seen.on_close, **other)

    def test_chunks_come_back_and_the_end_is_complete(self) -> None:
        seen, told = Seen(), []
        publisher = self.publish(on_close=lambda *close: told.append(close))
        with self.watch(seen) as viewer:
            wait_for("a subscriber", lambda: publisher.subscribers() > 0)
            for at in range(0, len(MEDIA), 1000):
                publisher.write(memoryview(MEDIA)[at : at + 1000], timestamp_us=at)
            wait_for("chunks", lambda: len(seen.chunks) >= 3)
            publisher.close("finished")
            # Sooner than a relay gives up a publisher that it has lost.
            self.assertTrue(viewer.wait(5))
            self.assertEqual(viewer.state, "closed")
        self.assertEqual(told, [("finished", None)])
        self.assertEqual([reason for reason, _ in seen.closes], ["complete"])
        self.assertEqual([chunk.is_init for chunk in seen.chunks], [True, False, False])
        self.assertEqual([chunk.priority for chunk in seen.chunks], [0, 1, 1])
        self.assertLessEqual(seen.chunks[1].timestamp_us, seen.chunks[2].timestamp_us)
        self.assertEqual(len(seen.threads), 1)
        with self.assertRaises(RuntimeError):
            publisher.write(MEDIA)

    def test_wrong_tokens_close_as_auth_failed(self) -> None:
        other = control().live_inputs.create(name="other").input
        good = self.input.signed_playback_url().token
        tokens = {
            "foreign": other.signed_playback_url().token,
            "expired, forged": forged(good, exp=1_700_000_000),
            "forged": forged(good, exp=4_000_000_000),
            "none": "",
            "no token at all": "abc",
        }
        for name, token in tokens.items():
            with self.subTest(name):
                seen = Seen()
                relay, id = os.environ["MAINSTEM_RELAY"], self.input.external_input_id
                url = f"moqt://{relay}/playback/{id}?tok={token}"
                viewer = BroadcastViewer.open(url, seen.on_chunk, seen.on_close)
                self.assertTrue(viewer.wait(15))
                ((reason, detail),) = seen.closes
                self.assertEqual(reason, "auth_failed")
                self.assertTrue(detail and detail.startswith("auth_failed"), detail)
                self.assertEqual((viewer.state, seen.chunks), ("failed", []))
                viewer.close()
                self.assertEqual(len(seen.closes), 1)

    def test_a_wrong_stream_key_closes_as_auth_failed(self) -> None:
        old = self.key
        self.key = self.input.rotate_stream_key()
        for key in (old, "sk_live_wrong"):
            told: List[Tuple[str, Optional[str]]] = []
            publisher = BroadcastPublisher.open(
                self.input.external_input_id, key, on_close=lambda *close: told.append(close)
            )
            self.assertTrue(publisher.wait(15))
            self.assertEqual(told[0][0], "auth_failed")
            publisher.close()
            self.assertEqual(len(told), 1)

    def test_without_a_stream_patience_ends(self) -> None:
        seen = Seen()
        viewer = self.watch(seen, patience=1.0)
        self.assertTrue(viewer.wait(15))
        self.assertEqual(seen.closes[0][0], "network")

    def test_close_waits_for_callbacks_and_none_follows(self) -> None:
        seen = Seen()
        viewer = self.watch(seen)
        viewer.close()
        self.assertEqual(seen.closes, [("closed_by_caller", None)])
        viewer.close()
        self.assertEqual(len(seen.closes), 1)

    def test_a_callback_may_close_and_may_raise(self) -> None:
        publisher, seen = self.publish(), Seen()
        url = self.input.signed_playback_url().url
        raised: List[Any] = []
        self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = raised.append

        def on_chunk(is_init: bool, chunk: BroadcastChunk) -> None:
            seen.on_chunk(is_init, chunk)
            if is_init:
                raise ZeroDivisionError
            viewer.close()

        viewer = BroadcastViewer.open(url, on_chunk, seen.on_close)
        wait_for("a subscriber", lambda: publisher.subscribers() > 0)
        publisher.write(MEDIA)
        self.assertTrue(viewer.wait(15))
        self.assertEqual(seen.closes, [("closed_by_caller", None)])
        self.assertEqual(len(seen.chunks), 2)
        self.assertEqual(len(raised), 1)

    def test_what_is_no_media_is_refused(self) -> None:
        with self.publish() as publisher:
            publisher.write(MEDIA)
            with self.assertRaises(ValueError):
                publisher.write(b"\0\0\0\2moof, that is too short")
            with self.assertRaises(TypeError):
                publisher.write("text")  # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            BroadcastViewer.open("http://x/playback/y", print)
        with self.assertRaises(ValueError):
            BroadcastViewer.open("moqt://x", print)
        with self.assertRaises(ValueError):
            self.publish().close("because")

    def test_objects_of_another_process_do_nothing(self) -> None:
        seen = Seen()
        viewer = self.watch(seen)
        with warnings.catch_warnings():
            # That it is not done is what the warning says, and what is shown here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                viewer.close()
                viewer.state
            except RuntimeError:
                os._exit(7)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 7)
        self.assertEqual(seen.closes, [])
        viewer.close()

    def test_the_interpreter_ends_with_open_objects(self) -> None:
        url = self.input.signed_playback_url().url
        code = (
            "import sys; from mainstem.streams import *\n"
            "v = BroadcastViewer.open(sys.argv[1], print, lambda *close: print(*close))\n"
            "w = BroadcastViewer.open(sys.argv[1], print); del w\n"
        )
        command = [sys.executable, "-c", code, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "closed_by_caller None\n")

    def test_the_same_by_asyncio(self) -> None:
        async def run() -> None:
            streams = aio.Streams(
                os.environ["MAINSTEM_URL"], os.environ["MAINSTEM_API_KEY"], os.environ["MAINSTEM_ORG"]
            )
            ticket = await streams.signed_playback_url(self.input)
            id = self.input.external_input_id
            async with await aio.BroadcastPublisher.open(id, self.key) as publisher:
                viewer = await aio.BroadcastViewer.open(ticket.url)

                async def feed() -> None:
                    while await publisher.subscribers() == 0:
                        await asyncio.sleep(0.01)
                    await publisher.write(MEDIA)
                    await asyncio.sleep(0.5)
                    await publisher.close("finished")

                feeding = asyncio.create_task(feed())
                chunks = [chunk async for chunk in viewer]
                await feeding
            self.assertEqual([chunk.is_init for chunk in chunks], [True, False, False])
            self.assertEqual(viewer.close_reason, "complete")
            self.assertEqual(publisher.close_reason, "finished")
            await viewer.close()

            # A viewer that nobody reads can be closed.
            async with await aio.BroadcastViewer.open(ticket.url) as idle:
                await asyncio.sleep(0.1)
            self.assertEqual(idle.close_reason, "closed_by_caller")

        asyncio.run(asyncio.wait_for(run(), 8))


if __name__ == "__main__":
    unittest.main()
