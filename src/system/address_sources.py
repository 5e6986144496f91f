"""Open the file at an address: on a web server, or on a file system of fsspec."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from src.system.address_secrets import summary
from src.system.download import CHUNK, TIMEOUT, reason

IDENTITY = ("ETag", "etag", "sha256", "blob_id", "version_id", "LastModified", "last_modified", "mtime", "created")


class AddressError(Exception):
    """An address does not give a checkpoint."""


class Unreachable(AddressError):
    """The server of an address does not answer; a copy that was fetched before may be used."""


class Source(NamedTuple):
    """A file at an address, open for reading.

    Attributes:
        identity: changes when the file changes; None if the server does not tell.
        size: in bytes; None if unknown.
        chunks: the content.
    """

    identity: str | None
    size: int | None
    chunks: Iterator[bytes]


def open_address(url: str) -> AbstractContextManager[Source]:
    """Return a context manager that opens the file at an address."""
    return open_web(url) if url.lower().startswith(("http://", "https://")) else open_filesystem(url)


@contextmanager
def open_web(url: str) -> Iterator[Source]:
    """Open a file on a web server.

    Raises:
        AddressError: if the server does not give it.
    """
    import requests

    try:
        response = requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Unreachable(reason(error)) from error
    except (requests.RequestException, ValueError) as error:  # ValueError: of an address that urllib cannot parse
        raise AddressError(reason(error)) from error
    with response:
        if not response.ok:
            raise AddressError(f"{response.status_code} {response.reason}")
        headers = response.headers
        size = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdecimal() else None
        version = headers.get("ETag") or headers.get("Last-Modified")
        chunks = reported(response.iter_content(CHUNK), reason)
        yield Source(f"{version} {size}" if version else None, size, chunks)


@contextmanager
def open_filesystem(url: str) -> Iterator[Source]:
    """Open a file on a file system of fsspec.

    Raises:
        AddressError: if the protocol is unknown or needs a package, or the file cannot be read.
    """
    import fsspec

    protocol = url.partition("://")[0].lower()
    if protocol not in fsspec.available_protocols():
        raise AddressError("no such protocol; write https://HOST/FILE, s3://BUCKET/FILE or hf://OWNER/NAME")
    for name in ("httpx", "httpx2"):  # of hf://
        logging.getLogger(name).setLevel(logging.WARNING)  # they log each request
    try:
        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()  # of what a listing said before
        info = files.info(path)
        if info.get("type") == "directory":
            raise AddressError("is a folder; name a file in it")
        file = files.open(path, "rb")
    except AddressError:
        raise
    except ImportError as error:
        remedy = 'pip install "deeplab-v1[hub]"' if protocol == "hf" else summary(error)
        raise AddressError(f"{protocol}:// needs a package that is not installed: {remedy}") from error
    except FileNotFoundError as error:
        raise AddressError("no such file") from error
    except PermissionError as error:
        raise AddressError(f"no access ({summary(error)})") from error
    except Exception as error:  # each protocol has errors of its own
        kind = Unreachable if is_lost_connection(error) else AddressError
        raise kind(summary(error)) from error
    size = info.get("size")
    versions = [str(info[key]) for key in IDENTITY if info.get(key)]
    with file:
        chunks = reported(iter(lambda: file.read(CHUNK), b""), summary)
        yield Source(f"{' '.join(versions)} {size}" if versions else None, size, chunks)


def reported(chunks: Iterator[bytes], describe: Callable[[Exception], str]) -> Iterator[bytes]:
    """Yield chunks; an error of the connection becomes an ``AddressError``."""
    while True:
        try:
            chunk = next(chunks)
        except StopIteration:
            return
        except Exception as error:
            raise AddressError(f"{describe(error)}; run this again") from error
        yield chunk


def is_lost_connection(error: BaseException | None) -> bool:
    """Tell whether an error, or one that led to it, is that a server does not answer."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
            return True
        error = error.__cause__ or error.__context__
    return False
