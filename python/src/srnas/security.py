"""What is shown to a search, and which searches are trusted."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union
from urllib.parse import urlsplit

import grpc

PathLike = Union[str, "os.PathLike[str]"]
"""A file's name."""

_OPTIONS = [
    # A connection whose other end vanished without a word is noticed, and made anew soon.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # No proxy, as `srnas evaluator`: a search is on one's own network.
    ("grpc.enable_http_proxy", 0),
    # Two searches in a process do not share a connection and its back-off.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Security:
    """Files for a token and for TLS, all optional."""

    token_file: Optional[PathLike] = None
    tls_ca: Optional[PathLike] = None
    tls_cert: Optional[PathLike] = None
    tls_key: Optional[PathLike] = None

    def metadata(self) -> "list[tuple[str, str]]":
        """The header of every call: the token, if there is one."""
        name = self.token_file or os.environ.get("SRNAS_TOKEN_FILE")
        return [("authorization", f"Bearer {_token(Path(name))}")] if name else []

    def channel(self, learner: str) -> grpc.Channel:
        """A connection to an address such as http://host:7778; it is made when it is used."""
        url = learner if "://" in learner else f"http://{learner}"
        scheme, target = urlsplit(url).scheme, urlsplit(url).netloc
        if scheme not in ("http", "https") or not urlsplit(url).hostname or urlsplit(url).port is None:
            raise ValueError(f"{learner!r}: it must have the scheme http or https, a host and a port")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if scheme == "http":
            if self.tls_ca or self.tls_cert:
                raise ValueError(f"TLS files are of no use with {url}: did you mean https://{target}?")
            return grpc.insecure_channel(target, _OPTIONS)
        ca, key, certificate = (_bytes(name) for name in (self.tls_ca, self.tls_key, self.tls_cert))
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate), _OPTIONS)


def _bytes(name: Optional[PathLike]) -> Optional[bytes]:
    return None if name is None else Path(name).read_bytes()


def _token(path: Path) -> str:
    with path.open("rb") as file:
        # No more than it takes to see that it is too long: the file may be anything.
        token = file.read(2048).strip()
    if not 16 <= len(token) <= 1024 or not all(33 <= byte <= 126 for byte in token):
        raise ValueError(f"the token file {path}: a token has 16 to 1024 visible ASCII characters")
    return token.decode("ascii")
