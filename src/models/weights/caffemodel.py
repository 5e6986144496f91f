"""Reader of Caffe's .caffemodel files, the format of the authors' released networks; needs no Caffe.

The file is one protobuf message, NetParameter of caffe.proto. On the wire a message is a run of fields; each begins
with a key, field number * 8 + wire type. Only what holds names and weights is looked at:

    NetParameter     2: layers (V1LayerParameter, the released files)   100: layer (LayerParameter, since 2015)
    V1LayerParameter 4: name   6: blobs
    LayerParameter   1: name   7: blobs
    BlobProto        1-4: num, channels, height, width (before 2015)    7: shape   5: data (float)   8: double data
    BlobShape        1: dim

Source: https://protobuf.dev/programming-guides/encoding/ and BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from src.errors import UserError

Blob = Float32[np.ndarray, "..."]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_caffemodel(path: str | Path) -> dict[str, list[Blob]]:
    """Weights by layer name: [weight, bias] of every layer that has any, in the file's order.

    Convolutions are (outputs, inputs, height, width); fully connected layers are (outputs, inputs), with ones in front
    in files from before 2015, as are biases.

    Raises:
        UserError: if the file is missing or is no .caffemodel.
    """
    try:
        buffer = memoryview(Path(path).read_bytes())
        layers = [
            layer(value, *((4, 6) if number == 2 else (1, 7)))
            for number, value in fields(buffer)
            if number in (2, 100) and isinstance(value, memoryview)
        ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no .caffemodel, or cut short ({error}); fetch it again") from error
    weights = {name: blobs for name, blobs in layers if blobs}
    if not weights:
        raise UserError(f"{path}: holds no weights; is it a .caffemodel?")
    return weights


def fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field of a message; the bytes of a value where it is no varint."""
    position = 0
    while position < len(buffer):
        key, position = varint(buffer, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = varint(buffer, position)
            yield number, value
            continue
        if wire_type == BYTES:
            length, position = varint(buffer, position)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + length > len(buffer):
            raise ValueError(f"a field of {length} bytes ends after the file")
        yield number, buffer[position : position + length]
        position += length


def varint(buffer: memoryview, position: int) -> tuple[int, int]:
    """Seven bits a byte, lowest first, the eighth says that more follow; the value and where it ends."""
    value = shift = 0
    while True:
        byte = buffer[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {position}")


def layer(buffer: memoryview, name_field: int, blob_field: int) -> tuple[str, list[Blob]]:
    """Name and weights of a layer."""
    name, blobs = "", []
    for number, value in fields(buffer):
        if isinstance(value, memoryview):
            if number == name_field:
                name = bytes(value).decode()
            elif number == blob_field:
                blobs.append(blob(value))
    return name, blobs


def blob(buffer: memoryview) -> Blob:
    """An array, whichever way its shape and numbers are written."""
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}
    shape: list[int] | None = None
    data: list[np.ndarray] = []
    for number, value in fields(buffer):
        if isinstance(value, int):
            legacy[number] = value
        elif number == 7:
            shape = dimensions(value)
        elif number in (5, 8):  # packed, or one field a number: both are runs of bytes
            data.append(np.frombuffer(value, "<f4" if number == 5 else "<f8"))
    numbers = np.concatenate(data).astype(np.float32) if data else np.zeros(0, np.float32)
    return numbers.reshape([legacy[axis] for axis in (1, 2, 3, 4)] if shape is None else shape)


def dimensions(buffer: memoryview) -> list[int]:
    """The dims of a BlobShape, packed or one field each."""
    sizes = []
    for number, value in fields(buffer):
        if number != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        position = 0
        while position < len(value):
            size, position = varint(value, position)
            sizes.append(size)
    return sizes
