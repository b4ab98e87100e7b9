"""What a server has and what it counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What requests to a model may ask for; the manual is `Capabilities` in model.proto. What is not said is false."""

    images: bool = False
    tools: bool = False
    tool_choice_required: bool = False
    reasoning: bool = False
    logprobs: bool = False
    json_object: bool = False
    json_schema: bool = False
    seed: bool = False
    penalties: bool = False
    logit_bias: bool = False
    min_p: bool = False
    top_k: bool = False
    repetition_penalty: bool = False
    ignore_eos: bool = False
    max_choices: int = 1
    prompts: bool = False
    sampling: bool = False
    parallel_tool_calls: bool = False
    strict_tools: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a server answers with. What is None the server does not say; those of this project say it."""

    id: str
    created: int
    """When the server loaded it, in seconds since 1970."""
    owned_by: str
    aliases: tuple[str, ...] = ()
    engine: str | None = None
    """The kind of engine that runs it: `chatglm`, `scripted`, …"""
    context_length: int | None = None
    """The most tokens that prompt and answer may have together."""
    capabilities: Capabilities | None = None
    fault: str = ""
    """Why it cannot be run at present; empty: it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """The size of a conversation, as the model would read it."""

    prompt_tokens: int
    context_length: int
    """The most tokens that prompt and answer may have together."""
    token_ids: tuple[int, ...] = ()
    """The prompt's, if asked for."""
