"""Puts the server together: the one place that knows every part."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from glmserve.v1 import chat_pb2_grpc, model_pb2_grpc, openai_pb2_grpc, token_pb2_grpc
from glmserve_gateway.envoy import Envoy
from glmserve_gateway.envoy import EnvoyError as EdgeError
from glmserve_gateway.ready import write_ready_file
from glmserve_gateway.service import OpenAIServicer
from glmserve_server.catalogue import Catalogue, Entry
from glmserve_server.chat import Chat
from glmserve_server.engines.chatglm.engine import ChatGlmEngine, ChatGlmOptions
from glmserve_server.engines.chatglm.sampling import GREEDY, SamplingDefaults
from glmserve_server.engines.scripted import ScriptedEngine
from glmserve_server.engines.upstream.engine import UpstreamEngine
from glmserve_server.engines.upstream.options import UpstreamOptions
from glmserve_server.errors import ModelUnavailable
from glmserve_server.images.hosts import Hosts
from glmserve_server.machine import available_cpus
from glmserve_server.server import Server
from glmserve_server.services import ChatServicer, ModelServicer, TokenServicer
from glmserve_server.settings import Settings

__all__ = ["EMBEDDED", "EdgeError", "Envoy", "build_edge", "build_entry", "build_server", "write_ready_file"]

EMBEDDED: Final = {path.stem: path for path in (Path(__file__).parent / "embedded").glob("*.bin")}
"""The models that come with the server, by name."""


_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (where to reach what listens everywhere)


def build_server(settings: Settings) -> Server:
    """A server with all that the settings name, not yet started.

    Raises `ModelUnavailable` for a model that cannot be served, `AddressInUse` for the port.
    """
    entries = [build_entry(name, settings) for name in settings.models]
    catalogue = Catalogue([*entries, *map(_upstream, settings.upstreams)])
    chat = Chat(catalogue, time_limit=settings.time_limit, refuse_unsupported=settings.unsupported == "refuse")
    return Server(
        host=settings.host,
        port=settings.grpc_port,
        services=_services(chat),
        catalogue=catalogue,
        cut_short=chat.cut_short,
        stall_limit=settings.stall_limit,
        drain_delay=settings.drain_delay,
        grace=settings.grace,
    )


def build_edge(settings: Settings, server: Server) -> Envoy:
    """Envoy in front of a server on this machine, not yet started; starting raises `EdgeError`."""
    address = f"{_LOOPBACK[settings.host]}:{server.port}" if settings.host in _LOOPBACK else server.address
    return Envoy(grpc=[address], host=settings.host, port=settings.port)


def build_entry(name: str, settings: Settings) -> Entry:
    """A model by its name or its file, checked, not yet started. Raises `ModelUnavailable`."""
    if name == ScriptedEngine.kind:
        return Entry(id=name, engine=ScriptedEngine())
    if name in EMBEDDED:
        return _chatglm(name, EMBEDDED[name], GREEDY, settings)  # a very small model is at its best so
    path = Path(name)
    if not path.is_file():
        known = ", ".join([*sorted(EMBEDDED), ScriptedEngine.kind])
        raise ModelUnavailable(f"{name}: neither a model file nor one of: {known}")
    return _chatglm(path.stem, path, None, settings)


def _upstream(options: UpstreamOptions) -> Entry:
    return Entry(id=options.name, engine=UpstreamEngine(options), note=f"at {', '.join(options.urls)}")


def _services(chat: Chat) -> list[tuple[str, Callable[[grpc.aio.Server], None]]]:
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
            lambda server: openai_pb2_grpc.add_OpenAIServiceServicer_to_server(OpenAIServicer(chat), server),
        ),
    ]


def _chatglm(name: str, path: Path, sampling: SamplingDefaults | None, settings: Settings) -> Entry:
    sharers = sum(model != ScriptedEngine.kind for model in settings.models)
    options = ChatGlmOptions(
        workers=settings.workers,
        threads=settings.threads,
        cpus=max(1, available_cpus() // sharers),
        context_length=settings.context_length,
        queue_limit=settings.queue_limit,
        stall_limit=settings.stall_limit,
        silence_limit=settings.silence_limit,
        prefix_reuse=settings.prefix_reuse,
        image_hosts=Hosts.of(settings.image_hosts),
        sampling=sampling,
    )
    engine = ChatGlmEngine(path, options)
    return Entry(id=name, engine=engine, note=engine.plan.reason)
