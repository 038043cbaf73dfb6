"""The dashboard's static files: read once, served from memory under addresses that change with their content.

What others wrote lies in `static/vendor`, each with its licence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from shared.errors import NotFoundError

FOLDER = Path(__file__).parent / "static"
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEEP = "public, max-age=31536000, immutable"  # the address names the content
ASK = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file and the tag of its content."""

    body: bytes
    content_type: str
    tag: str


class Assets:
    """The files of a folder and of its `vendor`; only what lay there at the start can be asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.name: Asset(body := path.read_bytes(), content_type, hashlib.sha256(body).hexdigest()[:12])
            for path in sorted((*folder.iterdir(), *(folder / "vendor").glob("*")))
            if (content_type := CONTENT_TYPES.get(path.suffix))
        }

    def url(self, name: str) -> str:
        """Return the address of the file as it is now."""
        return f"/static/{name}?v={self._files[name].tag}"

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the file, or 304 when the browser has it; raise `NotFoundError`."""
        asset = self._files.get(request.match_info["name"])
        if asset is None:
            raise NotFoundError("There is no such file.")
        headers = {
            hdrs.CACHE_CONTROL: KEEP if request.query.get("v") == asset.tag else ASK,
            hdrs.ETAG: f'"{asset.tag}"',
        }
        if any(known.value == asset.tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        response = web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
        response.enable_compression()
        return response
