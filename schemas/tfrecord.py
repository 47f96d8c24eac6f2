"""The TFRecord format: how a shard holds records, as TensorFlow's `record_writer` defines it.

Here, so that writing and reading shards on any of Beam's filesystems takes neither TensorFlow nor a
copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from schemas import SchemaError

MAX_BYTES = 1 << 30
"""No record is as large; a length beyond it is damage, and no memory is asked for."""

FRAMING = 16
"""Bytes that a file holds of each record beside the record itself."""

_MASK_DELTA = 0xA282EAD8


def frame(record: bytes) -> bytes:
    """One record as a TFRecord file has it: length, its checksum, the record, its checksum."""
    length = struct.pack("<Q", len(record))
    return length + _masked_crc(length) + record + _masked_crc(record)


def read(file: BinaryIO, offset: int = 0) -> Iterator[bytes]:
    """The records of a TFRecord file, from where the file stands to its end, checksums checked.

    Args:
        file: gives as many bytes as it is asked for, but at its end.
        offset: where the file stands, for the messages.

    Raises:
        SchemaError: damaged or cut off there; the message names the offset of the first record that
            can't be read. Those before it are sound, those after it can't be found.
    """
    while head := file.read(12):
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
        if len(head) == 12 and (_masked_crc(head[:8]) != head[8:] or length > MAX_BYTES):
            raise SchemaError(f"the record at byte {offset} is damaged: its length is wrong")
        record, checksum = file.read(length), file.read(4)
        if len(head) < 12 or len(record) < length or len(checksum) < 4:
            raise SchemaError(f"the record at byte {offset} is cut off")
        if _masked_crc(record) != checksum:
            raise SchemaError(f"the record at byte {offset} is damaged: its checksum is wrong")
        yield record
        offset += length + FRAMING


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted, so that a checksum over checksums stays a good one."""
    crc = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)
