"""Bytes of the structure."""

from __future__ import annotations

from .prediction import AdaptiveBit, CodeBit, Mixer, Recorder, bits_of, decode_with

_WORD = (1 << 32) - 1


class _Text:
    def __init__(self, primer: bytes) -> None:
        self._tables: list[dict[int, AdaptiveBit]] = [{} for _ in range(5)]
        self._mixer = Mixer(5)
        self._history = 0
        learned = Recorder()
        for byte in primer:
            learned.bits = bits_of(byte, 8)
            self.byte(learned)

    def byte(self, code: CodeBit) -> int:
        """One byte, predicted from the 0 to 4 bytes before it."""
        bases = [0] + [((self._history << 32 - 8 * n & _WORD) * 2654435761 + n) & _WORD for n in range(1, 5)]
        node = 1
        for _ in range(8):
            contexts = [
                table.setdefault(self._slot(base, node), AdaptiveBit())
                for table, base in zip(self._tables, bases, strict=True)
            ]
            probability, update = self._mixer.predict(contexts)
            bit = code(probability)
            update(bit)
            node = node << 1 | bit
        self._history = (self._history << 8 | node & 0xFF) & _WORD
        return node & 0xFF

    @staticmethod
    def _slot(base: int, node: int) -> int:
        mixed = (base + node) * 2246822519 & _WORD ^ base >> 15
        return (mixed * 2654435761 & _WORD) >> 16


def text_encode(text: bytes, primer: bytes) -> bytes:
    """Bytes, predicted by a model that has read ``primer`` before."""
    if not text:
        return b""
    model, recorder = _Text(primer), Recorder()
    for byte in text:
        recorder.bits = bits_of(byte, 8)
        model.byte(recorder)
    return recorder.bytes()


def text_decode(data: bytes, primer: bytes, count: int) -> bytes:
    """Inverse of :func:`text_encode`."""
    model = _Text(primer)
    return bytes(decode_with(data, lambda code: [model.byte(code) for _ in range(count)], count > 0))
