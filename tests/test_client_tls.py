"""Encrypted connections of the client, with certificates of the test's own authority (valid until the year 2126)."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from client_ways import opened
from test_client_faults import CHUNK, DONE, HEAD, Scripted, ScriptedChat, read

from glmserve.v1 import chat_pb2_grpc
from glmserve_client import Client, ConfigurationError, ConnectionFailed, GlmserveError

FILES = {
    "ca.pem": """-----BEGIN CERTIFICATE-----
MIIBqzCCAVGgAwIBAgIUbEQAUvkH6W7TQ8CCtP2rk6y3F40wCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXZ2xtc2VydmUgdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDc0
ODMzWhgPMjEyNjEwMjgwNzQ4MzNaMCIxIDAeBgNVBAMMF2dsbXNlcnZlIHRlc3Qg
YXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmg+yN7OSENtdDQL1
GV0jSSKUSKUZb792tUj1+1+1g13N64wwJhJJzURjQdE1lPvYzswmC5KLKpYyZEtE
67+U0KNjMGEwHQYDVR0OBBYEFOU9wtOcf25jdp1D9BztTK1Oa7SIMB8GA1UdIwQY
MBaAFOU9wtOcf25jdp1D9BztTK1Oa7SIMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0P
AQH/BAQDAgEGMAoGCCqGSM49BAMCA0gAMEUCIQCfOUcVOrnaG6Gz2edlFUvCP3EB
AeugnE9+zRu3JNEiPQIgKJ+5OEd9QPA7hDhmjxnc7IR0uzZ6dfCqCq62NJ8gG+0=
-----END CERTIFICATE-----
""",
    "server.pem": """-----BEGIN CERTIFICATE-----
MIIBzjCCAXSgAwIBAgIUfgaeyuAN64u7r1Jebjn+rl034NEwCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXZ2xtc2VydmUgdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDc0
ODM0WhgPMjEyNjEwMjgwNzQ4MzRaMBExDzANBgNVBAMMBnNlcnZlcjBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABBne7Z4g8crBEjJHsrFl+Hg5Bn5gL2dCS2do0WKL
eNS/ocv3lQci6xzPhFQYR1s8qVGenjsm8TkY2m+bz5teVGWjgZYwgZMwGgYDVR0R
BBMwEYIJbG9jYWxob3N0hwR/AAABMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgeAMB0G
A1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjAdBgNVHQ4EFgQUNhhOs7w/ODy1
BU9s0Gm3hQcyr6UwHwYDVR0jBBgwFoAU5T3C05x/bmN2nUP0HO1MrU5rtIgwCgYI
KoZIzj0EAwIDSAAwRQIhAIVwHr+SjIL1ahCKvaV9eNEnuhLDT5xotBwgvAoTDdgI
AiAoh3eDezkXsiT95PGNzJkRVJOO1ycBI1ppt99HdjFibA==
-----END CERTIFICATE-----
""",
    "server.key": """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZJaLpyPcp9mXWiPM
Z9znnIZjmMJGMJCgpubXKqXC3DOhRANCAAQZ3u2eIPHKwRIyR7KxZfh4OQZ+YC9n
QktnaNFii3jUv6HL95UHIuscz4RUGEdbPKlRnp47JvE5GNpvm8+bXlRl
-----END PRIVATE KEY-----
""",
    "client.pem": """-----BEGIN CERTIFICATE-----
MIIBzjCCAXSgAwIBAgIUfgaeyuAN64u7r1Jebjn+rl034NIwCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXZ2xtc2VydmUgdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDc0
ODM0WhgPMjEyNjEwMjgwNzQ4MzRaMBExDzANBgNVBAMMBmNsaWVudDBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABN2YPHTC9KCOB6qFJmp5FkdOzMjJuvdj3O1BH2CE
YI6/en68zzVqPLnQw6CXmyQpzBfwHePzXK/IYRNBQIDwb5ujgZYwgZMwGgYDVR0R
BBMwEYIJbG9jYWxob3N0hwR/AAABMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgeAMB0G
A1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjAdBgNVHQ4EFgQUHJAKei2NsB22
jqu545mMBN1yCtIwHwYDVR0jBBgwFoAU5T3C05x/bmN2nUP0HO1MrU5rtIgwCgYI
KoZIzj0EAwIDSAAwRQIgemZpVwoDDpLpcuz1BAT50d2bI3/++9D+JddUyk2eSZEC
IQC85rLfN0kHdz8hibMYGPaUd99AXhF+WbgZz3shGD0BAg==
-----END CERTIFICATE-----
""",
    "client.key": """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgX5ANjwP3hWToiBIs
SpB9/rM/HdY56jKo/M+O0C0hsiahRANCAATdmDx0wvSgjgeqhSZqeRZHTszIybr3
Y9ztQR9ghGCOv3p+vM81ajy50MOgl5skKcwX8B3j81yvyGETQUCA8G+b
-----END PRIVATE KEY-----
""",
}


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
