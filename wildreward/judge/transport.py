"""HTTP for the judge: POST bytes, get bytes, on connections that are kept.

aiohttp, because a turn costs 0.2 ms of CPU with it and 1 ms with the `openai` package (measured by
`tests/benchmarks/judge_throughput.py`): a judge actor can then keep a fast judge busy.
"""

import asyncio
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wildreward.judge.failures import PassingError, RejectedError, Response

if TYPE_CHECKING:
    import aiohttp

LOOPBACK = ("localhost", "127.", "::1")


class Transport:
    """One session for all endpoints; it is opened by the first request, in its event loop."""

    def __init__(self, timeout_s: float, connections: int) -> None:
        self._timeout_s, self._connections = timeout_s, connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, proxy: str | None = None) -> Response:
        """What the server answers. Raises PassingError when nothing comes, RejectedError when TLS finds a stranger."""
        import aiohttp

        session = self._session or self._open()
        try:
            # A redirect is not followed: the key is meant for the endpoint that was named.
            async with session.post(url, data=body, headers=headers, proxy=proxy, allow_redirects=False) as response:
                return Response(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorCertificateError as error:
            raise RejectedError("connection", f"its TLS certificate is not trusted: {error}") from None
        except TimeoutError:
            raise PassingError("timeout", f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise PassingError("connection", f"cannot connect: {error.os_error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise PassingError("connection", f"{error or type(error).__name__}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        connector = aiohttp.TCPConnector(limit=self._connections)
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        # Not trust_env: it would take credentials from ~/.netrc. Proxies are looked up once, by proxy_for.
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), loop=asyncio.get_running_loop()
        )
        return self._session


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for a URL (HTTPS_PROXY, HTTP_PROXY, NO_PROXY); none for this machine itself.

    >>> proxy_for("http://127.0.0.1:8001/v1") is None
    True
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.startswith(LOOPBACK) or urllib.request.proxy_bypass(host):
        return None
    proxies: dict[str, Any] = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
