"""LangChain's standard tests of chat models, run with `langchain-openai` against the edge."""

import types
import warnings
from typing import Any

import pytest
from programs import EXAMPLES
from running import MODEL, Glmserve

with warnings.catch_warnings():  # theirs are not ours
    warnings.simplefilter("ignore")
    langchain_openai = pytest.importorskip("langchain_openai", reason="left out: langchain-openai is not installed")
    standard = pytest.importorskip("langchain_tests.integration_tests", reason="left out: no langchain-tests")

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.asyncio(loop_scope="module"),  # it keeps connections from one test to the next
]


@pytest.fixture
def benchmark() -> None:
    """Named by a test that needs recordings, which is left out."""


@pytest.fixture
def vcr() -> None:
    """As `benchmark`."""


class Downloaded:
    content = (EXAMPLES / "red-circle.png").read_bytes()


Base: Any = standard.ChatModelIntegrationTests


class Standard(Base):  # type: ignore[misc]
    """What every model here can do."""

    name = ""
    url = ""
    supports_model_override = True
    model_override_value = "scripted"
    chat_model_class = langchain_openai.ChatOpenAI

    @pytest.fixture(autouse=True)
    def _offline(self, demo: Glmserve, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests download a picture from far away."""
        self.url = demo.openai_url
        monkeypatch.setattr("httpx.get", lambda _, **__: Downloaded())

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "base_url": self.url,
            "api_key": "none",
            "temperature": 0,
            "max_retries": 0,
            "stream_usage": True,
        }


class TestAble(Standard):
    """A model that does what it is asked."""

    name = "able"
    supports_json_mode = True
    supports_image_inputs = True


def beyond_it(test: Any) -> Any:
    """One of the standard tests that the embedded model fails: the function it calls is new to it."""
    copy = types.FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__)
    copy.__kwdefaults__ = test.__kwdefaults__
    copy.__dict__.update(test.__dict__)
    return pytest.mark.xfail(reason="writes arguments that are not JSON, or other ones than were asked for")(copy)


class TestEmbedded(Standard):
    """The embedded model: it calls functions of the kinds that it was taught, and fills in no other forms."""

    name = MODEL
    has_structured_output = False

    test_tool_calling = beyond_it(Standard.test_tool_calling)
    test_tool_calling_async = beyond_it(Standard.test_tool_calling_async)
    test_tool_calling_with_no_arguments = beyond_it(Standard.test_tool_calling_with_no_arguments)
    test_unicode_tool_call_integration = beyond_it(Standard.test_unicode_tool_call_integration)
