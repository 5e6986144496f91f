"""Checkpoints are fetched whole or not at all, once, and anew when they change."""

import hashlib
import io
import json
import logging
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import torch

from src.system import addresses
from src.system.address_secrets import hide_secrets
from src.system.addresses import fetch_address, is_address, name_addresses
from src.system.errors import UserError
from src.system.torch_home import hub_folder
from tests.server import Site, serving


def archive(name: str, content: bytes) -> bytes:
    """Return a zip archive with one file, not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def safetensors(numbers: int) -> bytes:
    """Return a file in the format's definition: the header's length, the header, the tensors."""
    size = 4 * numbers
    header = json.dumps({"a": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


CONTENT = archive("net/data.pkl", bytes(range(256)) * 1000)  # as torch.save has it
OTHER = archive("net/data.pkl", bytes(256_000))
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        site.files = {"/net.ckpt": CONTENT}
        yield site


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def files(folder: Path) -> list[str]:
    """Return the names of all files but locks and records."""
    names = sorted(path.name for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.endswith(".lock") and name != "record.json"]


def test_a_file_is_fetched_once_and_anew_when_its_etag_changes(site: Site, folder: Path) -> None:
    site.etags["/net.ckpt"] = '"one"'
    path = fetch_address(f"{site.url}/net.ckpt")
    assert path.read_bytes() == CONTENT
    before = path.stat().st_ino
    assert fetch_address(f"{site.url}/net.ckpt") == path
    assert path.stat().st_ino == before
    site.files["/net.ckpt"], site.etags["/net.ckpt"] = OTHER, '"two"'  # of the same size
    assert fetch_address(f"{site.url}/net.ckpt").read_bytes() == OTHER
    assert files(folder) == ["net.ckpt"]


def test_a_server_without_etag_is_asked_each_time(site: Site) -> None:
    fetch_address(f"{site.url}/net.ckpt")
    site.files["/net.ckpt"] = OTHER
    assert fetch_address(f"{site.url}/net.ckpt").read_bytes() == OTHER


@pytest.mark.parametrize("end", [f"@sha256:{CHECKSUM}", f"@sha256:{CHECKSUM[:16].upper()}", f"#sha256={CHECKSUM}"])
def test_a_copy_with_the_right_checksum_needs_no_server(end: str, site: Site) -> None:
    path = fetch_address(f"{site.url}/net.ckpt{end}")
    site.files.clear()
    assert fetch_address(f"{site.url}/net.ckpt{end}") == path
    assert len(site.asked) == 1


def test_a_wrong_checksum_keeps_the_copy_of_before(site: Site, folder: Path) -> None:
    site.etags["/net.ckpt"] = '"one"'
    path = fetch_address(f"{site.url}/net.ckpt")
    with pytest.raises(UserError, match=f"another file than expected: its checksum is sha256:{CHECKSUM}$"):
        fetch_address(f"{site.url}/net.ckpt@sha256:{'0' * 64}")
    assert path.read_bytes() == CONTENT
    assert files(folder) == ["net.ckpt"]


def test_a_server_that_is_gone(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The copy is used with a warning; where there is none, the error is one line."""
    site.etags["/net.ckpt"] = '"one"'
    with serving() as gone:
        gone.files, gone.etags = {"/net.ckpt": CONTENT}, {"/net.ckpt": '"one"'}
        path = fetch_address(f"{gone.url}/net.ckpt")
    with caplog.at_level(logging.WARNING):
        assert fetch_address(f"{gone.url}/net.ckpt") == path
    assert "no connection; the copy of 20" in caplog.text
    with pytest.raises(UserError, match=r"^http://127.0.0.1:\d+/other.ckpt: no connection; check the address and"):
        fetch_address(f"{gone.url}/other.ckpt")
    with pytest.raises(UserError, match="no connection"):
        fetch_address(f"{gone.url}/net.ckpt@sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n <!DOCTYPE html><p>Log in", "gives a web page, not a checkpoint; is it the link to the file itself?"),
        (b'{"error": "gone"}', "gives something else, not a checkpoint"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_checkpoint_is_not_kept(content: bytes, said: str, site: Site, folder: Path) -> None:
    site.files["/net.ckpt"] = content
    with pytest.raises(UserError) as refused:
        fetch_address(f"{site.url}/net.ckpt")
    assert str(refused.value) == f"{site.url}/net.ckpt: {said}"
    assert files(folder) == []


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (403, "403 Forbidden"), (500, "500 Internal")])
def test_statuses(status: int, said: str, site: Site, folder: Path) -> None:
    site.status["/net.ckpt"] = status
    with pytest.raises(UserError, match=f"^{site.url}/net.ckpt: {said}"):
        fetch_address(f"{site.url}/net.ckpt")
    assert files(folder) == []


