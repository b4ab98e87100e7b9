"""Files as a person names them."""

from pathlib import Path

from glmserve_client.errors import ConfigurationError


def named(name: str) -> Path:
    """The path of a file, with the folder that `~` stands for. Raises `ConfigurationError` where it stands for none."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{name}: there is no such home directory") from None
