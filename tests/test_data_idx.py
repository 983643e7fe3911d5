"""Reading IDX files: the format, and one clear line for every way a file can be wrong."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data.idx import pack_idx, read_idx

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 3), dtype=np.uint8)
RAW = pack_idx(PIXELS)


def one_line(caught: pytest.ExceptionInfo[Exception], path: Path) -> str:
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    for part in ("expected", "found", "make data"):
        assert part in message
    return message


def test_the_header_is_lecuns() -> None:
    assert RAW[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 3])
    assert pack_idx(np.array([5, 0], np.uint8)) == bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0])
    assert len(RAW) == 16 + PIXELS.size


@pytest.mark.parametrize("content", [RAW, gzip.compress(RAW, mtime=0)])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_what_was_packed_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = read_idx(path, shape=(7, 4, 3), sha256=hashlib.sha256(RAW).hexdigest())
    np.testing.assert_array_equal(found, PIXELS)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(read_idx(str(path)), PIXELS)


DAMAGED = bytearray(gzip.compress(RAW, mtime=0))
DAMAGED[40] ^= 0xFF


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "magic"),
        (RAW[:2], "magic"),
        (RAW[:9], "expected 16 bytes"),
        (RAW[:-1], "expected 100 bytes for shape (7, 4, 3), found 99"),
        (RAW + b"\0", "found 101"),
        (b"\0\0\x0d\x03" + RAW[4:], "found 00000d03"),
        (b"<!DOCTYPE html><p>404</p>", "magic"),
        (gzip.compress(RAW, mtime=0)[:60], "cut off after 60 bytes"),
        (gzip.compress(RAW, mtime=0)[:5], "cut off after 5 bytes"),
        (gzip.compress(RAW[:-1], mtime=0), "found 99"),
        (gzip.compress(RAW, mtime=0)[:-8] + bytes(8), "damaged"),
        (bytes(DAMAGED), "damaged"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_idx(path)
    assert reason in one_line(caught, path)


def test_a_missing_file_gets_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    with pytest.raises(FileNotFoundError) as caught:
        read_idx(path)
    one_line(caught, path)


def test_another_shape_or_content_gets_one_line(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(RAW)
    with pytest.raises(ValueError) as caught:
        read_idx(path, shape=(7, 4, 4))
    assert "(7, 4, 4)" in one_line(caught, path)
    with pytest.raises(ValueError) as caught:
        read_idx(path, sha256="0" * 64)
    assert hashlib.sha256(RAW).hexdigest() in one_line(caught, path)
