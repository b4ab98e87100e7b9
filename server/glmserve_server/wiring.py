"""Puts the server together: the one place that knows every part."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from glmserve.v1 import chat_pb2_grpc, model_pb2_grpc, openai_pb2_grpc, token_pb2_grpc
from glmserve_gateway.envoy import Envoy
from glmserve_gateway.envoy import EnvoyError as EdgeError
from glmserve_gateway.ready import write_ready_file
from glmserve_gateway.service import OpenAIServicer, worded
from glmserve_server.bundled import BUNDLED, EMBEDDED, REQUANTIZED
from glmserve_server.catalogue import Catalogue, Entry
from glmserve_server.chat import Chat
from glmserve_server.engines.chatglm.engine import ChatGlmEngine, ChatGlmOptions
from glmserve_server.engines.chatglm.sampling import GREEDY, SamplingDefaults
from glmserve_server.engines.chatglm.settings import ChatGlmSettings
from glmserve_server.engines.engine import Engine
from glmserve_server.engines.llama import cache, ggufparts
from glmserve_server.engines.llama.batch import Limits
from glmserve_server.engines.llama.engine import LlamaEngine, LlamaOptions
from glmserve_server.engines.llama.settings import LlamaSettings
from glmserve_server.engines.scripted import ScriptedEngine
from glmserve_server.engines.settings import ModelSettings, ScriptedSettings
from glmserve_server.engines.upstream.engine import UpstreamEngine
from glmserve_server.engines.upstream.options import UpstreamOptions
from glmserve_server.errors import ModelUnavailable
from glmserve_server.images.hosts import Hosts
from glmserve_server.interceptor import CallInterceptor
from glmserve_server.keys import Keys
from glmserve_server.machine import available_cpus, available_memory
from glmserve_server.metrics import Metrics
from glmserve_server.plan import Budget, divided
from glmserve_server.server import Server
from glmserve_server.services import ChatServicer, ModelServicer, TokenServicer
from glmserve_server.settings import Settings

__all__ = ["EdgeError", "Envoy", "build_edge", "build_engine", "build_server", "reachable", "write_ready_file"]

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (where to reach what listens everywhere)


def build_server(settings: Settings, progress: Callable[[Entry, float], None]) -> Server:
    """A server with all that the settings name, not yet started; `progress` is told of each model that has loaded or
    failed. Raises `AddressInUse` for the port."""
    budget = Budget(available_memory)
    entries = [
        Entry(model, partial(build_engine, model, settings, cpus=cpus, budget=budget))
        for model, cpus in zip(settings.models, _cpus(settings.models), strict=True)
    ]
    catalogue = Catalogue(entries, budget)
    metrics = Metrics(entries)
    refuse = settings.unsupported == "refuse"
    chat = Chat(catalogue, refuse_unsupported=refuse)
    return Server(
        host=settings.host,
        port=settings.grpc_port,
        services=_services(chat, refuse_unsupported=refuse),
        catalogue=catalogue,
        progress=progress,
        cut_short=chat.cut_short,
        max_body_mib=settings.edge.max_body,
        calls=CallInterceptor(
            stall_limit=settings.stall_limit, keys=Keys(settings.api_keys), worded=worded, observe=metrics.observe
        ),
        metrics=metrics,
        metrics_port=settings.metrics_port,
        drain_delay=settings.drain_delay,
        grace=settings.grace,
    )


def build_edge(settings: Settings, server: Server) -> Envoy:
    """Envoy in front of a server on this machine, not yet started; starting raises `EdgeError`."""
    return Envoy(
        grpc=[reachable(server.address)],
        host=settings.host,
        port=settings.port,
        allow_origins=settings.edge.allow_origins,
        max_body_mib=settings.edge.max_body,
        access_log=settings.edge.access_log,
    )


def reachable(address: str) -> str:
    """Where this machine reaches what listens at an address."""
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"


def build_engine(model: ModelSettings, settings: Settings, *, cpus: int, budget: Budget) -> Engine:
    """A model's engine, its file checked, not yet started. Raises `ModelUnavailable`."""
    match model:
        case ChatGlmSettings():
            return _chatglm(model, settings, cpus, budget)
        case LlamaSettings():
            return _llama(model, settings, cpus, budget)
        case UpstreamOptions():
            return UpstreamEngine(model, Hosts.of(settings.image_hosts))
        case ScriptedSettings():
            return ScriptedEngine()
        case _:
            raise TypeError(f"no engine is called {model.engine!r}")


