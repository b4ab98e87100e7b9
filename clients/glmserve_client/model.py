"""What a server has and what it counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What requests to a model may ask for; the manual is `Capabilities` in model.proto."""

    images: bool
    tools: bool
    tool_choice_required: bool
    reasoning: bool
    logprobs: bool
    json_object: bool
    json_schema: bool
    seed: bool
    penalties: bool
    logit_bias: bool
    min_p: bool
    top_k: bool
    repetition_penalty: bool
    ignore_eos: bool
    max_choices: int
    prompts: bool
    sampling: bool
    parallel_tool_calls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a server answers with. What is None is told over gRPC alone."""

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
