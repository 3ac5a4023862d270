"""Where the relay is."""

import os
import urllib.parse
from typing import Optional

#: Where ``mainstem up`` serves when nobody says otherwise.
DEFAULT_RELAY = "127.0.0.1:4443"


def relay_or_default(relay_host: Optional[str]) -> str:
    return relay_host or os.environ.get("MAINSTEM_RELAY") or DEFAULT_RELAY


def playback_url(relay_host: str, input_id: str, token: str) -> str:
    relay = relay_host.rstrip("/")
    scheme = "" if "://" in relay else "moqt://"
    quoted = urllib.parse.quote(input_id, safe="")
    return f"{scheme}{relay}/playback/{quoted}?tok={urllib.parse.quote(token, safe='')}"
