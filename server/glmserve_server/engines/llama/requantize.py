"""Turns matrices of a GGUF file into Q8_0 where llama.cpp multiplies their own type row by row, token by token.

A batch and a prompt want kernels that multiply a matrix by several tokens at once. On x86-64 with AVX2 it has them for
Q8_0, Q4_0, Q4_K, Q5_0, IQ4_NL and MXFP4 (ggml-cpu's `repack.cpp` and `llamafile/sgemm.cpp`). Q8_0 keeps the weights of
the types here to half a hundredth of their size, in up to three times as many bytes.
"""

import logging
import math
from pathlib import Path
from typing import Any, Final

from glmserve_server.engines.llama import ggufheader
from glmserve_server.engines.llama.packages import check_packages
from glmserve_server.errors import ModelBroken

_SLOW: Final = frozenset({"Q2_K", "Q3_K", "Q4_1", "Q5_1", "Q5_K", "Q6_K"})
_AT_ONCE: Final = 1 << 22
"""Weights that are unpacked at a time."""


def is_slow(source: Path) -> bool:
    """Whether the file has matrices that `requantize` would turn. Raises `ModelUnavailable`."""
    return any(_is_slow(tensor) for tensor in _opened(source).tensors)


def requantize(source: Path, target: Path) -> None:
    """Writes `target`: the same keys, and all other tensors as they are. Raises `ModelUnavailable`, and OSError."""
    reader = _opened(source)
    import gguf

    logging.getLogger("gguf").setLevel(logging.WARNING)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind, *items = field.types
            writer.add_key_value(field.name, field.contents(), kind, sub_type=items[-1] if items else None)
    for tensor in reader.tensors:
        kind, shape = tensor.tensor_type, tensor.data.shape
        if _is_slow(tensor):
            kind = gguf.GGMLQuantizationType.Q8_0
            shape = gguf.quants.quant_shape_to_byte_shape(tensor.shape[::-1].tolist(), kind)
        size = math.prod(shape) * tensor.data.itemsize
        writer.add_tensor_info(tensor.name, shape, tensor.data.dtype, size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        writer.write_tensor_data(_turned(tensor) if _is_slow(tensor) else tensor.data)
    writer.close()


def _opened(path: Path) -> Any:
    """gguf's reader of a file that is whole as far as its header says."""
    check_packages(str(path))
    import gguf

    if (parts := ggufheader.read(path).values.get("split.count", 1)) not in (0, 1):
        raise ModelBroken(f"{path}: requantize wants a whole file, not one of {parts} parts")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ModelBroken(f"{path}: the file is cut or damaged: {error}") from None


def _is_slow(tensor: Any) -> bool:
    return tensor.tensor_type.name in _SLOW


def _turned(tensor: Any) -> Any:
    """The matrix as Q8_0, a few rows at a time: unpacked it is eight times as large as it is packed."""
    import gguf
    import numpy

    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, _AT_ONCE // int(tensor.shape[0]))
    return numpy.concatenate(
        [
            gguf.quantize(gguf.dequantize(rows[at : at + step], tensor.tensor_type), gguf.GGMLQuantizationType.Q8_0)
            for at in range(0, len(rows), step)
        ]
    ).reshape(*tensor.data.shape[:-1], -1)
