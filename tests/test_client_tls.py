"""Encrypted connections of the client, with certificates of the tests' own authority."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import FILES
from client_ways import opened
from test_client_faults import CHUNK, DONE, HEAD, Scripted, ScriptedChat, read

from glmserve.v1 import chat_pb2_grpc
from glmserve_client import Client, ConfigurationError, ConnectionFailed, GlmserveError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


class EncryptedScripted(Scripted):
    """A `Scripted` server behind TLS that wants a certificate of its callers."""

    def __init__(self, folder: Path, *scripts: bytes) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        super().__init__(*scripts)
        self.url = self.url.replace("http", "https", 1)

    def accept(self) -> Any:
        """A caller that was let in."""
        while True:
            try:
                return self._context.wrap_socket(super().accept(), server_side=True)
            except OSError:
                pass


@pytest.fixture(params=["grpcs", "https"])
def url(request: pytest.FixtureRequest, files: Path) -> Iterator[str]:
    """The address of an encrypted server that wants a certificate of its callers."""
    if request.param == "https":
        yield EncryptedScripted(files, HEAD + CHUNK + DONE).url
        return
    pair = ((files / "server.key").read_bytes(), (files / "server.pem").read_bytes())
    ca = (files / "ca.pem").read_bytes()
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        chat_pb2_grpc.add_ChatServiceServicer_to_server(ScriptedChat([]), server)
        credentials = grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield f"grpcs://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


@pytest.mark.parametrize("style", ["sync", "async"])
def test_both_ends_show_their_certificates(style: str, url: str, files: Path) -> None:
    options = {"ca": files / "ca.pem", "cert": str(files / "client.pem"), "key": files / "client.key"}
    with opened(style, url, **options, api_key="secret") as client:
        assert read(client).startswith("Hi")


def test_a_stranger_is_not_trusted(url: str) -> None:
    with Client(url, retries=0) as client, pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
        read(client)


def test_a_caller_without_a_certificate_is_not_let_in(url: str, files: Path) -> None:
    with Client(url, retries=0, ca=files / "ca.pem") as client, pytest.raises(GlmserveError) as raised:
        read(client)
    assert isinstance(raised.value, ConnectionFailed)


def test_a_key_of_another_certificate_is_refused(files: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Client("https://localhost", cert=files / "client.pem", key=files / "server.key")
