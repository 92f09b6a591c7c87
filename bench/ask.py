"""One blocking HTTP request to this machine, for what is not measured. Knows no proxies, unlike urllib."""

import http.client
import json
from collections.abc import Mapping


def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    within: float = 10.0,
) -> bytes:
    """Returns the reply's body.

    Raises:
        OSError: Nobody answered, not in time, not in HTTP, or with a status of 300 or more.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=within)
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
