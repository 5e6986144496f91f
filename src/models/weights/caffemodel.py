"""Read Caffe's .caffemodel files, the format of the authors' released networks, without Caffe.

The file is one protobuf message, NetParameter of caffe.proto. A message is a sequence of fields; each begins with a
key, which is field number * 8 + wire type. Only the fields that hold names and weights are read:

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

from src.system.errors import UserError

Blob = Float32[np.ndarray, "..."]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_caffemodel(path: str | Path) -> dict[str, list[Blob]]:
    """Return the arrays of every layer that has weights, such as [weight, bias], by layer name in the file's order.

    Arrays are float32. A convolution's weight has shape (outputs, inputs, height, width), a fully connected layer's
    (outputs, inputs), and a bias (outputs,). In files from before 2015, all shapes are filled up to four axes with
    ones in front.

    Raises:
        UserError: if the file cannot be read or is not a .caffemodel file.
    """
    try:
        buffer = memoryview(Path(path).read_bytes())
        layers = [
            read_layer(value, *((4, 6) if number == 2 else (1, 7)))
            for number, value in read_fields(buffer)
            if number in (2, 100) and isinstance(value, memoryview)
        ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{path}: is not a .caffemodel file, or is incomplete ({error}); fetch it again") from error
    weights = {name: blobs for name, blobs in layers if blobs}
    if not weights:
        raise UserError(f"{path}: holds no weights; is it a .caffemodel?")
    return weights


def read_fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (number, value) of every field of a message; a value that is not a varint is given as its bytes."""
    position = 0
    while position < len(buffer):
        key, position = read_varint(buffer, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = read_varint(buffer, position)
            yield number, value
            continue
        if wire_type == BYTES:
            length, position = read_varint(buffer, position)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + length > len(buffer):
            raise ValueError(f"a field of {length} bytes ends after the file")
        yield number, buffer[position : position + length]
        position += length


def read_varint(buffer: memoryview, position: int) -> tuple[int, int]:
    """Return the integer that begins at ``position``, and the position after it.

    Each byte holds seven bits, the lowest first; its eighth bit says whether another byte follows.
    """
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


def read_layer(buffer: memoryview, name_field: int, blob_field: int) -> tuple[str, list[Blob]]:
    """Return the name and the arrays of a layer."""
    name, blobs = "", []
    for number, value in read_fields(buffer):
        if isinstance(value, memoryview):
            if number == name_field:
                name = bytes(value).decode()
            elif number == blob_field:
                blobs.append(read_blob(value))
    return name, blobs


def read_blob(buffer: memoryview) -> Blob:
    """Return an array; its shape may be written as before or since 2015, its numbers as float or double."""
    legacy = {1: 1, 2: 1, 3: 1, 4: 1}
    shape: list[int] | None = None
    data: list[np.ndarray] = []
    for number, value in read_fields(buffer):
        if isinstance(value, int):
            legacy[number] = value
        elif number == 7:
            shape = read_shape(value)
        elif number in (5, 8):  # one field for all numbers or for each: either way, their bytes follow each other
            data.append(np.frombuffer(value, "<f4" if number == 5 else "<f8"))
    numbers = np.concatenate(data).astype(np.float32) if data else np.zeros(0, np.float32)
    return numbers.reshape([legacy[axis] for axis in (1, 2, 3, 4)] if shape is None else shape)


def read_shape(buffer: memoryview) -> list[int]:
    """Return the dimensions of a BlobShape, which may be in one field or in one field each."""
    sizes = []
    for number, value in read_fields(buffer):
        if number != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        position = 0
        while position < len(value):
            size, position = read_varint(value, position)
            sizes.append(size)
    return sizes
