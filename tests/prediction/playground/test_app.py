"""What the server accepts, refuses and answers."""

from __future__ import annotations

import base64
import io
import re
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import torch
from hydra.utils import instantiate
from PIL import Image

from src.cli.compose import compose
from src.crf import DenseCRF
from src.data import Shapes
from src.predict import Predictor
from src.prediction.playground.app import REQUEST_BYTES
from src.prediction.playground.scenes import Scene, Scenes
from tests.prediction.playground.conftest import IMAGE_BYTES, PRESET, VALUES, Served

PICTURE = Shapes("val", {"val": 3}, size=77)[0].image[:61]


def png(pixels: np.ndarray = PICTURE) -> bytes:
    return saved(Image.fromarray(pixels), "PNG")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(served: Served, content: bytes) -> dict[str, Any]:
    answer = requests.post(f"{served.url}/images", data=content, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refined(served: Served, scene: dict[str, Any], **changes: Any) -> requests.Response:
    content = {"values": VALUES, **changes}
    return requests.post(f"{served.url}/scenes/{scene['name']}/refine", json=content, timeout=60)


def decoded(uri: str) -> np.ndarray:
    """Return the pixels of a palette PNG in a data URI."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    assert image.mode == "P"
    return np.array(image)


@pytest.fixture(scope="module")
def network(served: Served) -> Predictor:
    return Predictor(served.ckpt, accelerator="cpu", precision="32-true")


def test_labels_and_probabilities_are_those_of_predictor_and_crf(served: Served, network: Predictor) -> None:
    scene = opened(served, png())
    before = network(PICTURE, probabilities=True).probabilities
    assert before is not None
    assert (scene["width"], scene["height"]) == (77, 61)
    assert np.array_equal(decoded(scene["network"]), before.argmax(0))
    scores = requests.get(f"{served.url}/scenes/{scene['name']}/scores/2", timeout=60).json()["scores"]
    assert np.abs(decoded(scores) - 255 * before[2]).max() <= 0.51

    values = {**VALUES, "w1": 6, "sxy": 12.5}
    after = DenseCRF(**{**PRESET, **values})(PICTURE.transpose(2, 0, 1), before)
    answer = refined(served, scene, values=values).json()
    assert np.mean(decoded(answer["labels"]) != after.argmax(0)) < 1e-3
    assert "pixel" not in answer
    view = refined(served, scene, values=values, pixel=[60, 3]).json()["pixel"]
    assert view["before"] == pytest.approx(before[:, 60, 3].tolist(), abs=1e-5)
    assert view["after"] == pytest.approx(after[:, 60, 3].tolist(), abs=1e-4)
    assert view["colour"] == PICTURE[60, 3].tolist()
    assert decoded(view["kernel"])[60, 3] == 255
    assert view["own"] == 9


def test_large_images_are_shrunk(served: Served) -> None:
    scene = opened(served, saved(Image.new("RGB", (300, 150), "red"), "JPEG"))
    assert [scene[key] for key in ("width", "height", "file_width", "file_height")] == [100, 50, 300, 150]
    thin = opened(served, saved(Image.new("RGB", (2000, 2), "red"), "PNG"))
    assert (thin["width"], thin["height"]) == (100, 1)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (saved(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
        (saved(Image.fromarray(np.full((9, 8), 60_000, np.uint16)), "PNG"), (8, 9)),
        (saved(Image.new("P", (7, 9)), "GIF"), (7, 9)),
        (saved(Image.new("CMYK", (8, 16)), "JPEG"), (8, 16)),
        (saved(Image.new("RGBA", (5, 4), (255, 0, 0, 0)), "PNG"), (5, 4)),
    ],
    ids=["one pixel", "16 bits", "palette", "CMYK", "transparent"],
)
def test_unusual_images_are_opened(served: Served, content: bytes, size: tuple[int, int]) -> None:
    scene = opened(served, content)
    assert (scene["width"], scene["height"]) == size
    assert refined(served, scene, pixel=[0, 0]).status_code == 200


def bomb() -> bytes:
    """Return a PNG of a few bytes that claims 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"<html>\nno image</html>", "not an image that Pillow can read"),
        (png()[:600], "cannot be read"),
        (bomb(), "more than 89,478,485 pixels"),
        (saved(Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]), "2 frames"),
        (saved(Image.new("F", (4, 4)), "TIFF"), "32-bit pixels of unknown range"),
    ],
    ids=["empty", "text", "truncated", "bomb", "animated", "floats"],
)
def test_hostile_files_are_refused_in_one_line(served: Served, content: bytes, said: str) -> None:
    answer = requests.post(f"{served.url}/images", data=content, timeout=60)
    assert answer.status_code == 400
    message = answer.json()["error"]
    assert message.startswith("this file: ")
    assert said in message
    assert "\n" not in message
    assert "/tmp" not in message


