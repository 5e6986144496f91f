"""Download a file from the first mirror that has it, resume after a lost connection, and check the result."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from src.system.errors import UserError
from src.system.processes import one_at_a_time
from src.system.progress import ProgressLines

log = logging.getLogger(__name__)

TIMEOUT = (10, 60)  # seconds to connect, and between two packets
ATTEMPTS = 5  # failures in a row without a new byte, after which a mirror is given up
PAUSE = 1.0  # seconds after the first failure; doubled after each
CHUNK = 1 << 16  # bytes


class MirrorError(Exception):
    """A mirror has sent something else than the file."""


def fetch(
    name: str, urls: Sequence[str], checksum: str | None, page: str, folder: Path, key: str = "downloads"
) -> Path:
    """Return the path of the file ``folder/name``, and download the file if it does not exist.

    Args:
        name: of the file.
        urls: mirrors of the file, in the order to try.
        checksum: such as "sha256:e14f...", with an algorithm of hashlib and the digest or its beginning; None if
            unknown: then nothing is resumed.
        page: web page where a person finds the file.
        folder: for the file; it is created if necessary.
        key: what sets the folder, for the message.

    Raises:
        UserError: if no mirror sends the file, with the reason of each and what to do by hand; or if the existing file
            has another checksum.
    """
    import requests

    path, part = folder / name, folder / f"{name}.part"
    try:
        if path.exists():  # perhaps in a folder where nothing can be written
            return check_file(path, checksum, page)
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):  # a second command waits, and then finds the file
            if path.exists():
                return check_file(path, checksum, page)
            failures = []
            for url in urls:
                try:
                    log.info("%s from %s", name, url)
                    download(url, part, checksum)
                    part.replace(path)
                    return path
                except (requests.RequestException, MirrorError) as error:
                    failures.append(f"{url}: {reason(error)}")
                    log.warning("  %s", reason(error))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; set {key}=FOLDER") from error
    tried = f"no server gave it ({'; '.join(failures)})" if failures else "cannot be fetched without a login"
    raise UserError(f"{name}: {tried}. Get it from {page}, put it at {path.resolve()} and run this again")


def check_file(path: Path, checksum: str | None, page: str) -> Path:
    """Return the path of a file that exists, or raise ``UserError`` if it has another checksum."""
    if checksum and not matches(path, checksum):
        raise UserError(f"{path}: not the file of {page} (its checksum is not {checksum}); delete it")
    return path


def download(url: str, part: Path, checksum: str | None) -> None:
    """Download a file to ``part``, beginning where an earlier attempt ended.

    Raises:
        requests.RequestException: if the mirror does not answer, or stops sending.
        MirrorError: if it sends something else than the file.
    """
    import requests

    if checksum is None:
        part.unlink(missing_ok=True)  # without a checksum, halves of two different files would not be noticed
    start, silent = size_of(part), 0
    while True:
        before = size_of(part)
        try:
            transfer(url, part)
            break
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            silent = 0 if size_of(part) > before else silent + 1
            if checksum is None or silent == ATTEMPTS or size_of(part) <= start:
                raise  # immediately if this mirror has sent nothing at all, because the next one may
            log.info("  interrupted at %s (%s); resuming", megabytes(size_of(part)), reason(error))
            time.sleep(PAUSE * 2**silent)
    if checksum and not matches(part, checksum):
        size = size_of(part)
        part.unlink()
        if not start:
            raise MirrorError(f"gave another file of {megabytes(size)} (its checksum is not {checksum})")
        log.info("  the earlier part belongs to another file; starting again")
        download(url, part, checksum)


def transfer(url: str, part: Path) -> None:
    """Send one request, and append the bytes that arrive to ``part``."""
    import requests
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    have = size_of(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
        if have and response.status_code == 416:  # nothing follows: the part is complete, or of another file
            return
        response.raise_for_status()
        if "text/html" in response.headers.get("Content-Type", ""):
            raise MirrorError("gave a web page, not a file")
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        rest = int(response.headers.get("Content-Length") or 0)
        if rest > (free := shutil.disk_usage(part.parent).free):
            raise UserError(f"{part.parent}: {megabytes(rest)} are needed, {megabytes(free)} are free")
        have = have if resumed else 0
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        hidden = not Console().is_terminal
        lines = ProgressLines(part.stem, (have + rest) >> 20 if rest else None, have >> 20)
        with part.open("ab" if resumed else "wb") as file, Progress(*columns, transient=True, disable=hidden) as bars:
            bar = bars.add_task("", total=have + rest if rest else None, completed=have)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bars.advance(bar, len(chunk))
                have += len(chunk)
                if hidden:
                    lines.update(have >> 20, "MiB")


def matches(path: Path, checksum: str) -> bool:
    """Tell whether a file has a checksum such as "sha256:e14f...", which may be the beginning of the digest."""
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest().startswith(expected)


def reason(error: Exception) -> str:
    """Return the cause of a failed request in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "connection lost"
    if isinstance(error, requests.ConnectionError):
        return (
            "no connection" if "NewConnectionError" in repr(error) or "Resolution" in repr(error) else "connection lost"
        )
    if isinstance(error, requests.TooManyRedirects):
        return "redirects without end"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return "redirects to another protocol; only http and https are followed"
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return "the address of the proxy is not valid; correct HTTP_PROXY and HTTPS_PROXY"
    if isinstance(error, ValueError):  # InvalidURL, or of urllib; the message may hold the password
        return "not a valid address; in a password, write %2F for /, %40 for @, %3A for :"
    return " ".join(str(error).split())


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def megabytes(size: int) -> str:
    """Return a size in bytes as a text in MB."""
    return f"{size / 1e6:,.1f} MB"
