"""Downloads from a server that misbehaves as real ones do."""

import hashlib
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from src.system import download
from src.system.download import fetch
from src.system.errors import UserError
from src.system.processes import one_at_a_time
from tests.server import serving

CONTENT = np.random.default_rng(0).bytes(1_000_000)
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PAGE = "https://example.org/page"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    with serving() as site:
        site.files["/a.tar"] = CONTENT
        yield site


def get(site, folder, *paths, checksum=CHECKSUM):
    return fetch("a.tar", [f"{site.url}{path}" for path in paths or ("/a.tar",)], checksum, PAGE, folder)


def test_a_file_is_fetched_once(site, tmp_path):
    path = get(site, tmp_path / "downloads")
    assert path.read_bytes() == CONTENT
    assert get(site, tmp_path / "downloads") == path
    assert site.asked == [("/a.tar", None)]
    assert sorted(p.name for p in path.parent.iterdir() if not p.name.endswith(".lock")) == ["a.tar"]


def test_dropped_connections_are_resumed(site, tmp_path):
    site.breaks["/a.tar"] = [300_000, 300_000, 100_000]
    assert get(site, tmp_path).read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in site.asked[1:]]
    assert len(starts) == 3
    assert starts == sorted(starts)
    assert starts[0] > 200_000  # only complete blocks are kept
    assert starts[-1] > 500_000


def test_a_second_command_resumes_the_download(site, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:400_000])
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.asked == [("/a.tar", "bytes=400000-")]


def test_a_complete_partial_file_is_not_fetched_again(site, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(CONTENT)
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_file(site, tmp_path):
    site.deaf.add("/a.tar")
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:400_000])
    assert get(site, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [400_000, 1_000_000, 1_200_000])
def test_a_partial_file_of_another_version_is_discarded(site, tmp_path, size):
    (tmp_path / "a.tar.part").write_bytes(bytes(size))
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.asked[-1] == ("/a.tar", None)


def test_broken_mirrors_are_skipped_with_a_warning(site, tmp_path, caplog):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/a.tar"
    site.files |= {"/other": b"something else", "/page": b"<html>sign in</html>", "/a": CONTENT}
    site.types["/page"] = "text/html; charset=utf-8"
    site.status["/gone"] = 503
    urls = [nobody, *(site.url + path for path in ("/missing", "/gone", "/page", "/other", "/a.tar"))]
    with caplog.at_level(logging.INFO):
        assert fetch("a.tar", urls, CHECKSUM, PAGE, tmp_path).read_bytes() == CONTENT
    for said in ("no connection", "404", "503", "a web page", "another file of 0.0 MB (its checksum is not sha256:"):
        assert said in caplog.text
    assert urls[-1] in caplog.text


def test_if_all_mirrors_fail_each_reason_and_the_remedy_are_named(site, tmp_path):
    site.files["/other"] = b"something else"
    with pytest.raises(UserError) as caught:
        get(site, tmp_path, "/missing", "/other")
    for said in (f"{site.url}/missing: 404", f"{site.url}/other: gave another file", PAGE, str(tmp_path / "a.tar")):
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "a.tar").write_bytes(CONTENT)  # placed by hand
    assert get(site, tmp_path, "/missing").read_bytes() == CONTENT


def test_a_silent_mirror_is_abandoned_and_its_bytes_are_kept(site, tmp_path):
    site.breaks["/a.tar"] = [300_000, *[0] * download.ATTEMPTS]
    site.files["/b.tar"] = CONTENT
    assert get(site, tmp_path, "/a.tar", "/b.tar").read_bytes() == CONTENT
    path, asked = site.asked[-1]
    assert path == "/b.tar"
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 200_000


def test_a_wrong_file_placed_by_hand_is_named_and_kept(site, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"half")
    with pytest.raises(UserError, match=r"a\.tar: not the file of .*delete it"):
        get(site, tmp_path)
    assert (tmp_path / "a.tar").read_bytes() == b"half"


def test_without_a_checksum_no_partial_file_is_resumed(site, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(bytes(400_000))
    assert get(site, tmp_path, checksum=None).read_bytes() == CONTENT
    (tmp_path / "a.tar").unlink()
    site.breaks["/a.tar"] = [300_000]
    with pytest.raises(UserError, match="connection lost"):
        get(site, tmp_path, checksum=None)


def test_a_file_that_needs_a_login(tmp_path):
    with pytest.raises(
        UserError, match=rf"a\.tar: cannot be fetched without a login\. Get it from {PAGE}, put it at /"
    ):
        fetch("a.tar", [], None, PAGE, tmp_path)


def test_two_commands_at_once_fetch_a_file_once(site, tmp_path, caplog):
    """The second command waits for the lock of the first, logs that, and then finds the file."""
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(1) as second, one_at_a_time(tmp_path / "a.tar"):
        waiting = second.submit(get, site, tmp_path)
        deadline = time.monotonic() + 60
        while "another process is working on it; waiting" not in caplog.text and time.monotonic() < deadline:
            assert not waiting.done()
        (tmp_path / "a.tar").write_bytes(CONTENT)  # the first command is done
    assert waiting.result() == tmp_path / "a.tar"
    assert "waiting" in caplog.text
    assert site.asked == []


def test_too_little_space_is_reported_before_the_download(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 500_000}))
    with pytest.raises(UserError, match=r"1\.0 MB are needed, 0\.5 MB are free"):
        get(site, tmp_path)
