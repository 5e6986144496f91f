"""A small stand-in for the Hugging Face hub: it takes commits of files, and gives the files."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """The repositories, by OWNER/NAME and path.

    Attributes:
        tokens: those that may write.
        private: whether a repository was made private, by OWNER/NAME.
        unknown: requests that the stand-in does not know.
    """

    url: str = ""
    tokens: tuple[str, ...] = ("hf_test",)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which huggingface_hub talks to this server."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": self.tokens[0], "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}


@contextmanager
def serving_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, value: object, status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def missing(self) -> None:
            hub.unknown.append(f"{self.command} {self.path}")
            self.answer({"error": "Entry not found"}, 404)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self) -> None:
            if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/([^?]+)(\?.*)?", self.path):
                self.give(hub.repositories.get(match[1], {}).get(match[2]))
            elif match := re.match(r"/api/models/([^/]+/[^/]+)(/[^?]*)?", self.path):
                files = hub.repositories.get(match[1])
                if files is None:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif (match[2] or "").startswith("/tree"):
                    self.answer(
                        [
                            {
                                "type": "file",
                                "path": name,
                                "size": len(content),
                                "oid": hashlib.sha1(content).hexdigest(),
                            }
                            for name, content in files.items()
                        ]
                    )
                else:
                    self.answer({"id": match[1], "sha": "0" * 40, "siblings": [{"rfilename": name} for name in files]})
            else:
                self.missing()

        do_HEAD = do_GET

        def give(self, content: bytes | None) -> None:
            if content is None:
                self.missing()
                return
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, end = (int(wanted[1]), int(wanted[2]) + 1) if wanted else (0, len(content))
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content[start:end])))
            self.end_headers()
            self.wfile.write(content[start:end])

        def do_POST(self) -> None:
            body = self.body()
            if self.headers.get("Authorization") not in [f"Bearer {token}" for token in hub.tokens]:
                self.answer({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                hub.repositories.setdefault(name, {})
                hub.private[name] = wanted.get("private", wanted.get("visibility") == "private")
                self.answer({"url": f"{hub.url}/{name}"})
            elif match := re.match(r"/api/models/([^/]+/[^/]+)/preupload/", self.path):
                files = json.loads(body)["files"]
                self.answer(
                    {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
                )
            elif match := re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.repositories[match[1]][line["value"]["path"]] = content
                self.answer({"commitUrl": f"{hub.url}/{match[1]}/commit/0", "commitOid": "0" * 40})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            else:
                self.missing()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
