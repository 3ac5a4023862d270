"""The control plane over HTTPS: one call is one request. No dependencies, no state."""

import dataclasses
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, List, Mapping, Optional

from ._relay import playback_url
from .errors import ApiError

__all__ = [
    "LiveInput",
    "LiveInputs",
    "LiveInputWithSecret",
    "SignedPlaybackUrl",
    "SigningKey",
    "SigningKeys",
    "Streams",
]

#: Longest answer that is read, in bytes.
_BODY_MAX = 16 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class SignedPlaybackUrl:
    """A URL that plays one live input until ``expires_at`` (seconds since 1970)."""

    url: str = dataclasses.field(repr=False)
    kid: str
    alg: str
    expires_at: int
    token: str = dataclasses.field(repr=False, default="")


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A playback signing key of the organisation; ``id`` is the ``kid`` of its tokens."""

    id: str
    alg: str
    public_key_pem: str
    status: str
    use: str = "playback"
    created_at: str = ""

    @classmethod
    def _of(cls, row: Mapping[str, Any]) -> "SigningKey":
        return cls(
            id=_text(row, "id"),
            alg=_text(row, "alg"),
            public_key_pem=_text(row, "publicKeyPem"),
            status=_text(row, "status"),
            use=str(row.get("use", "playback")),
            created_at=str(row.get("createdAt", "")),
        )


@dataclasses.dataclass(frozen=True)
class LiveInput:
    """A live input, as it was when it was asked for.

    ``external_input_id`` (``lv_..``) stands in publishing and playback URLs; ``status`` is ``idle``, ``live``
    or ``errored``.
    """

    id: str
    external_input_id: str
    name: str
    status: str
    ingest: str
    created_at: str
    _streams: "Streams" = dataclasses.field(repr=False, compare=False)

    @classmethod
    def _of(cls, streams: "Streams", row: Mapping[str, Any]) -> "LiveInput":
        return cls(
            id=_text(row, "id"),
            external_input_id=_text(row, "external_input_id"),
            name=_text(row, "name"),
            status=_text(row, "status"),
            ingest=str(row.get("ingest", "")),
            created_at=str(row.get("createdAt", "")),
            _streams=streams,
        )

    def signed_playback_url(self, ttl_seconds: int = 3600) -> SignedPlaybackUrl:
        """Signs a playback URL. The server holds ``ttl_seconds`` to 30 seconds and up to 24 hours."""
        fields = {"id": self.id, "ttlSeconds": ttl_seconds}
        row = self._streams._mutate("streams.liveInputs.mintPlaybackToken", fields)
        token = _text(row, "token")
        told = row.get("url")
        if self._streams._is_relay_named or not isinstance(told, str):
            told = playback_url(self._streams.relay_host, _text(row, "input"), token)
        return SignedPlaybackUrl(
            url=told,
            kid=_text(row, "kid"),
            alg=_text(row, "alg"),
            expires_at=int(row.get("expires_at", 0)),
            token=token,
        )

    def rotate_stream_key(self) -> str:
        """Makes a fresh stream key and returns it. It is shown this once; the old one is void."""
        row = self._streams._mutate("streams.liveInputs.rotateStreamKey", {"id": self.id})
        return _text(row, "stream_key_cleartext")


@dataclasses.dataclass(frozen=True)
class LiveInputWithSecret:
    """A live input and its stream key, which is shown this once."""

    input: LiveInput
    stream_key: str = dataclasses.field(repr=False)

    def __iter__(self) -> Any:
        """So that ``input, stream_key = streams.live_inputs.create(..)`` works."""
        return iter((self.input, self.stream_key))


class LiveInputs:
    """``streams.live_inputs``"""

    def __init__(self, streams: "Streams") -> None:
        self._streams = streams

    def create(self, name: str, ingest: str = "fmp4") -> LiveInputWithSecret:
        """Makes a live input. ``ingest`` is ``fmp4``, ``whip``, ``rtmp`` or ``srt``."""
        fields = {"name": name, "ingest": ingest}
        row = self._streams._mutate("streams.liveInputs.create", fields)
        made = LiveInput._of(self._streams, row)
        return LiveInputWithSecret(made, _text(row, "stream_key_cleartext"))

    def get(self, id: str) -> LiveInput:
        """The live input of this id, either of the two that it has."""
        row = self._streams._query("streams.liveInputs.get", {"id": id})
        return LiveInput._of(self._streams, row)

    def list(self, page: int = 1, per_page: int = 50) -> List[LiveInput]:
        """A page of the organisation's live inputs, the newest first."""
        fields = {"page": page, "perPage": per_page}
        rows = self._streams._query("streams.liveInputs.list", fields)
        return [LiveInput._of(self._streams, row) for row in rows]


