"""The TFRecord format: how a shard holds records, as TensorFlow's `record_writer` defines it.

Here, so that writing shards to any of Beam's filesystems takes neither TensorFlow nor a copy.
"""

from __future__ import annotations

import struct

import google_crc32c

_MASK_DELTA = 0xA282EAD8


def frame(record: bytes) -> bytes:
    """One record as a TFRecord file has it: length, its checksum, the record, its checksum."""
    length = struct.pack("<Q", len(record))
    return length + _masked_crc(length) + record + _masked_crc(record)


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted, so that a checksum over checksums stays a good one."""
    crc = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return struct.pack("<I", masked)
