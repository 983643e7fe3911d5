"""Reading IDX files: the format, and one clear line for every way a file can be wrong."""

import gzip
import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import idx_format
from cnnlab.data.idx_format import pack_idx, plain_sha256, read_idx

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 3), dtype=np.uint8)
RAW = pack_idx(PIXELS)


def one_line(caught: pytest.ExceptionInfo[Exception], path: Path) -> str:
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    for part in ("expected", "found"):
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
    found = read_idx(path)
    assert plain_sha256(found) == hashlib.sha256(RAW).hexdigest()
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
        (RAW[:9], "expected a header of 16 bytes, found 9"),
        (RAW[:-1], "expected 84 bytes of values for shape (7, 4, 3), found 83"),
        (RAW + b"\0", "found more"),
        (b"\0\0\x0c" + RAW[3:], "expected 336 bytes of values for shape (7, 4, 3), found 84"),
        (b"\0\0\x0d\x03" + RAW[4:], "found 00000d03"),
        (b"<!DOCTYPE html><p>404</p>", "magic"),
        (gzip.compress(RAW, mtime=0)[:60], "cut off after 60 bytes"),
        (gzip.compress(RAW, mtime=0)[:5], "cut off after 5 bytes"),
        (gzip.compress(RAW[:-1], mtime=0), "found 83"),
        (gzip.compress(RAW, mtime=0)[:-8] + bytes(8), "damaged"),
        pytest.param(bytes(DAMAGED), "damaged", id="a byte changed"),
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


def test_whole_numbers_of_four_bytes_are_read(tmp_path: Path) -> None:
    numbers = np.array([[1, -2], [70000, 4]], ">i4")
    path = tmp_path / "labels-idx2-int"
    path.write_bytes(bytes([0, 0, 0x0C, 2, 0, 0, 0, 2, 0, 0, 0, 2]) + numbers.tobytes())
    assert read_idx(path).tolist() == numbers.tolist()
    assert plain_sha256(read_idx(path)) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("claimed", [(7, 4, 3), (1000, 1000, 50)])
def test_no_more_is_unpacked_than_the_header_claims(tmp_path: Path, claimed: tuple[int, ...]) -> None:
    """200 MB of zeros in 200 kB, behind a header that claims less: what is held at once is what it claims."""
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(bytes([0, 0, 8, 3]) + np.array(claimed, ">u4").tobytes())
        for _ in range(200):
            file.write(bytes(10**6))
    size = int(np.prod(claimed))
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"expected {size} bytes of values" in one_line(caught, path) and "found more" in str(caught.value)
    assert peak < 2.1 * size + 10**6


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_no_header_may_claim_more_than_fits(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(bytes([0, 0, 8, 4]) + b"\xff" * 16 + bytes(99)))
    with pytest.raises(ValueError) as caught:
        read_idx(path)
    assert "expected at most 1073741824 bytes of values" in one_line(caught, path)


def test_the_limit_itself_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images"
    path.write_bytes(RAW)
    monkeypatch.setattr(idx_format, "LARGEST", PIXELS.size)
    assert read_idx(path).shape == (7, 4, 3)
    monkeypatch.setattr(idx_format, "LARGEST", PIXELS.size - 1)
    with pytest.raises(ValueError, match=r"a header that claims 84$"):
        read_idx(path)
