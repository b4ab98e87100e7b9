"""The embedded model as a Hugging Face checkpoint with code of its own, as those of GLM-4 are.

The code is the least that chatglm.cpp's converter asks of it: a config, parameters of the right names, and a tokenizer
that knows its vocabulary's file. Nothing of it can compute an answer.
"""

import json
import struct
from pathlib import Path
from typing import Any

from glmserve_server.engines.chatglm import modelfile, vision
from glmserve_server.engines.chatglm.vision import Vision

CONFIG = """
from transformers import PretrainedConfig


class ChatGLMConfig(PretrainedConfig):
    model_type = "chatglm"
"""

MODEL = """
import torch
from transformers import PreTrainedModel

from .configuration_chatglm import ChatGLMConfig


class ChatGLMForConditionalGeneration(PreTrainedModel):
    config_class = ChatGLMConfig

    def __init__(self, config):
        super().__init__(config)
        for name, shape in config.shapes.items():
            *path, leaf = name.split(".")
            module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            module.register_parameter(leaf, torch.nn.Parameter(torch.empty(shape)))

    def _init_weights(self, module):
        pass
"""

TOKENIZER = """
import base64

import tiktoken
from transformers import PreTrainedTokenizer


class ChatGLM4Tokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.model"}

    def __init__(self, vocab_file, **options):
        with open(vocab_file) as file:
            pairs = [line.split() for line in file]
        ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
        self.vocab_file = vocab_file
        self.tokenizer = tiktoken.Encoding("glm4", pat_str=r"\\\\S+|\\\\s+", mergeable_ranks=ranks, special_tokens={})
        super().__init__(**options)

    @property
    def vocab_size(self):
        return self.tokenizer.n_vocab

    @property
    def eos_token_id(self):
        return self.tokenizer.n_vocab

    def get_vocab(self):
        return {str(rank): rank for rank in range(self.vocab_size)}
"""

CODE = {"configuration_chatglm.py": CONFIG, "modeling_chatglm.py": MODEL, "tokenization_chatglm.py": TOKENIZER}

AUTO_MAP = {
    "AutoConfig": "configuration_chatglm.ChatGLMConfig",
    "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
}
TOKENIZER_CONFIG = {"auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLM4Tokenizer", None]}}


def write_checkpoint(folder: Path, model: Path) -> None:
    """Writes the checkpoint of a GLM-4 model file whose types are f32 and q8_0. Needs PyTorch."""
    import torch

    card = modelfile.read(model)
    write_code(folder, config_of(card))
    (folder / "tokenizer.model").write_bytes(card.tokenizer)
    torch.save(_weights(model.read_bytes(), card), folder / "pytorch_model.bin")


def add_vision(folder: Path, model: Path, tower: Vision) -> None:
    """Makes a GLM-4V checkpoint of a model file's: with a vision tower of zeros."""
    import torch

    config, weights = json.loads((folder / "config.json").read_text()), torch.load(folder / "pytorch_model.bin")
    shapes = {name: shape for name, shape, _ in vision.tensors(tower, modelfile.read(model).config)}
    weights |= {name: torch.zeros(shape) for name, shape in shapes.items()}
    config["shapes"] |= shapes
    config["vision_config"] = {
        "hidden_size": tower.hidden_size,
        "image_size": tower.image_size,
        "in_channels": tower.in_channels,
        "intermediate_size": tower.intermediate_size,
        "layer_norm_eps": tower.norm_eps,
        "num_heads": tower.num_attention_heads,
        "num_hidden_layers": tower.num_hidden_layers,
        "num_positions": tower.num_positions,
        "patch_size": tower.patch_size,
        "scaling_factor": tower.scaling_factor,
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "pytorch_model.bin")


def write_code(folder: Path, config: dict[str, Any]) -> None:
    """Writes what every checkpoint has beside the weights and the vocabulary."""
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    for name, code in CODE.items():
        (folder / name).write_text(code)


def config_of(card: modelfile.ModelFile) -> dict[str, Any]:
    """config.json with the names that THUDM's glm-4-9b-chat has, and `shapes` for the code above."""
    config = card.config
    assert config.rope_theta
    return {
        "model_type": "chatglm",
        "auto_map": AUTO_MAP,
        "torch_dtype": "float32",
        "tie_word_embeddings": False,
        "padded_vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "multi_query_group_num": config.num_key_value_heads,
        "kv_channels": config.hidden_size // config.num_attention_heads,
        "num_layers": config.num_hidden_layers,
        "ffn_hidden_size": config.intermediate_size,
        "layernorm_epsilon": config.norm_eps,
        "rope_ratio": config.rope_theta / 10000,
        "seq_length": config.max_length,
        "pad_token_id": config.eos_token_id,
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False,
        "multi_query_attention": True,
        "original_rope": True,
        "post_layer_norm": True,
        "rmsnorm": True,
        "shapes": {tensor.name: tensor.shape for tensor in card.tensors},
    }


def _weights(data: bytes, card: modelfile.ModelFile) -> dict[str, Any]:
    """All tensors in float32: q8_0 is, for 32 numbers, a float16 scale and as many int8."""
    import torch

    weights = {}
    for tensor in card.tensors:
        name = tensor.name.encode()
        start = data.index(struct.pack("<i", len(name)) + name) + 4 + len(name) + 4 * (2 + len(tensor.shape))
        start += -start % 16
        count = torch.Size(tensor.shape).numel()
        if tensor.dtype == "f32":
            values = torch.frombuffer(bytearray(data[start : start + 4 * count]), dtype=torch.float32)
        else:
            assert tensor.dtype == "q8_0"
            blocks = torch.frombuffer(bytearray(data[start : start + count // 32 * 34]), dtype=torch.int8).view(-1, 34)
            values = blocks[:, :2].contiguous().view(torch.float16).float() * blocks[:, 2:].float()
        weights[tensor.name] = values.reshape(tensor.shape)
    return weights
