"""Who may ask the server, and how much may be sent. It stands before everything else that the server does.

Another page in the same browser must not drive this one. What it sends carries its own address as `Origin`. If it has
made its own name mean this machine (DNS rebinding), that name is the `Host`. So both are checked.
"""

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

MAX_BYTES = 2**20  # of a request ...
MAX_PHOTO = 32 * 2**20  # ... and of a photo; those of 12 megapixels have 3 to 8 MB

# What the browser may do with the page: nothing from elsewhere, no other page around it.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """An ASGI application that passes on to another one only what may pass. host: the one that the server binds to."""

    def __init__(self, app, host):
        self.app = app
        machine = socket.gethostname().lower()
        self.names = {host.lower(), "localhost", machine, f"{machine}.local"}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self.refuse(scope["method"], scope["path"], Headers(scope=scope))
        app = JSONResponse({"error": refused[1]}, refused[0]) if refused else self.app
        await app(scope, receive, send_with_headers)

    def refuse(self, method, path, headers):
        """(HTTP status, one line) for a request that may not pass, otherwise None. Nothing of its body is read yet."""
        host = headers.get("host", "")
        if not self.is_own(host):
            return 421, f"this page is not served as {host!r}: use its address as draw.py prints it"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "only the page itself may ask for this"
        if method not in ("GET", "HEAD"):
            length, most = headers.get("content-length", ""), MAX_PHOTO if path == "/photo" else MAX_BYTES
            if not length.isdecimal():
                return 411, "the request does not say how long it is"
            if int(length) > most:
                return 413, f"that is {int(length) / 2**20:,.0f} MB; at most {most // 2**20} MB can be sent"
        return None

    def is_own(self, host):
        """Whether this Host header means this server: by a name of this machine or by an IP address.

        Somebody else's name can mean this machine, but somebody else's page never has a numeric address of ours.
        """
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower()
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
