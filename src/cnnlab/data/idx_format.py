"""The IDX format of MNIST: two zero bytes, a type, the number of axes, big-endian sizes, values."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import LARGEST

TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype("u1"), 0x0C: np.dtype(">i4")}


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array of an IDX file, plain or gzip: unsigned bytes, or big-endian whole numbers of four bytes.

    No more is unpacked than the header claims, and no more than `LARGEST` bytes. Raises FileNotFoundError, or
    ValueError for a file that is cut off or of another format, in one line.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _parsed(gzip.GzipFile(fileobj=file) if packed else file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected an IDX file, found none") from None
    except EOFError:
        size = Path(path).stat().st_size
        raise ValueError(f"{path}: expected a whole gzip file, found one cut off after {size} bytes") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a sound gzip file, found a damaged one ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def pack_idx(array: NDArray[np.uint8]) -> bytes:
    """The plain IDX bytes of a uint8 array: what `read_idx` reads."""
    return _header(array) + array.tobytes()


def plain_sha256(array: NDArray[Any]) -> str:
    """The SHA-256 (hex) of the plain IDX bytes of an array."""
    sha = hashlib.sha256(_header(array))
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _header(array: NDArray[Any]) -> bytes:
    code = next(code for code, kind in TYPES.items() if kind == array.dtype)
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()


def _parsed(stream: IO[bytes] | gzip.GzipFile) -> NDArray[Any]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        kinds = "000008.. (unsigned bytes) or 00000c.. (whole numbers)"
        raise ValueError(f"expected IDX magic {kinds}, found {magic.hex() or 'nothing'}")
    kind, sizes = TYPES[magic[2]], stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"expected a header of {4 + 4 * magic[3]} bytes, found {4 + len(sizes)}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    size = kind.itemsize * math.prod(shape)
    if size > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes of values, found a header that claims {size}")
    values = stream.read(size + 1)
    if len(values) != size:
        found = "more" if values[size:] else len(values)
        raise ValueError(f"expected {size} bytes of values for shape {shape}, found {found}")
    return np.frombuffer(values, kind).reshape(shape)