def _cpus(models: Sequence[ModelSettings]) -> list[int]:
    """The CPUs that each model may use; those that run elsewhere or nowhere need none."""
    wanted = {
        model.name: (model.workers if isinstance(model, ChatGlmSettings) else 1, model.threads)
        for model in models
        if isinstance(model, ChatGlmSettings | LlamaSettings)
    }
    shares = dict(zip(wanted, divided(available_cpus(), list(wanted.values())), strict=True))
    return [shares.get(model.name, 0) for model in models]


def _file_name(model: ChatGlmSettings | LlamaSettings) -> str:
    return str(model.file or model.name)


def _path(model: ChatGlmSettings | LlamaSettings) -> Path:
    name = _file_name(model)
    path = BUNDLED.get(name, Path(name))
    if not path.is_file():
        known = ", ".join([*sorted(BUNDLED), ScriptedSettings.engine])
        raise ModelUnavailable(f"{name}: neither a model file nor one of: {known}")
    return path


def _chatglm(model: ChatGlmSettings, settings: Settings, cpus: int, budget: Budget) -> ChatGlmEngine:
    options = ChatGlmOptions(
        workers=model.workers,
        threads=model.threads,
        cpus=cpus,
        budget=budget,
        context_length=model.context_length,
        queue_limit=model.queue_limit,
        stall_limit=settings.stall_limit,
        silence_limit=model.silence_limit,
        prefix_reuse=model.prefix_reuse,
        image_hosts=Hosts.of(settings.image_hosts),
        sampling=_sampling(model),
    )
    return ChatGlmEngine(_path(model), options)


def _llama(model: LlamaSettings, settings: Settings, cpus: int, budget: Budget) -> LlamaEngine:
    options = LlamaOptions(
        slots=model.slots,
        threads=model.threads,
        cpus=cpus,
        budget=budget,
        context_length=model.context_length,
        limits=Limits(queue=model.queue_limit, stall=settings.stall_limit, silence=model.silence_limit),
        prefix_reuse=model.prefix_reuse,
        sampling=_sampling(model),
        flash_attention=model.flash_attention,
        spin=model.spin,
        projector=model.projector,
        image_hosts=Hosts.of(settings.image_hosts),
    )
    faster = _file_name(model) in REQUANTIZED if model.requantize is None else model.requantize
    return LlamaEngine(ggufparts.read(cache.as_gguf(_path(model), faster=faster)), options)


def _sampling(model: ChatGlmSettings | LlamaSettings) -> SamplingDefaults | None:
    return GREEDY if _file_name(model) in EMBEDDED else None  # a very small model is at its best so


def _services(chat: Chat, *, refuse_unsupported: bool) -> list[tuple[str, Callable[[grpc.aio.Server], None]]]:
    openai = OpenAIServicer(chat, refuse_ignored=refuse_unsupported)
    return [
        (
            "glmserve.v1.ChatService",
            lambda server: chat_pb2_grpc.add_ChatServiceServicer_to_server(ChatServicer(chat), server),
        ),
        (
            "glmserve.v1.ModelService",
            lambda server: model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(chat), server),
        ),
        (
            "glmserve.v1.TokenService",
            lambda server: token_pb2_grpc.add_TokenServiceServicer_to_server(TokenServicer(chat), server),
        ),
        (
            "glmserve.v1.OpenAIService",
            lambda server: openai_pb2_grpc.add_OpenAIServiceServicer_to_server(openai, server),
        ),
    ]
