"""Fetch checkpoints from addresses: https://, and every protocol of fsspec, such as s3:// and hf://."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from src.system.address_secrets import hide_secrets
from src.system.address_sources import AddressError, Source, Unreachable, open_address
from src.system.download import matches, megabytes
from src.system.errors import UserError
from src.system.files import read_json, replacing
from src.system.processes import one_at_a_time
from src.system.progress import ProgressLines
from src.system.torch_home import hub_folder
from src.system.weight_files import PICKLE, ZIP, find_fault

log = logging.getLogger(__name__)

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://.+?)(?:[@#]sha256[:=]([0-9a-f]*))?", re.IGNORECASE)
DIGITS = 16  # of a checksum, at least
MAX_BYTES = 8 << 30  # bytes; no checkpoint of a network of this project comes near
RECORD = "record.json"  # beside a copy: its address, the server's version, the checksum
HUB_FILE = "model.safetensors"  # of a folder of export format=hub


def is_address(value: Any) -> bool:
    """Tell whether a value is an address, PROTOCOL://..., and not the path of a file."""
    return isinstance(value, str) and ADDRESS.fullmatch(value) is not None


def fetch_address(address: str) -> Path:
    """Return the path of a copy of the checkpoint at an address, and fetch it if it is missing or has changed.

    An address that ends in @sha256:DIGITS, or #sha256=DIGITS, gives a file with this checksum, or none; a copy that has
    it is used without asking the server. hf://OWNER/NAME is the network in that repository of the Hugging Face hub. The
    copies lie in the folder of torch.hub, which $TORCH_HOME moves.

    Raises:
        UserError: if the address gives no checkpoint, or the copy cannot be written; the message is one line and holds
            no password.
    """
    match = ADDRESS.fullmatch(address)
    assert match is not None
    url, digits = match[1], match[2]
    shown = hide_secrets(url)
    if re.fullmatch(r"hf://[^/]+/?", url):
        raise UserError(f"{shown}: names no repository; write hf://OWNER/NAME, or hf://OWNER/NAME/FILE")
    if digits is not None and not DIGITS <= len(digits) <= 64:
        raise UserError(f"{shown}: of the checksum, give {DIGITS} to 64 hexadecimal digits after @sha256:")
    checksum = f"sha256:{digits.lower()}" if digits else None
    if re.fullmatch(r"hf://[^/]+/[^/]+", url):
        url = f"{url}/{HUB_FILE}"
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(hide_secrets(url)).name)[-60:] or "checkpoint"
    path = copies_folder() / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    try:
        if checksum and path.exists() and matches(path, checksum):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):  # the other processes of a command wait, and then find the copy
            return update(path, url, checksum, shown)
    except Unreachable as error:
        raise UserError(f"{shown}: {error}; check the address and your connection") from error
    except AddressError as error:
        raise UserError(f"{shown}: {error}") from error
    except OSError as error:
        fault = f"cannot be stored in {path.parent} ({error.strerror or error})"
        raise UserError(f"{shown}: {fault}; set TORCH_HOME=FOLDER") from error


def update(path: Path, url: str, checksum: str | None, shown: str) -> Path:
    """Return ``path`` with the file of an address, fetched if it is missing or has changed.

    Raises:
        AddressError: if the address does not give a file, or one with another checksum.
    """
    record = path.with_name(RECORD)
    known = read_json(record) if path.exists() else {}
    try:
        with open_address(url) as source:
            if known and source.identity is not None and source.identity == known.get("identity") and not checksum:
                return path
            log.info("%s: fetching it%s", shown, f", {megabytes(source.size)}" if source.size else "")
            with replacing(path) as part:
                digest = save(source, part)
                if checksum and not f"sha256:{digest}".startswith(checksum):
                    raise AddressError(f"another file than expected: its checksum is sha256:{digest}")
                if fault := find_fault(part):
                    raise AddressError(f"the server's file is damaged, or not a checkpoint: {fault}")
                record.unlink(missing_ok=True)  # that of the file before
    except Unreachable as error:
        if not known or checksum:
            raise
        day = time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
        log.warning("%s: %s; the copy of %s is used", shown, error, day)
        return path
    with replacing(record) as part:
        part.write_text(json.dumps({"address": shown, "identity": source.identity, "sha256": digest}) + "\n")
    log.info("%s: sha256:%s", path, digest)
    return path


def name_addresses(text: str) -> str:
    """Return a text in which copies of files are named by their addresses, without secrets."""
    copy = re.compile(rf"{re.escape(str(copies_folder()))}/[0-9a-f]{{16}}/[\w.-]*\w")

    def address_of(match: re.Match[str]) -> str:
        return str(read_json(Path(match[0]).with_name(RECORD)).get("address", match[0]))

    return copy.sub(address_of, text)


def copies_folder() -> Path:
    """Return the folder of the copies."""
    return hub_folder() / "deeplab-v1" / "checkpoints"


def save(source: Source, path: Path) -> str:
    """Write a file, and return its SHA-256.

    Raises:
        AddressError: if it is no checkpoint, larger than the disk's free space or than any checkpoint, or ends early.
    """
    limit = min(MAX_BYTES, shutil.disk_usage(path.parent).free * 9 // 10)  # leave room to others
    if source.size is not None:
        check_size(source.size, limit)
    digest, size = hashlib.sha256(), 0
    lines = ProgressLines(path.stem.lstrip("."), source.size >> 20 if source.size else None)
    with path.open("wb") as file:
        for chunk in source.chunks:
            if not size:
                check_beginning(chunk, path)
            size += len(chunk)
            check_size(size, limit)
            digest.update(chunk)
            file.write(chunk)
            lines.update(size >> 20, "MiB")
    if not size:
        raise AddressError("an empty file")
    if source.size is not None and size != source.size:
        raise AddressError(f"ended after {megabytes(size)} of {megabytes(source.size)}; run this again")
    return digest.hexdigest()


def check_size(size: int, limit: int) -> None:
    """Check that a file is not too large.

    Raises:
        AddressError: if it is.
    """
    if size > limit:
        what = "no checkpoint is so large" if limit == MAX_BYTES else "the disk has no room; set TORCH_HOME=FOLDER"
        raise AddressError(f"gives more than {megabytes(limit)}: {what}")


def check_beginning(chunk: bytes, path: Path) -> None:
    """Check that a file begins as a checkpoint does.

    Raises:
        AddressError: if it does not, as a web page.
    """
    is_safetensors = path.name.endswith(".safetensors.part")
    if not (chunk[8:9] == b"{" if is_safetensors else chunk.startswith((ZIP, PICKLE))):
        is_page = chunk.lstrip()[:1] == b"<"
        what = "a web page" if is_page else "something else"
        raise AddressError(f"gives {what}, not a checkpoint{'; is it the link to the file itself?' if is_page else ''}")