@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_files_are_refused(served: Served, is_chunked: bool) -> None:
    content = bytes(IMAGE_BYTES + 1)
    answer = requests.post(f"{served.url}/images", data=iter([content]) if is_chunked else content, timeout=60)
    assert answer.status_code == 413
    assert "megabytes=NUMBER" in answer.json()["error"]


def test_large_requests_do_not_name_the_limit_of_files(served: Served) -> None:
    answer = requests.post(f"{served.url}/presets", data=bytes(REQUEST_BYTES + 1), timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (413, "the request is larger than 64 KiB")


def test_long_names_are_not_repeated(served: Served) -> None:
    answer = requests.post(f"{served.url}/presets", json={"preset": "/" * 300, "values": VALUES}, timeout=60)
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 200


def test_a_client_that_hangs_up_leaves_no_traceback(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.send(f"POST /images HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 9\r\n\r\nabc".encode())
        client.shutdown(socket.SHUT_WR)
        client.recv(1)  # the server has noticed
    assert requests.get(served.url, timeout=60).status_code == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": None}, "w1=None: must be a number from 0 to 20"),
        ({"values": {**VALUES, "w1": "5"}}, "w1=5: must be a number"),
        ({"values": {**VALUES, "srgb": True}}, "srgb=True: must be a number"),
        ({"values": {**VALUES, "sg": 0}}, "sg=0: must be a number from 0.5 to 20"),
        ({"values": {**VALUES, "sxy": 1e9}}, "sxy=1000000000.0: must be a number from 1 to 200"),
        ({"values": {**VALUES, "iterations": 2.5}}, "iterations=2.5: give a whole number"),
        ({"pixel": [61, 0]}, "pixel=[61, 0]: must be [row, column] in an image of 61 rows, 77 columns"),
        ({"pixel": [0, -1]}, "pixel=[0, -1]: must be"),
        ({"pixel": [9] * 300}, f"pixel={str([9] * 300)[:60]}...: must be"),
        ({"values": {**VALUES, "sxy": 10**400}}, f"sxy=1{'0' * 59}...: must be a number from 1 to 200"),
        ({"pixel": [True, 0]}, "pixel=[True, 0]: must be"),
        ({"pixel": "00"}, "pixel=00: must be"),
    ],
)
def test_wrong_requests_are_named(served: Served, change: dict[str, Any], said: str) -> None:
    answer = refined(served, opened(served, png()), **change)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b'{"values": ', b"[" * 50_000, b"NaN"])
def test_what_is_no_request_is_refused(served: Served, body: bytes) -> None:
    scene = opened(served, png())
    answer = requests.post(f"{served.url}/scenes/{scene['name']}/refine", data=body, timeout=60)
    assert answer.status_code == 400
    assert "the request is not" in answer.json()["error"]


def test_values_that_are_not_finite_are_refused(served: Served) -> None:
    scene = opened(served, png())
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "1" + 400 * "0"):
        body = f'{{"values": {{"w1": {text}}}}}'
        answer = requests.post(f"{served.url}/scenes/{scene['name']}/refine", data=body, timeout=60)
        assert (answer.status_code, answer.json()["error"][:3]) == (400, "w1=")


def test_pages_at_once_do_not_mix(served: Served, network: Predictor) -> None:
    """Each of eight pages has its own image and values, and they send at the same time."""
    pictures = [Shapes("val", {"val": 8}, size=40 + index)[index].image for index in range(8)]
    values = [{**VALUES, "w1": index} for index in range(8)]

    def use(index: int) -> tuple[np.ndarray, np.ndarray]:
        scene = opened(served, png(pictures[index]))
        answer = refined(served, scene, values=values[index]).json()
        return decoded(scene["network"]), decoded(answer["labels"])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(use, range(8)))
    for picture, value, (before, after) in zip(pictures, values, answers, strict=True):
        probabilities = network(picture, probabilities=True).probabilities
        assert probabilities is not None
        assert np.array_equal(before, probabilities.argmax(0))
        q = DenseCRF(**{**PRESET, **value})(picture.transpose(2, 0, 1), probabilities)
        assert np.mean(after != q.argmax(0)) < 2e-3


