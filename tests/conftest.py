"""The servers and callers that tests share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from able import Able
from faces import Face, opened
from running import MODEL, SEEING, Glmserve, llama_server, relayed, smollm2_server


@pytest.fixture(scope="session")
def server() -> Iterator[Glmserve]:
    """A server with Envoy, the embedded model and the scripted engine. Tests leave it as they found it."""
    with Glmserve("up", "--model", MODEL, "--model", "scripted") as running:
        yield running


@pytest.fixture(scope="session")
def relay(server: Glmserve) -> Iterator[Glmserve]:
    """A server whose models are those of `server`. Tests leave it as they found it."""
    with relayed(server, MODEL, "scripted") as running:
        yield running


@pytest.fixture(scope="session")
def batched() -> Iterator[Glmserve]:
    """A server that runs the embedded model with llama.cpp. Tests leave it as they found it."""
    with llama_server("--model", MODEL, "--model", "scripted") as running:
        yield running


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Glmserve]:
    """A server that runs SmolLM2 with llama.cpp by the embedded model's name. Tests leave it as they found it."""
    with smollm2_server("--model", "scripted", "--context-length", "2048") as running:
        yield running


@pytest.fixture(scope="session")
def demo() -> Iterator[Glmserve]:
    """A server with the embedded models, the scripted one, and `able`, which lives elsewhere."""
    with Able() as able:
        models = [flag for model in (MODEL, SEEING, "scripted") for flag in ("--model", model)]
        with Glmserve("up", "--workers", "1", *models, "--upstream", f"able={able.url}") as running:
            yield running


@pytest.fixture(params=["grpc", "http"])
def face(request: pytest.FixtureRequest, server: Glmserve) -> Iterator[Face]:
    """Both ways to `server`, one after the other."""
    with opened(request.param, server) as way:
        yield way


@pytest.fixture(params=["grpc", "http"])
def way(request: pytest.FixtureRequest) -> Callable[[Glmserve], AbstractContextManager[Face]]:
    """Opens both ways to a server of the test's own, one after the other."""
    return lambda server: opened(request.param, server)
