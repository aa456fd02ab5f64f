"""Who answers at an address where a search was looked for, or in another way."""

import socket
from typing import Optional
from urllib.parse import urlsplit

USUAL = "`srnas search --oracle remote` listens on port 7778 unless --listen says otherwise"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_PATIENCE = 2.0


def misdirected(learner: str) -> Optional[str]:
    """What is wrong with how an address is called, as far as its first words tell; None where nobody answers."""
    url = urlsplit(learner if "://" in learner else f"http://{learner}")
    words = _first_words(str(url.hostname), int(url.port or 0))
    secure = url.scheme == "https"
    if words[:1] in (b"\x15", b"\x16") and words[1:2] == b"\x03":
        return None if secure else f"it speaks TLS: say https://{url.netloc}, and tls_ca if its CA is your own"
    if len(words) == 9 and words[3:4] in (b"\x04", b"\x07") and words[5:] == b"\x00\x00\x00\x00":
        return f"it speaks without TLS: say http://{url.netloc}" if secure else None
    if words.startswith(b"HTTP/1."):
        return f"a web server answers there, such as that of --http with the metrics; {USUAL}"
    return f"another program answers there; {USUAL}" if len(words) == 9 else None


def _first_words(host: str, port: int) -> bytes:
    words = b""
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as connection:
            connection.settimeout(_PATIENCE)
            connection.sendall(_GREETING)
            while len(words) < 9:
                more = connection.recv(9 - len(words))
                if not more:
                    break
                words += more
    except OSError:
        # What was said before it broke off counts.
        pass
    return words
