"""Read an offline run of W&B, as ``wandb sync`` does before it uploads."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")  # LevelDB's log format: checksum, length, kind
FULL, LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Yield the protobuf messages of a .wandb file in order."""
    data, place, parts = path.read_bytes(), FILE_HEADER, b""
    assert data.startswith(b":W&B")
    while place + HEADER.size <= len(data):
        left = BLOCK - place % BLOCK
        _, length, kind = HEADER.unpack_from(data, place)
        if left < HEADER.size or kind == 0:  # the rest of a block is padding
            place += left
            continue
        place += HEADER.size + length
        parts += data[place - length : place]
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


class OfflineRun:
    """What a server would know after the upload.

    Attributes:
        run: the first message: id, group, job type, tags, host.
        config, summary: nested.
        history: rows of dotless keys.
        artifacts: files of tables on this machine.
        exit_code: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.artifacts: list[Path] = []
        self.exit_code: int | None = None
        self.kinds: set[str] = set()
        for record in records(next(folder.glob("*.wandb"))):
            kind = record.WhichOneof("record_type")
            self.kinds.add(kind)
            if kind == "run":
                self.run = record.run
            elif kind == "config":
                update(self.config, record.config.update)
            elif kind == "summary":
                update(self.summary, record.summary.update)
            elif kind == "history":
                self.history.append(update({}, record.history.item))
            elif kind == "artifact":
                self.artifacts += [Path(entry.local_path) for entry in record.artifact.manifest.contents]
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def table(self, key: str) -> list[dict[str, Any]]:
        content = json.loads((self.folder / "files" / self.summary[key]["path"]).read_text())
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def update(target: dict[str, Any], items: Any) -> dict[str, Any]:
    for item in items:
        *parents, last = item.nested_key or [item.key]
        node = target
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = json.loads(item.value_json)
    return target
