"""Which server a command speaks to."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from glmserve_client.options import Options

_URL: Final = "GLMSERVE_URL"
_DEFAULT: Final = "127.0.0.1:50051"
_PANEL: Final = "Server"

Grpc = Annotated[
    str | None,
    typer.Option(help="A gRPC address, HOST:PORT.", show_default=_DEFAULT, rich_help_panel=_PANEL),
]
Url = Annotated[
    str | None,
    typer.Option(
        help="Or any: http://127.0.0.1:8080/v1, https, grpc, grpcs.", show_default=f"${_URL}", rich_help_panel=_PANEL
    ),
]
ApiKey = Annotated[
    str | None, typer.Option(envvar="GLMSERVE_API_KEY", help="The key, if one is needed.", rich_help_panel=_PANEL)
]
_File = Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A group of options. A flag of the command line comes before a variable of the environment."""

    grpc: Grpc = None
    url: Url = None
    api_key: ApiKey = None
    ca: Annotated[_File, typer.Option(help="PEM file of whom to trust.", rich_help_panel=_PANEL)] = None
    cert: Annotated[_File, typer.Option(help="PEM file of the client's certificate.", rich_help_panel=_PANEL)] = None
    key: Annotated[_File, typer.Option(help="PEM file of its private key.", rich_help_panel=_PANEL)] = None

    @property
    def address(self) -> str:
        """The address for a client; a command line that names two is refused."""
        if self.grpc is not None and self.url is not None:
            raise typer.BadParameter("name one server: --grpc HOST:PORT or --url ADDRESS")
        if self.grpc is not None:
            return f"grpc://{self.grpc}"
        return self.url if self.url is not None else os.environ.get(_URL) or f"grpc://{_DEFAULT}"

    @property
    def options(self) -> "Options":
        """The options of a client."""
        return {"api_key": self.api_key, "ca": self.ca, "cert": self.cert, "key": self.key}
