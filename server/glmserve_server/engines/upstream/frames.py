"""What comes over an HTTP/2 connection, cut into frames."""

from typing import Final

_HEAD: Final = 9
_GOAWAY: Final = 7


class Frames:
    """Takes out GOAWAY, by which a server announces that it will close. For h2 that ends the connection at once, but
    the streams up to the last one that it names go on to their ends."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of a frame's content."""
        self._most = most
        self._partial = bytearray()
        self.last_stream: int | None = None
        """The last stream that the server goes on with, once it has said so."""

    def taken(self, data: bytes) -> tuple[bytes, int]:
        """The whole frames now here, without GOAWAY, and how many came. Raises `ValueError` if one is too large."""
        self._partial += data
        frames = bytearray()
        begin = count = 0
        while len(self._partial) >= begin + _HEAD:
            size = int.from_bytes(self._partial[begin : begin + 3], "big")
            if size > self._most:
                raise ValueError(f"a frame of {size} bytes, which is more than {self._most}")
            end = begin + _HEAD + size
            if len(self._partial) < end:
                break
            if self._partial[begin + 3] == _GOAWAY:
                self._note(self._partial[begin + _HEAD : end])
            else:
                frames += self._partial[begin:end]
            begin, count = end, count + 1
        del self._partial[:begin]
        return bytes(frames), count

    def _note(self, content: bytearray) -> None:
        if len(content) < 8:
            raise ValueError("a GOAWAY without a stream")
        self.last_stream = int.from_bytes(content[:4], "big") & 0x7FFF_FFFF
