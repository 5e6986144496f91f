"""A web server that misbehaves as real ones do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """The files that the server has, its faults, and the requests that it received.

    Attributes:
        files: contents by path.
        breaks: by path, the number of bytes after which each of the next requests is cut off.
        deaf: paths for which the Range header is ignored.
        status: by path, a status other than 200.
        types: by path, a Content-Type.
        etags: by path, an ETag.
        redirects: by path, where a request is sent on to.
        endless: paths whose content is repeated without end, and without Content-Length.
        asked: (path, Range header) of every request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    status: dict[str, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append((self.path, wanted))
            if self.path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path in site.status or self.path not in site.files:
                self.send_error(site.status.get(self.path, 404))
                return
            content = site.files[self.path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path not in site.deaf else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Type", site.types.get(self.path, "application/octet-stream"))
            if self.path in site.etags:
                self.send_header("ETag", site.etags[self.path])
            if self.path in site.endless:
                self.close_connection = True
                self.end_headers()
                while True:
                    self.wfile.write(content)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cuts = site.breaks.get(self.path)
            self.wfile.write(content[start:][: cuts.pop(0) if cuts else None])
            self.close_connection = True  # shorter than Content-Length if the connection is cut

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that hang up, as some tests do."""

    server = Server(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
