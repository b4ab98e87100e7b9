"""What `glmserve inspect` shows of a GGUF file."""

from glmserve_server.engines.llama.dialect import dialect_of, family_of
from glmserve_server.engines.llama.engine import capabilities_of
from glmserve_server.engines.llama.ggufheader import GgufHeader, Value
from glmserve_server.engines.llama.templated import Template


def record_of(header: GgufHeader) -> dict[str, Value]:
    """What it is and how it would be spoken to, for people and as JSON; sizes in bytes. Raises `ModelBroken`."""
    dialect, template = dialect_of(header), Template(header)
    capabilities = capabilities_of(template, dialect)
    return {
        "file": str(header.path),
        "format": "GGUF",
        "engine": "llama",
        "size": header.size,
        "architecture": header.architecture,
        "name": header.values.get("general.name", ""),
        "tensors": header.tensors,
        "layers": header.number("block_count"),
        "context_length": header.number("context_length"),
        "vocabulary": header.lengths.get("tokenizer.ggml.tokens", 0),
        "prompts": _prompts(template) if dialect is None else f"{_name(header)} dialect",
        "tools": capabilities.tools,
        "reasoning": capabilities.reasoning,
    }


def _prompts(template: Template) -> str:
    return "its own chat template" if template.known else "llama.cpp's plain template: the file has none"


def _name(header: GgufHeader) -> str:
    family = family_of(header)
    return family.name.lower() if family else "glm4"
