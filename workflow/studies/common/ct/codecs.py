"""JPEG of 12 bits, lossless JPEG and JPEG-LS by imagecodecs, and the size that a compressed frame declares.

This module is a plugin of pydicom's decoders: signs, unused bits and the division into frames stay pydicom's affair.
"""

import struct
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

_DECODERS = {
    uid.JPEGExtended12Bit: imagecodecs.jpeg8_decode,
    uid.JPEGLossless: imagecodecs.jpegsof3_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpegsof3_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
}
# What pydicom asks of a plugin: its requirements by transfer syntax.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("imagecodecs",))
_NAME = "imagecodecs"
# Starts of a frame in JPEG (T.81, table B.1) and JPEG-LS; 0xC4, 0xC8 and 0xCC are other segments.
_FRAME_STARTS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}
_JPEG_2000 = b"\xff\x4f\xff\x51"


def register() -> None:
    """Let pydicom decode through this module; a second call changes nothing."""
    for syntax in _DECODERS:
        decoder = get_decoder(syntax)
        if _NAME not in decoder.available_plugins:
            decoder.add_plugin(_NAME, (__name__, "decode_frame"))


def is_available(syntax: str) -> bool:
    """Whether this plugin decodes a transfer syntax (asked by pydicom)."""
    return syntax in _DECODERS


def decode_frame(src: bytes, runner: Any) -> bytearray:
    """Decode a frame's code stream to values in rows, little endian, of 8 or 16 bits (called by pydicom)."""
    frame = _DECODERS[runner.transfer_syntax](src)
    if frame.shape != (runner.rows, runner.columns):
        raise ValueError("the frame's size is not the header's")
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return bytearray(np.ascontiguousarray(frame, frame.dtype.newbyteorder("<")).tobytes())


def frame_size(src: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 code stream declares; None where it declares none.

    Seen before decoding, for decoders take the memory that a code stream asks for, whatever the DICOM header says.
    """
    if src[:2] != b"\xff\xd8":
        start = src.find(_JPEG_2000)
        if start < 0 or len(src) < start + 24:
            return None
        width, height, left, top = struct.unpack_from(">4I", src, start + 8)
        return height - top, width - left
    place = 2
    while place + 9 <= len(src) and src[place] == 0xFF:
        marker, length = src[place + 1], struct.unpack_from(">H", src, place + 2)[0]
        if marker in _FRAME_STARTS:
            rows, columns = struct.unpack_from(">2H", src, place + 5)
            return rows, columns
        place += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + length
    return None
