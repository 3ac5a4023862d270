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
    """A URL that plays one live input until ``expires_at``. Whoever has it can watch; its ``repr`` does not show it."""

    url: str = dataclasses.field(repr=False)
    """``moqt://<relay>/playback/<external_input_id>?tok=<token>``"""
    kid: str
    """The id of the signing key."""
    alg: str
    """How the token is signed: ``Ed25519`` or ``RS256``."""
    expires_at: int
    """When it ends, in seconds since 1970."""
    token: str = dataclasses.field(repr=False, default="")
    """The token alone, a JWT."""


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A playback signing key of the organisation: its public half."""

    id: str
    """Also the ``kid`` in the header of each token that it signed."""
    alg: str
    """``Ed25519`` or ``RS256``."""
    public_key_pem: str
    """The public key: PEM, SubjectPublicKeyInfo."""
    status: str
    """``active`` or ``inactive``; tokens of an inactive key are refused."""
    use: str = "playback"
    """What its tokens permit: ``playback``."""
    created_at: str = ""
    """ISO 8601."""

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
    """A live input, as it was when it was asked for."""

    id: str
    """``li_..``: its row."""
    external_input_id: str
    """``lv_..``: its name in publishing and playback URLs."""
    name: str
    """What it was called when it was made."""
    status: str
    """``idle``, ``live`` or ``errored``."""
    ingest: str
    """The protocol that it takes: ``fmp4``, ``whip``, ``rtmp`` or ``srt``."""
    created_at: str
    """ISO 8601."""
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
        """Signs a playback URL. The server holds ``ttl_seconds`` to 30 seconds and up to 24 hours.

        Raises ``ApiError``.
        """
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
        """Makes a fresh stream key and returns it. It is shown this once; the old one is void.

        Raises ``ApiError``.
        """
        row = self._streams._mutate("streams.liveInputs.rotateStreamKey", {"id": self.id})
        return _text(row, "stream_key_cleartext")


@dataclasses.dataclass(frozen=True)
class LiveInputWithSecret:
    """A live input and its stream key: ``input, stream_key = streams.live_inputs.create(..)`` takes them apart."""

    input: LiveInput
    """The input."""
    stream_key: str = dataclasses.field(repr=False)
    """``sk_live_..``, shown this once; only its hash is stored."""

    def __iter__(self) -> Any:
        return iter((self.input, self.stream_key))


class LiveInputs:
    """``streams.live_inputs``: makes, finds and lists live inputs. Its calls raise ``ApiError``."""

    def __init__(self, streams: "Streams") -> None:
        self._streams = streams

    def create(self, name: str, ingest: str = "fmp4") -> LiveInputWithSecret:
        """Makes a live input. ``ingest`` is ``fmp4``, ``whip``, ``rtmp`` or ``srt``."""
        fields = {"name": name, "ingest": ingest}
        row = self._streams._mutate("streams.liveInputs.create", fields)
        made = LiveInput._of(self._streams, row)
        return LiveInputWithSecret(made, _text(row, "stream_key_cleartext"))

    def get(self, id: str) -> LiveInput:
        """The live input of this id, either of the two that it has: ``li_..`` or ``lv_..``."""
        row = self._streams._query("streams.liveInputs.get", {"id": id})
        return LiveInput._of(self._streams, row)

    def list(self, page: int = 1, per_page: int = 50) -> List[LiveInput]:
        """A page of the organisation's live inputs, the newest first. ``page`` counts from 1."""
        fields = {"page": page, "perPage": per_page}
        rows = self._streams._query("streams.liveInputs.list", fields)
        return [LiveInput._of(self._streams, row) for row in rows]


class SigningKeys:
    """``streams.signing_keys``: makes, lists and ends playback signing keys. Its calls raise ``ApiError``."""

    def __init__(self, streams: "Streams") -> None:
        self._streams = streams

    def create(self, alg: str = "Ed25519", use: str = "playback") -> SigningKey:
        """Makes a key; tokens are signed with it from now on. ``alg`` is ``Ed25519`` or ``RS256``."""
        fields = {"alg": alg, "use": use}
        return SigningKey._of(self._streams._mutate("streams.signingKeys.create", fields))

    def list(self) -> "List[SigningKey]":
        """The organisation's keys, the newest first."""
        rows = self._streams._query("streams.signingKeys.list", {})
        return [SigningKey._of(row) for row in rows]

    def deactivate(self, id: str) -> None:
        """Takes a key out of use: tokens that it has signed are refused from now on, and their viewers end."""
        self._streams._mutate("streams.signingKeys.deactivate", {"id": id})


class Streams:
    """The control plane. Each call is one HTTPS request; the object may be shared between threads.

    ``base_url`` is its origin, ``api_key`` a key with ``streams:*`` scopes, ``org_id`` the organisation of every
    call. ``relay_host`` (``host:port``) is where playback URLs point to: by default what ``MAINSTEM_RELAY`` says, else
    where the control plane says, else port 4443 of its host. A call may take ``timeout`` seconds. Raises
    ``ValueError`` for a ``base_url`` that is none.
    """

    relay_host: str
    """Where playback URLs point to when the control plane does not say: ``host:port``."""
    live_inputs: LiveInputs
    """Live inputs."""
    signing_keys: SigningKeys
    """Playback signing keys."""

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
        """Calls any procedure of the API, such as ``streams.liveInputs.get``, for those that have no method here yet.

        ``mutation`` is whether it changes something; ``orgId`` is filled in. Gives the data of the answer, as JSON
        reads in Python. Raises ``ApiError``.
        """
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