@pytest.mark.parametrize(
    ("target", "said", "requests"),
    [
        ("/net.ckpt", "redirects without end", 31),
        ("file:///etc/hosts", "redirects to another protocol; only http and https are followed", 1),
    ],
)
def test_redirects_that_lead_nowhere(target: str, said: str, requests: int, site: Site) -> None:
    site.redirects["/net.ckpt"] = target
    with pytest.raises(UserError, match=f"^{site.url}/net.ckpt: {said}$"):
        fetch_address(f"{site.url}/net.ckpt")
    assert len(site.asked) == requests  # the first, and the 30 that requests follows


def test_a_password_that_breaks_the_address_is_not_shown(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^http://host/x: not a valid address; in a password, write %2F for /"):
        fetch_address("http://user:sec/ret@host/x")
    assert not [path for path in folder.rglob("*") if "ret" in path.name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("/net.ckpt", lambda: CONTENT[:-30], "the end of the file is missing"),
        ("/net.ckpt", lambda: archive("notes.txt", b"none"), "a zip archive, but not one of torch.save"),
        ("/net.safetensors", lambda: safetensors(9)[:-4], "the file is not as long as"),
        ("/net.safetensors", lambda: (2).to_bytes(8, "little") + b"{]", "the header is damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_not_kept(
    name: str, content: Callable[[], bytes], said: str, site: Site, folder: Path
) -> None:
    site.files[name], site.etags[name] = content(), '"one"'
    with pytest.raises(UserError, match=f"^{site.url}{name}: the server's file is damaged, or not a .*: {said}"):
        fetch_address(f"{site.url}{name}")
    assert files(folder) == []
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1)}, buffer)
    whole = safetensors(1) if name.endswith("rs") else buffer.getvalue()
    site.files[name] = whole  # repaired, under the same ETag
    assert fetch_address(f"{site.url}{name}").read_bytes() == whole


def test_messages_name_the_address_in_place_of_the_copy(site: Site) -> None:
    address = site.url.replace("://", "://user:secret@")
    path = fetch_address(f"{address}/net.ckpt")
    assert name_addresses(f"{path}: holds no network") == f"{site.url}/net.ckpt: holds no network"
    assert name_addresses("/home/net.ckpt: holds no network") == "/home/net.ckpt: holds no network"


def test_a_lost_connection_leaves_nothing_half(site: Site, folder: Path) -> None:
    site.breaks["/net.ckpt"] = [100_000]
    with pytest.raises(UserError, match="connection lost; run this again"):
        fetch_address(f"{site.url}/net.ckpt")
    assert files(folder) == []
    assert fetch_address(f"{site.url}/net.ckpt").read_bytes() == CONTENT


