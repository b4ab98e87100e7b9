"""A small ChatGLM-6B file of random weights: every id of a prompt changes its answer."""

import dataclasses
import math
import random
import struct
from array import array
from pathlib import Path

from glmserve_server.engines.chatglm import architecture, modelfile


def write_random_chatglm(path: Path, like: Path) -> Path:
    """Writes one with the tokenizer of another file of the family."""
    model = modelfile.read(like)
    config = dataclasses.replace(
        model.config,
        hidden_size=64,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_hidden_layers=2,
        intermediate_size=256,
    )
    generator = random.Random(7)
    numbers = (0, config.vocab_size, 64, 2, 2, 2, 256, 1e-5, 0, 1e4, config.max_length, config.eos_token_id, 3)
    with path.open("wb") as file:
        file.write(struct.pack("<4sii7ififiii", b"ggml", model.family.number, 2, *numbers))
        file.write(struct.pack("<i", len(model.tokenizer)) + model.tokenizer)
        for name, shape in architecture.tensors(model.family, config):
            file.write(struct.pack("<i", len(name)) + name.encode())
            file.write(struct.pack(f"<{len(shape) + 2}i", len(shape), *shape, 0))
            file.write(bytes(-file.tell() % 16))
            middle = float("norm.weight" in name)
            wide = 0.2 if "embeddings" in name else 2.0
            file.write(array("f", (generator.gauss(middle, wide) for _ in range(math.prod(shape)))).tobytes())
    return path
