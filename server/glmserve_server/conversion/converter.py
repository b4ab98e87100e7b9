"""Runs chatglm.cpp's own converter (`chatglm_cpp.convert` 0.4.2): it loads a model with transformers, in float32 and
with the code that the model brings, and writes its tensors one by one.

Its progress bar, its table on standard output and the silence about weights that a checkpoint lacks are replaced here.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, BinaryIO, Final

from glmserve_server.conversion.errors import ConversionError
from glmserve_server.conversion.kind import Kind

_NEEDED: Final = ("torch", "transformers", "tabulate", "tqdm")
_INSTALL: Final = "pip install 'glmserve-server[convert]'"
_LOADERS: Final = ("AutoModel", "AutoModelForCausalLM")
_QUIET: Final = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
_MOST_REASON: Final = 300

OnTensor = Callable[[int, int], None]
"""Told how many tensors are written, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the converter is to do; names are paths, or names on the hub."""

    source: str
    lora: str | None
    kind: Kind
    vision_kind: Kind
    verbose: bool = False


def check_packages(*, lora: bool) -> None:
    """Raises `ConversionError` if a package is missing, or cannot load these models."""
    needed = [*_NEEDED, *(["peft"] if lora else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ConversionError(f"converting needs {', '.join(missing)}: {_INSTALL}")
    if int(version("transformers").split(".")[0]) != 4:
        raise ConversionError(
            f"transformers {version('transformers')} cannot run the code of GLM models, only versions 4 can: {_INSTALL}"
        )


def run_converter(work: Work, file: BinaryIO, on_tensor: OnTensor) -> None:
    """Runs the code of the model and writes the model file. Raises `ConversionError` for whatever goes wrong in it."""
    watch = _Watch(on_tensor)
    try:
        with _quiet(verbose=work.verbose):
            library = importlib.import_module("chatglm_cpp.convert")
            with _watched(library, watch):
                library.convert(file, work.source, work.lora, work.kind.value, work.vision_kind.value)
    except ConversionError:
        raise
    except Exception as error:  # the library and the model's code can raise anything
        raise ConversionError(_reason(error, work, watch)) from error


class _Watch:
    """Stands for tqdm in the library: knows which tensor is being written."""

    def __init__(self, on_tensor: OnTensor) -> None:
        self._on_tensor = on_tensor
        self.tensor: str | None = None

    def __call__(self, tensors: Sequence[Any], **_: object) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            self._on_tensor(done, len(tensors))
            self.tensor = tensor.name
            yield tensor
        self.tensor = None
        self._on_tensor(len(tensors), len(tensors))


class _CompleteLoader:
    """Stands for a class of transformers that loads models: refuses a checkpoint that lacks weights, which transformers
    makes up at random with no more than a warning."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def from_pretrained(self, name: str, **options: Any) -> Any:
        model, info = self._loader.from_pretrained(name, output_loading_info=True, **options)
        if lacking := sorted({name for name, _ in model.named_parameters()} & set(info["missing_keys"])):
            raise ConversionError(f"{name} is not complete: it lacks {len(lacking)} tensors, the first is {lacking[0]}")
        return model


@contextlib.contextmanager
def _watched(library: Any, watch: _Watch) -> Iterator[None]:
    replaced = {"tqdm": watch} | {name: _CompleteLoader(getattr(library, name)) for name in _LOADERS}
    originals = {name: getattr(library, name) for name in replaced}
    try:
        vars(library).update(replaced)
        yield
    finally:
        vars(library).update(originals)


@contextlib.contextmanager
def _quiet(*, verbose: bool) -> Iterator[None]:
    """Standard output belongs to the card: what the library prints there is dropped, or goes to standard error."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr if verbose else io.StringIO()))
        if not verbose:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            os.environ |= _QUIET
        yield


def _reason(error: Exception, work: Work, watch: _Watch) -> str:
    """The first line of an error; of a failed assertion without a text, the assertion."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines and (frames := traceback.extract_tb(error.__traceback__)):
        lines = [frames[-1].line or ""]
    text = f"{type(error).__name__}: {' '.join(lines[:1])}"[:_MOST_REASON]
    place = f" at the tensor {watch.tensor}" if watch.tensor else ""
    return f"{work.source} could not be converted{place}: {text} (--verbose shows more)"
