"""What is to be converted: a folder with a Hugging Face checkpoint, or a name on the hub. Runs none of its code.

A checkpoint of a GLM model brings its own Python code: `auto_map` in config.json and tokenizer_config.json names it,
as `module.Class`, or `owner/name--module.Class` for code that is taken from the hub.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glmserve_server.conversion.errors import ConversionError
from glmserve_server.conversion.kind import Kind
from glmserve_server.engines.chatglm.architecture import Family

_MODEL_TYPE: Final = "chatglm"
_HUB_NAME: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")
_LFS: Final = b"version https://git-lfs"
_MOST_CONFIG: Final = 16_000_000
"""Bytes: no config is as large."""
_MOST_TYPE: Final = 64
"""Characters of an unknown type that are worth reading."""
_LOADED_BITS: Final = 32
"""The converter loads all weights as float32."""
_VISION_SHARE: Final = 1 / 3
"""What GLM-4V-9B's vision tower has of its 13.9 billion parameters, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model to convert."""

    name: str
    """As transformers takes it: a path, or a name on the hub."""
    code: tuple[str, ...]
    """The Python code that converting it runs, as a person would look for it."""
    parameters: float | None = None
    """How many weights there are, estimated from the size of the files; None: not known before it is loaded."""
    vision: bool = False

    def size_as(self, kind: Kind, vision_kind: Kind) -> int | None:
        """About how many bytes the model file will have."""
        if self.parameters is None:
            return None
        share = _VISION_SHARE if self.vision else 0.0
        return int(self.parameters * (kind.bits * (1 - share) + vision_kind.bits * share) / 8)

    @property
    def loaded_size(self) -> int | None:
        """About how many bytes of memory the conversion needs."""
        return None if self.parameters is None else int(self.parameters * _LOADED_BITS / 8)


def source_of(name: str) -> Source:
    """Looks at what a name stands for. Raises `ConversionError` for what is no GLM model."""
    folder = Path(name)
    if folder.is_dir():
        return _folder_source(folder)
    if folder.exists():
        hint = ": it is a model file already" if _begins(folder, b"ggml") else ", not a folder with a checkpoint"
        raise ConversionError(f"{name} is a file{hint}")
    if not _HUB_NAME.fullmatch(name):
        raise ConversionError(f"{name}: no such folder")
    return Source(name=name, code=(f"all that https://huggingface.co/{name} holds",))


def check_lora(name: str) -> None:
    """Raises `ConversionError` for what is neither a folder with an adapter nor a name on the hub."""
    folder = Path(name)
    if folder.exists() and not (folder / "adapter_config.json").is_file():
        raise ConversionError(f"{name} is no LoRA adapter: it has no adapter_config.json")
    if not folder.exists() and not _HUB_NAME.fullmatch(name):
        raise ConversionError(f"{name}: no such folder")


def _folder_source(folder: Path) -> Source:
    config = _read_json(folder / "config.json")
    if config is None:
        raise ConversionError(f"{folder} is no Hugging Face checkpoint: it has no config.json")
    _check_type(folder, config)
    return Source(
        name=str(folder),
        code=tuple(_code(folder, config)),
        parameters=_weight_bytes(folder) * 8 / _stored_bits(config),
        vision=bool(config.get("vision_config")),
    )


def _check_type(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind == _MODEL_TYPE and _auto_map(config):
        return
    if kind == _MODEL_TYPE:
        raise ConversionError(f"{folder}: its config.json names no code (auto_map), and transformers has none for it")
    known = ", ".join(family.title for family in Family)
    hint = "; take the variant without -hf in its name" if kind in ("glm", "glm4v") else ""
    raise ConversionError(
        f"{folder}: models of the type {str(kind)[:_MOST_TYPE]!r} cannot be converted, only those of the type "
        f"{_MODEL_TYPE!r}: {known}{hint}"
    )


def _code(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """The folder's own modules, and the repositories on the hub that its configs name."""
    yield from sorted(path.name for path in folder.glob("*.py"))
    names = [*_auto_map(config), *_auto_map(_read_json(folder / "tokenizer_config.json") or {})]
    for repository in sorted({name.split("--")[0] for name in names if "--" in name}):
        yield f"https://huggingface.co/{repository}"


def _auto_map(config: dict[str, Any]) -> list[str]:
    """The classes that a config names; one entry may be a list, with None for what there is not."""
    entries = config.get("auto_map")
    values = entries.values() if isinstance(entries, dict) else ()
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [name for name in names if isinstance(name, str)]


def _weight_bytes(folder: Path) -> int:
    for pattern in _WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            break
    else:
        raise ConversionError(f"{folder} holds no weights: no file is called {' or '.join(_WEIGHTS)}")
    for file in files:
        if _begins(file, _LFS):
            raise ConversionError(f"{file} is only a pointer of Git LFS: run git lfs pull in {folder} first")
    return sum(file.stat().st_size for file in files)


def _stored_bits(config: dict[str, Any]) -> int:
    """Bits of one weight in the checkpoint."""
    if config.get("quantization_bit") in (4, 8):
        return int(config["quantization_bit"])
    return 32 if config.get("torch_dtype", config.get("dtype")) == "float32" else 16


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is no file."""
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_CONFIG:
            raise ConversionError(f"{path} is far too large for a config")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConversionError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ConversionError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(content, dict):
        raise ConversionError(f"{path} is damaged: it holds no JSON object")
    return content


def _begins(path: Path, with_bytes: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(with_bytes)) == with_bytes
    except OSError:
        return False
