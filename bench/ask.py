"""One blocking HTTP request to this machine, for what is not measured. Knows no proxies, unlike urllib."""

import http.client
import json
import ssl
from collections.abc import Mapping


def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    within: float = 10.0,
    *,
    tls: bool = False,
    host: str = "127.0.0.1",
) -> bytes:
    """Returns the reply's body. Over TLS it trusts whoever answers.

    Raises:
        OSError: Nobody answered, not in time, not in HTTP, or with a status of 300 or more.
    """
    connection = http.client.HTTPConnection(host, port, timeout=within)
    if tls:
        connection = http.client.HTTPSConnection(host, port, timeout=within, context=trusting())
    data = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        answer = reply.read()
    except http.client.HTTPException as error:
        raise OSError(f"not HTTP: {error}") from error
    finally:
        connection.close()
    if reply.status >= 300:
        raise OSError(f"status {reply.status}: {answer[:200]!r}")
    return answer


def trusting() -> ssl.SSLContext:
    """A context for the targets' own certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