class SigningKeys:
    """``streams.signing_keys``"""

    def __init__(self, streams: "Streams") -> None:
        self._streams = streams

    def create(self, alg: str = "Ed25519", use: str = "playback") -> SigningKey:
        """Makes a key. ``alg`` is ``Ed25519`` or ``RS256``."""
        fields = {"alg": alg, "use": use}
        return SigningKey._of(self._streams._mutate("streams.signingKeys.create", fields))

    def list(self) -> "List[SigningKey]":
        """The organisation's keys."""
        rows = self._streams._query("streams.signingKeys.list", {})
        return [SigningKey._of(row) for row in rows]

    def deactivate(self, id: str) -> None:
        """Tokens that this key has signed stop to verify."""
        self._streams._mutate("streams.signingKeys.deactivate", {"id": id})


class Streams:
    """The control plane.

    ``base_url`` is its origin, ``api_key`` a key with ``streams:*`` scopes, ``org_id`` the organisation of every
    call. ``relay_host`` (``host:port``) is where playback URLs point to: by default what ``MAINSTEM_RELAY`` says, else
    where the control plane says, else port 4443 of its host.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        org_id: Optional[str] = None,
        *,
        relay_host: Optional[str] = None,
        timeout: float = 10.0,
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url: expected http:// or https://, got {base_url!r}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._base = base_url.rstrip("/")
        self._api_key = api_key
        self._org_id = org_id
        self._timeout = timeout
        named = relay_host or os.environ.get("MAINSTEM_RELAY")
        self._is_relay_named = bool(named)
        self.relay_host = named or f"{host}:4443"
        self.live_inputs = LiveInputs(self)
        self.signing_keys = SigningKeys(self)

    def __repr__(self) -> str:
        return f"Streams(base_url={self._base!r}, org_id={self._org_id!r})"

    def call(self, path: str, input: Mapping[str, Any], *, mutation: bool) -> Any:
        """Calls any procedure of the API, for those that have no method here yet."""
        if self._org_id is not None:
            input = {"orgId": self._org_id, **input}
        body = json.dumps(input, separators=(",", ":"))
        url = f"{self._base}/api/trpc/{path}"
        headers = {
            "authorization": f"Bearer {self._api_key}",
            "accept": "application/json",
        }
        data: Optional[bytes] = None
        if mutation:
            headers["content-type"] = "application/json"
            data = body.encode()
        else:
            url = f"{url}?{urllib.parse.urlencode({'input': body})}"
        request = urllib.request.Request(url, data=data, headers=headers)
        return _answer(request, path, self._timeout)

    def _query(self, path: str, input: Dict[str, Any]) -> Any:
        return self.call(path, input, mutation=False)

    def _mutate(self, path: str, input: Dict[str, Any]) -> Any:
        return self.call(path, input, mutation=True)


def _answer(request: urllib.request.Request, path: str, timeout: float) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            status, body = response.status, response.read(_BODY_MAX)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, error.read(_BODY_MAX), path) from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ApiError("NETWORK", f"the control plane did not answer: {reason}", path=path) from error
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "error" in answer:
        raise _refusal(status, body, path)
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
        raise ApiError("BAD_RESPONSE", "expected {\"result\": ..}", status, path)
    return answer["result"].get("data")


def _refusal(status: int, body: bytes, path: str) -> ApiError:
    try:
        error = json.loads(body)["error"]
        code = error.get("data", {}).get("code", "UNKNOWN")
        return ApiError(str(code), str(error["message"]), status, path)
    except (ValueError, KeyError, TypeError, AttributeError):
        shown = body[:200].decode("utf-8", "replace")
        return ApiError("BAD_RESPONSE", f"HTTP status {status}: {shown}", status, path)


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise ApiError("BAD_RESPONSE", f"expected a text {name!r} in the answer")
    return value
