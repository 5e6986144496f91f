"""The web application: its addresses, what it accepts, and what it answers."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from src.drawing.html import css_colour, render
from src.prediction.playground.examples import Examples
from src.prediction.playground.presets import save_preset
from src.prediction.playground.scenes import Scene, Scenes
from src.prediction.playground.sliders import Slider, read_values
from src.prediction.playground.workbench import Workbench
from src.system.errors import UserError, printable

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
MOST_PROBABLE = "largest"  # in place of a class: the most probable one
REQUEST_BYTES = 65_536  # of a request that is no image
SCENE_BYTES = 1 << 29  # of all images that are open
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class App:
    """Answers the requests of pages.

    Args:
        workbench: opens and refines images.
        sliders: of the page.
        examples: images to choose from.
        ckpt: path or name of the checkpoint, for the page and for presets.
        presets: folder of the presets that pages save; None for the one where crf=NAME finds them.
        image_bytes: of the largest file that is accepted.
        hosts: names by which browsers may call this server; None for any.
    """

    def __init__(
        self,
        workbench: Workbench,
        sliders: Sequence[Slider],
        examples: Examples,
        ckpt: str,
        presets: Path | None,
        image_bytes: int,
        hosts: Sequence[str] | None,
    ) -> None:
        self.workbench, self.sliders, self.examples = workbench, sliders, examples
        self.ckpt, self.presets, self.image_bytes, self.hosts = ckpt, presets, image_bytes, hosts
        self.scenes = Scenes(SCENE_BYTES)

    def build(self) -> Starlette:
        """Return the application for a server."""
        routes = [
            Route("/", self.page),
            Route("/page.js", self.script),
            Route("/examples/{index}", self.thumbnail),
            Route("/examples/{index}", self.open_example, methods=["POST"]),
            Route("/images", self.open_file, methods=["POST"]),
            Route("/scenes/{name}/scores/{of}", self.scores),
            Route("/scenes/{name}/refine", self.refine, methods=["POST"]),
            Route("/presets", self.save, methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {
            UserError: lambda request, error: refusal(400, str(error)),
            HTTPException: lambda request, error: refusal(error.status_code, error.detail),
            Exception: lambda request, error: refusal(500, "this is a bug; the server's terminal has its traceback"),
        }
        middleware = [Middleware(BaseHTTPMiddleware, dispatch=self.guard)]
        return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)

    async def guard(self, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what a page of another site has sent through the user's browser; forbid pages to call other sites."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if self.hosts is not None and host_name(host) not in self.hosts:
            response: Response = refusal(403, f"{host}: not an address of this server")
        elif origin is not None and origin.partition("://")[2] != host:
            response = refusal(403, f"{origin}: another site may not call this server")
        else:
            response = await answer(request)
        response.headers.update(HEADERS)
        return response

    def page(self, request: Request) -> Response:
        """Return the page."""
        palette = [css_colour(rgb) for rgb in self.workbench.predictor.palette]
        return HTMLResponse(
            render(
                HERE / "page.html.jinja",
                ckpt=self.ckpt,
                sliders=self.sliders,
                classes=list(zip(self.workbench.classes, palette, strict=True)),
                examples=self.examples.names,
                side=self.workbench.side,
                image_bytes=self.image_bytes,
            )
        )

    def script(self, request: Request) -> Response:
        """Return the page's script."""
        return FileResponse(HERE / "page.js", media_type="text/javascript")

    def thumbnail(self, request: Request) -> Response:
        """Return a small picture of an example."""
        image = Image.fromarray(self.examples.read(self.find_example(request), side=160))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        return Response(buffer.getvalue(), media_type="image/jpeg")

    def open_example(self, request: Request) -> Response:
        """Open an example, and return its scene."""
        return self.answer_scene(self.workbench.open(self.examples.source(self.find_example(request))))

    def find_example(self, request: Request) -> int:
        """Return the index of the example that a request names.

        Raises:
            HTTPException: if there is no such example.
        """
        indices = {str(index): index for index in range(len(self.examples.names))}
        if request.path_params["index"] not in indices:
            raise HTTPException(404, f"there are {len(indices)} examples, and not this one")
        return indices[request.path_params["index"]]

    async def open_file(self, request: Request) -> Response:
        """Open the image file that the request holds, and return its scene."""
        megabytes = f"{self.image_bytes / 2**20:g} MB"
        message = f"more than {megabytes}; megabytes=NUMBER of the command sets the limit"
        content = await read_body(request, self.image_bytes, message)
        return await run_in_threadpool(self.open_bytes, content)

    def open_bytes(self, content: bytes) -> Response:
        """Open the content of an image file, and return its scene."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "image")
            path.write_bytes(content)
            try:
                scene = self.workbench.open(path)
            except UserError as error:
                raise UserError(str(error).replace(str(path), "this file")) from error
        return self.answer_scene(scene)

    def answer_scene(self, scene: Scene) -> Response:
        """Keep a scene, and return its name and what the page shows of it."""
        return JSONResponse({"name": self.scenes.add(scene), **self.workbench.describe(scene)})

    def find_scene(self, request: Request) -> Scene:
        """Return the scene that a request names.

        Raises:
            HTTPException: if it has been dropped; the page then opens its image again.
        """
        scene = self.scenes.find(request.path_params["name"])
        if scene is None:
            raise HTTPException(410, "this image is not open any more; open it again")
        return scene

    def scores(self, request: Request) -> Response:
        """Return a picture of the probability of one class, or of the most probable one."""
        of, scene = request.path_params["of"], self.find_scene(request)
        labels = {MOST_PROBABLE: None, **{str(label): label for label in range(len(self.workbench.classes))}}
        if of not in labels:
            raise HTTPException(404, f"{of}: no such class")
        return JSONResponse({"scores": self.workbench.draw_scores(scene, labels[of])})

    async def refine(self, request: Request) -> Response:
        """Return the labels with the sliders' values, and the view of a pixel."""
        content = await read_json(request)
        scene, values = self.find_scene(request), read_values(self.sliders, content.get("values"))
        pixel = read_pixel(scene, content.get("pixel"))
        return JSONResponse(await run_in_threadpool(self.workbench.refine, scene, values, pixel))

    async def save(self, request: Request) -> Response:
        """Save the sliders' values as a preset; with status 409 if it exists already, and is not to be replaced."""
        content = await read_json(request)
        values = {**self.workbench.preset, **read_values(self.sliders, content.get("values"))}
        name, replace = content.get("preset"), content.get("replace") is True
        if not isinstance(name, str):
            raise UserError("preset: must be a name")
        self.workbench.build_crf(values)  # checks them
        try:
            path = await run_in_threadpool(save_preset, name, self.presets, values, self.ckpt, replace)
        except FileExistsError as error:
            return refusal(409, str(error))
        return JSONResponse({"path": str(path), "preset": name})