@pytest.mark.parametrize("endless", [True, False])
def test_too_large_files_are_given_up(endless: bool, site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MAX_BYTES", 200_000)
    if endless:
        site.endless.add("/net.ckpt")
    with pytest.raises(UserError, match=r"gives more than 0.2 MB: no checkpoint is so large$"):
        fetch_address(f"{site.url}/net.ckpt")
    assert files(folder) == []


def test_a_full_disk_names_the_folder(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hub").write_text("a file where a folder should be")
    address = f"{site.url}/net.ckpt"
    with pytest.raises(UserError, match=f"^{address}: cannot be stored in {folder}/hub/.* .Not a directory.; set "):
        fetch_address(address)


def test_any_file_system_of_fsspec(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/shelf/net.ckpt", CONTENT)
    path = fetch_address("memory://shelf/net.ckpt")
    assert path.read_bytes() == CONTENT
    inode = path.stat().st_ino
    assert fetch_address("memory://shelf/net.ckpt").stat().st_ino == inode
    memory.pipe("/shelf/net.ckpt", OTHER)
    assert fetch_address("memory://shelf/net.ckpt").read_bytes() == OTHER
    assert files(folder) == ["net.ckpt"]


def test_errors_of_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the server does not answer, the copy is used."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/shelf/net.ckpt", CONTENT)
    path = fetch_address("memory://shelf/net.ckpt")

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot connect") from ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(type(memory), "info", refuse)
    assert fetch_address("memory://shelf/net.ckpt") == path

    def forbid(*_: object) -> None:
        raise OSError("403 Forbidden")

    monkeypatch.setattr(type(memory), "info", forbid)
    with pytest.raises(UserError, match=r"^memory://shelf/net.ckpt: 403 Forbidden$"):
        fetch_address("memory://shelf/net.ckpt")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://shelf/absent.ckpt", "no such file"),
        ("memory://shelf", "is a folder; name a file in it"),
        ("ftq://host/net.ckpt", "no such protocol; write https://HOST/FILE, s3://"),
        ("hf://owner/net", 'hf:// needs a package that is not installed: pip install "deeplab-v1[hub]"'),
        ("memory://shelf/net.ckpt@sha256:abc", "of the checksum, give 16 to 64 hexadecimal digits after @sha256:"),
    ],
)
def test_addresses_that_give_nothing(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe("/shelf/net.ckpt", CONTENT)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as where it is not installed
    with pytest.raises(UserError) as refused:
        fetch_address(address)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_paths_are_no_addresses() -> None:
    for path in ("best.ckpt", "/a/b.ckpt", "runs://", "C:\\net.ckpt", Path("https://a/b.ckpt"), None, "a b://c"):
        assert not is_address(path), path
    for address in ("https://a/b.ckpt", "s3://a/b", "hf://a/b", "memory://a"):
        assert is_address(address)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ckpt=https://ann:secret@host/net.ckpt?token=secret", "ckpt=https://host/net.ckpt"),
        ("'ckpt=\"https://host/net.ckpt?X-Sig=secret&b=1\"',seed=3", "'ckpt=\"https://host/net.ckpt\"',seed=3"),
        ("ckpt=hf://owner/name@main/net.ckpt", "ckpt=hf://owner/name@main/net.ckpt"),
        ("dataset.root=/a@b/c?d", "dataset.root=/a@b/c?d"),
        ("ckpt=http://user:sEc@ReT@host/x", "ckpt=http://host/x"),
        ("ckpt=http://user:se/c?r#e,t@host/x", "ckpt=http://host/x"),
        ("ckpt=http://a:b@host/x,init_from=http://c:d@other/y", "ckpt=http://host/x,init_from=http://other/y"),
        ("http://host/x?a=1,token=secret", "http://host/x"),
        ("http://host:8000/a@b/x@sha256:abc", "http://host:8000/a@b/x@sha256:abc"),
        ("https://ann:secret@host/x@sha256:abc", "https://host/x@sha256:abc"),
    ],
)
def test_passwords_and_tokens_are_not_shown(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


@pytest.mark.parametrize("variables", [{}, {"TORCH_HOME": "~/torch"}, {"XDG_CACHE_HOME": "/cache"}])
def test_copies_lie_in_the_folder_of_torch_hub(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert os.fspath(hub_folder()) == torch.hub.get_dir()