def test_images_that_are_not_open_are_not_found(served: Served) -> None:
    name = opened(served, png())["name"]
    assert len(name) >= 20  # not to be guessed
    for other in (name[:-1], "..", "0"):
        assert refined(served, {"name": other}).status_code in (404, 410)
    assert requests.get(f"{served.url}/scenes/{name}/scores/99", timeout=60).status_code == 404


def test_the_oldest_images_are_dropped() -> None:
    scene = Scene(np.zeros((10, 10, 3), np.uint8), torch.zeros(5, 2, 2), (10, 10))  # 300 + 80 bytes
    scenes = Scenes(capacity=1000)
    first, second = scenes.add(scene), scenes.add(scene)
    assert scenes.find(first) is scene  # used, and so younger than the second
    third = scenes.add(scene)
    assert [scenes.find(name) is scene for name in (first, second, third)] == [True, False, True]
    assert Scenes(capacity=1).find("") is None


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": ""}, {"Host": "[::1"}],
)
def test_other_sites_cannot_use_the_server(served: Served, headers: dict[str, str]) -> None:
    """Neither by a request of their own, nor under a name of theirs that leads to 127.0.0.1."""
    content = {"values": VALUES, "preset": "theirs"}
    answer = requests.post(f"{served.url}/presets", json=content, headers=headers, timeout=60)
    assert answer.status_code == 403
    assert not (served.presets / "theirs.yaml").exists()


def test_the_page_names_all_classes_and_no_other_server(served: Served) -> None:
    page = requests.get(served.url, timeout=60)
    assert all(f"<span>{name}</span>" in page.text for name in Shapes.classes)
    script = requests.get(f"{served.url}/page.js", timeout=60).text
    assert not re.search(r"(https?:)?//[a-z]", page.text + re.sub(r"^ *//.*|; //.*", "", script, flags=re.MULTILINE))
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_examples_are_opened(served: Served) -> None:
    for index in range(4):
        thumbnail = requests.get(f"{served.url}/examples/{index}", timeout=60)
        assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 160
    assert requests.post(f"{served.url}/examples/0", timeout=60).json()["file_width"] == 321
    for index in ("4", "-1", "9" * 5000):
        answer = requests.post(f"{served.url}/examples/{index}", timeout=60)
        assert (answer.status_code, answer.json()["error"]) == (404, "there are 4 examples, and not this one")


def test_a_preset_is_saved_once_and_composes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(name: Any, w1: float, **options: Any) -> requests.Response:
        content = {"preset": name, "values": {**VALUES, "w1": w1}, **options}
        return requests.post(f"{served.url}/presets", json=content, timeout=60)

    assert save("mine", 7.5).json() == {"path": str(served.presets / "mine.yaml"), "preset": "mine"}
    monkeypatch.setattr("src.cli.conf_folder.USER_CONF", served.presets.parent)
    for command in ("train", "evaluate", "predict", "playground"):
        crf = compose(command, "crf=mine", output_dir=served.presets.parents[1] / "run").crf
        assert instantiate(crf).parameters == DenseCRF(**{**PRESET, "w1": 7.5}).parameters

    assert save("mine", 8).status_code == 409
    assert (
        instantiate(compose("predict", "crf=mine", output_dir=served.presets.parents[1] / "run").crf).parameters.w1
        == 7.5
    )
    assert save("mine", 8, replace=True).status_code == 200
    assert (
        instantiate(compose("predict", "crf=mine", output_dir=served.presets.parents[1] / "run").crf).parameters.w1 == 8
    )

    for name in (None, 3, True, ["mine"]):
        assert save(name, 1).status_code == 400
    content = {"preset": "broken", "values": {**VALUES, "iterations": 2.5}}
    assert requests.post(f"{served.url}/presets", json=content, timeout=60).status_code == 400
    (served.presets / "hers.yaml").write_text("# by hand\n")
    for name, said in {"hers": "was not written by a command", "../x": "give letters", "": "give letters"}.items():
        answer = save(name, 5, replace=True)
        assert (answer.status_code, said in answer.json()["error"]) == (400, True)
    assert {"hers.yaml", "mine.yaml"} <= {path.name for path in served.presets.iterdir()}
    assert not list(served.presets.parents[1].rglob("x.yaml"))
    assert not (served.presets / "broken.yaml").exists()