def host_name(host: str) -> str | None:
    """Return the name in a Host header, without the port; None if there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


async def read_body(request: Request, limit: int, too_large_message: str) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: if it is larger than ``limit`` bytes, or ends early.
    """
    too_large = HTTPException(413, too_large_message)
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > limit:
                raise too_large
    except ClientDisconnect as error:
        raise HTTPException(400, "the request ended early") from error
    return bytes(content)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the mapping that a request holds.

    Raises:
        HTTPException: if it holds none.
    """
    body = await read_body(request, REQUEST_BYTES, f"the request is larger than {REQUEST_BYTES >> 10} KiB")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is not JSON") from error
    if not isinstance(content, dict):
        raise HTTPException(400, "the request is not a mapping")
    return content


def read_pixel(scene: Scene, given: Any) -> tuple[int, int] | None:
    """Return the pixel that a page has sent, as (row, column); None if there is none.

    Raises:
        HTTPException: if it lies outside of the image.
    """
    if given is None:
        return None
    is_pair = isinstance(given, list) and [type(entry) for entry in given] == [int, int]
    if not is_pair or not all(0 <= entry < side for entry, side in zip(given, scene.size, strict=True)):
        height, width = scene.size
        shown = f"{str(given)[:60]}..." if len(str(given)) > 60 else given
        raise HTTPException(400, f"pixel={shown}: must be [row, column] in an image of {height} rows, {width} columns")
    return given[0], given[1]


def refusal(status: int, message: str) -> Response:
    """Return why a request is refused, in one line; words of more than 200 characters, as values may be, are cut."""
    return JSONResponse({"error": re.sub(r"(\S{60})\S{140,}", r"\1...", printable(message))}, status)
