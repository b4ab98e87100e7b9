"""Where a setting may be said, who wins, and what an operator hears of a configuration that cannot be."""

import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import COMMAND

from glmserve_server.bundled import BUNDLED
from glmserve_server.configuration.effective import effective
from glmserve_server.configuration.example import example
from glmserve_server.configuration.flags import read_flags
from glmserve_server.configuration.found import SettingsError
from glmserve_server.configuration.key import keys_of
from glmserve_server.configuration.load import Configuration, load
from glmserve_server.configuration.schema import ENGINES, MODEL_KEYS, SECTIONS, SERVER, SHARED
from glmserve_server.configuration.toml import toml_of
from glmserve_server.engines.chatglm.settings import ChatGlmSettings
from glmserve_server.engines.settings import ModelSettings
from glmserve_server.engines.upstream.options import Preset, UpstreamOptions

ROOT = Path(__file__).parents[1]
FULL = """
host = "0.0.0.0"
grpc_port = 1
workers = 3

[edge]
allow_origins = ["https://a", "https://b"]

[[models]]
name = "near"
aliases = ["close"]
file = "models/near.bin"
temperature = 0

[[models]]
name = "GLM-4.6"
engine = "upstream"
urls = ["zai"]
model = "glm-4.6"
key_file = "key"
timeout = 5
headers = { X-Team = "blue-team-secret" }
extra_body = { tier = "low", nested = { "a b" = [1, 2.5, true, "\\u007f"] } }

[[models]]
name = "scripted"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with something of everything, and a key beside it."""
    (tmp_path / "key").write_text("sk-secret\n")
    path = tmp_path / "glmserve.toml"
    path.write_text(FULL)
    return path


def loaded(
    path: Path | None = None, environment: Mapping[str, str] = {}, flags: dict[str, Any] | None = None, **short: Any
) -> Configuration:
    return load(read_flags(flags or {}, **short), {"GLMSERVE_CONFIG": "", **environment}, path)


def models(configuration: Configuration) -> dict[str, ModelSettings]:
    return {model.name: model for model in configuration.settings.models}


def faults(text: str, folder: Path, environment: Mapping[str, str] = {}, **short: Any) -> list[str]:
    """What is wrong with a file, line by line, without its folder."""
    path = folder / "glmserve.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        loaded(path, environment, **short)
    return str(refused.value).replace(f"{folder}/", "").splitlines()


def config(*arguments: str, status: int = 0, folder: Path | None = None, **environment: str) -> tuple[str, str]:
    """What `glmserve config` prints on both streams."""
    done = subprocess.run(
        [COMMAND, "config", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_a_file_says_everything(file: Path) -> None:
    settings = loaded(file).settings
    assert (settings.host, settings.port, settings.grpc_port) == ("0.0.0.0", 8080, 1)  # noqa: S104
    assert settings.edge.allow_origins == ("https://a", "https://b")
    near, far, scripted = settings.models
    assert isinstance(near, ChatGlmSettings)
    assert (near.file, near.workers, near.temperature) == (file.parent / "models" / "near.bin", 3, 0.0)
    assert isinstance(far, UpstreamOptions)
    assert (far.urls, far.preset) == (("https://api.z.ai/api/paas/v4",), Preset.ZHIPU)
    assert (far.key, far.timeout, far.headers) == ("sk-secret", 5.0, {"x-team": "blue-team-secret"})
    assert far.extra_body["nested"] == {"a b": [1, 2.5, True, "\x7f"]}
    assert scripted.engine == "scripted"


def test_flags_go_before_the_environment_and_that_before_the_file(file: Path) -> None:
    def workers(environment: Mapping[str, str] = {}, flags: dict[str, Any] | None = None, *sets: str) -> int | None:
        near = models(loaded(file, environment, flags, sets=sets))["near"]
        assert isinstance(near, ChatGlmSettings)
        return near.workers

    general, own = {"GLMSERVE_WORKERS": "4"}, {"GLMSERVE_MODELS_NEAR_WORKERS": "5"}
    assert workers() == 3
    assert workers(general) == 4
    assert workers(general | own) == 5
    assert workers(general | own, {"workers": 6}) == 6
    assert workers(general | own, {"workers": 6}, "models.near.workers=7") == 7
    file.write_text(FULL.replace('name = "near"', 'name = "near"\nworkers = 2'))
    assert workers() == 2
    assert workers(general) == 4


def test_every_kind_of_value_can_be_said_in_the_environment(file: Path) -> None:
    said = {
        "GLMSERVE_PORT": "0",
        "GLMSERVE_GRACE": "2.5",
        "GLMSERVE_PREFIX_REUSE": "false",
        "GLMSERVE_IMAGE_HOSTS": "a.example, b.example:9000",
        "GLMSERVE_EDGE_ALLOW_ORIGINS": '["https://c"]',
        "GLMSERVE_READY_FILE": "/tmp/ready",  # noqa: S108
        "GLMSERVE_MODELS_GLM_4_6_PRESET": "openai",
        "GLMSERVE_MODELS_GLM_4_6_HEADERS": '{ a = "b" }',
        "GLMSERVE_MODELS_SCRIPTED_ALIASES": "echo",
        "GLMSERVE_HOST": "",  # says nothing
    }
    configuration = loaded(file, said)
    settings, far = configuration.settings, models(configuration)["GLM-4.6"]
    assert (settings.port, settings.grace, settings.host) == (0, 2.5, "0.0.0.0")  # noqa: S104
    assert settings.image_hosts == ("a.example", "b.example:9000")
    assert settings.edge.allow_origins == ("https://c",)
    assert settings.ready_file == Path("/tmp/ready")  # noqa: S108
    assert isinstance(far, UpstreamOptions)
    assert (far.preset, far.headers) == (Preset.OPENAI, {"a": "b"})
    assert models(configuration)["scripted"].aliases == ("echo",)
    assert "\nprefix_reuse = false  # GLMSERVE_PREFIX_REUSE\n" in effective(configuration)


def test_flags_and_the_environment_say_which_models_are_served(file: Path) -> None:
    assert list(models(loaded(file, models=["close", "tiny-glm4", "/x/other.bin"]))) == ["near", "tiny-glm4", "other"]
    near = models(loaded(file, {"GLMSERVE_MODELS": "near,scripted"}))["near"]
    assert near.temperature == 0
    table = '[{ name = "a", urls = ["http://h"] }, "scripted"]'
    assert list(models(loaded(file, {"GLMSERVE_MODELS": table}))) == ["a", "scripted"]
    assert list(models(loaded(None, upstreams=["b=http://h"]))) == ["b"]
    assert list(models(loaded())) == ["tiny-glm4"]


def test_a_list_of_names_may_stand_for_models(tmp_path: Path) -> None:
    path = tmp_path / "glmserve.toml"
    path.write_text('models = ["tiny-glm4", "mine.bin"]')
    _, mine = loaded(path).settings.models
    assert isinstance(mine, ChatGlmSettings)
    assert (mine.name, mine.file) == ("mine", tmp_path / "mine.bin")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\nprot = 1", "glmserve.toml:2: prot is no key; did you mean port?"),
        ("port = '80'", "glmserve.toml:1: port must be a whole number between 0 and 65535, not '80'"),
        ("port = true", "glmserve.toml:1: port must be a whole number between 0 and 65535, not true"),
        ("grace = nan", "glmserve.toml:1: grace must be a number between 0 and 3600, not nan"),
        ("workers = 0", "glmserve.toml:1: workers must be a whole number between 1 and 256, not 0"),
        ("prefix_reuse = 1", "glmserve.toml:1: prefix_reuse must be true or false, not 1"),
        ("unsupported = 'maybe'", "glmserve.toml:1: unsupported must be ignore or refuse, not 'maybe'"),
        (
            "image_hosts = ['http://x']",
            "glmserve.toml:1: image_hosts 'http://x' is not a host, a host and its port, or *",
        ),
        ("ready_file = ''", "glmserve.toml:1: ready_file must be a path, not ''"),
        ("temperature = 1", "glmserve.toml:1: temperature is a key of a model: it belongs under [[models]]"),
        ("edge = 1", "glmserve.toml:1: edge must be a table, [edge], not 1"),
        (
            "[edge]\nallow_origin = []",
            "glmserve.toml:2: edge.allow_origin is no key of [edge]; did you mean allow_origins?",
        ),
        ("[edge]\nallow_origins = [1]", "glmserve.toml:2: edge.allow_origins must be a list of strings, not [1]"),
        ("models = 1", "glmserve.toml:1: models must be a list of tables, [[models]], not '1'"),
        ("models = []", "models must list at least one model"),
        ("models = [1]", "glmserve.toml:1: models[0] must be a table, or the name or the file of a model, not 1"),
        ("a = [", "glmserve.toml: not TOML: Invalid value (at end of document)"),
        ("\na = 1 1", "glmserve.toml:2: not TOML: Expected newline or end of document after a statement (column 7)"),
        (
            "[[models]]\nname = 'scripted'\ntempreature = 1",
            "glmserve.toml:3: models.scripted.tempreature is no key of a model; did you mean temperature?",
        ),
        (
            "[[models]]\nname = 'scripted'\nworkers = 1",
            "glmserve.toml:3: models.scripted.workers is no key of models whose engine is scripted",
        ),
        (
            "[[models]]\nname = 'scripted'\n\n[[models]]\nname = 'b'\nengine = 'lama'",
            "glmserve.toml:6: models.b.engine must be chatglm, llama, upstream or scripted, not 'lama'",
        ),
        (
            "[[models]]\nname = 'm'",
            (
                "glmserve.toml:2: models.m: file must name a model file; of that name comes none along, but: "
                f"{', '.join(sorted(BUNDLED))}"
            ),
        ),
        ("[[models]]\nurls = ['http://h']", "glmserve.toml:2: models.?: name must say what the model is called"),
        (
            "[[models]]\nname = ' x'\nengine = 'scripted'",
            (
                "glmserve.toml:2: models. x.name must be 1 to 128 printable characters without spaces at its ends, "
                "not ' x'"
            ),
        ),
        (
            "[[models]]\nname = 'tiny-glm4'\n[[models]]\nname = 'scripted'\naliases = ['tiny-glm4']",
            "two models have one name: 'tiny-glm4' is a name of 'tiny-glm4' and of 'scripted'",
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['ftp://h']",
            (
                "glmserve.toml:3: models.m.urls 'ftp://h' is not an http: or https: URL with a host, nor one of: "
                "zhipu, zai"
            ),
        ),
        ("[[models]]\nname = 'm'\nurls = []", "glmserve.toml:3: models.m.urls must name at least one URL"),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nkey = 'sk-secret'",
            (
                "glmserve.toml:4: models.m.key is not said here: key_file names a file that has the key, key_env an "
                "environment variable"
            ),
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nkey_file = 'nowhere'",
            "glmserve.toml:4: models.m.key_file 'nowhere': No such file or directory",
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nkey_env = 'NOT_SET'",
            "glmserve.toml:4: models.m.key_env 'NOT_SET': the environment has no such variable, or an empty one",
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nheaders = { a = 3 }",
            "glmserve.toml:4: models.m.headers must be a table of strings",
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\n[models.headers]\nb = 'c'\nContent-Length = '3'",
            (
                "glmserve.toml:4: models.m.headers must not hold 'Content-Length': no name for a header, or one that "
                "is set here"
            ),
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nextra_body = { stream = false }",
            "glmserve.toml:4: models.m.extra_body must not hold stream, which is the request's own",
        ),
        (
            "[[models]]\nname = 'm'\nurls = ['http://h']\nextra_body = { a = 1979-05-27 }",
            "glmserve.toml:4: models.m.extra_body must be JSON, which has neither dates nor infinite numbers",
        ),
    ],
    ids=str,
)
def test_a_fault_in_the_file_is_told_with_line_key_and_what_would_be_right(
    text: str, fault: str, tmp_path: Path
) -> None:
    assert faults(text, tmp_path) == [fault]


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        (
            {"GLMSERVE_PORT": "tcp://10.0.0.1:80"},
            "GLMSERVE_PORT must be a whole number between 0 and 65535, not 'tcp://10.0.0.1:80'",
        ),
        ({"GLMSERVE_PREFIX_REUSE": "maybe"}, "GLMSERVE_PREFIX_REUSE must be true or false, not 'maybe'"),
        (
            {"GLMSERVE_MODELS_SCRIPTED_TOP_P": "2"},
            "GLMSERVE_MODELS_SCRIPTED_TOP_P must be a number between 0 and 1, not 2",
        ),
        (
            {"GLMSERVE_MODELS_SCRIPTED_TOPP": "1"},
            "GLMSERVE_MODELS_SCRIPTED_TOPP names no key of a model that is served: scripted, up",
        ),
        ({"GLMSERVE_MODELS": "[1"}, "GLMSERVE_MODELS is not TOML: Unclosed array (at end of document)"),
        (
            {"GLMSERVE_UPSTREAM_KEY_UP": "s p a c e"},
            "GLMSERVE_UPSTREAM_KEY_UP: the key must be printable ASCII without spaces, and not empty",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_fault_in_the_environment_is_told_with_its_variable(environment: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(None, environment, upstreams=["up=http://h"], models=["scripted"])
    assert fault in str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("short", "fault"),
    [
        ({"sets": ["nonsense=1"]}, "--set must be KEY=VALUE, edge.KEY=VALUE or models.NAME.KEY=VALUE"),
        ({"sets": ["port=x"]}, "--set port must be a whole number between 0 and 65535, not 'x'"),
        ({"sets": ["models.b.top_k=1"]}, "--set models.b.top_k names the model 'b', but the models are: scripted"),
        ({"key_files": ["up=/nowhere"]}, "--upstream-key-file names the model 'up', but the models are: scripted"),
        ({"key_files": ["up"]}, "--upstream-key-file must be NAME=FILE, not 'up'"),
        ({"upstreams": ["http://h"]}, "--upstream must be NAME=URL[,URL...][#MODEL], not 'http://h'"),
        (
            {"upstreams": ["up=http://h"], "key_files": ["up=/nowhere"]},
            "--upstream-key-file '/nowhere': No such file or directory",
        ),
    ],
    ids=str,
)
def test_a_fault_in_a_flag_is_told_with_its_name(short: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(models=["scripted"], **short)
    assert str(refused.value).startswith(fault)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    assert len(faults("a = 1\nport = 'x'\n[edge]\nb = 1\n[[models]]\nname = 'm'\n", tmp_path)) == 4


def test_the_effective_configuration_says_the_same_again_and_no_secret(file: Path, tmp_path: Path) -> None:
    before = loaded(file, {"GLMSERVE_GRACE": "7"}, {"time_limit": 9.0}, sets=["models.near.top_k=3"])
    text = effective(before)
    for line in (
        'host = "0.0.0.0"  # glmserve.toml:2',
        "port = 8080  # default",
        "grace = 7.0  # GLMSERVE_GRACE",
        "time_limit = 9.0  # --time-limit",
        "top_k = 3  # --set models.near.top_k",
        'allow_origins = ["https://a", "https://b"]  # glmserve.toml:7',
        "# headers: x-team (values are not shown)  # glmserve.toml:22",
        f'key_file = "{tmp_path}/key"  # glmserve.toml:20',
    ):
        assert line in text.splitlines()
    assert "secret" not in text
    again = tmp_path / "elsewhere.toml"
    again.write_text(text)
    after = loaded(again).settings
    assert after.edge == before.settings.edge
    assert [repr(model) for model in after.models] == [repr(model) for model in before.settings.models]
    assert (after.host, after.grace) == ("0.0.0.0", 7.0)  # noqa: S104


def test_the_command_prints_the_configuration_of_this_folder(file: Path) -> None:
    text, _ = config("--set", "models.near.top_k=3", folder=file.parent, GLMSERVE_GRACE="7")
    assert text.startswith("# File: glmserve.toml.")
    assert tomllib.loads(text)["grace"] == 7
    assert config(GLMSERVE_CONFIG=str(file))[0].startswith(f"# File: {file}.")
    other, _ = config(folder=file.parent, GLMSERVE_CONFIG="")
    assert [model["name"] for model in tomllib.loads(other)["models"]] == ["tiny-glm4"]


def test_a_check_says_whether_a_file_can_be_used(file: Path, tmp_path: Path) -> None:
    assert config("--check", str(file)) == ("", "")
    bad = tmp_path / "bad.toml"
    bad.write_text("port = 'x'\n[[models]]\nname = 'm'\nurls = ['http://h']\nkey = 'sk-secret'")
    for arguments in (("--check", str(bad)), ("--config", str(bad))):
        printed, said = config(*arguments, status=2)
        assert printed == ""
        assert [line.partition(": ")[2].partition(" ")[0] for line in said.splitlines()] == [f"{bad}:1:", f"{bad}:5:"]
        assert "secret" not in said
    _, said = config("--check", str(tmp_path / "nowhere.toml"), status=2)
    assert said == f"glmserve: {tmp_path}/nowhere.toml: No such file or directory\n"


def test_the_example_has_every_key_and_can_be_used() -> None:
    text = (ROOT / "docs" / "glmserve.toml").read_text()
    assert text == example()
    assert config("--example")[0] == text
    assert tomllib.loads(text) == {}
    used = tomllib.loads(re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE))
    assert {model["engine"] for model in used["models"]} == {"chatglm", "llama", "upstream", "scripted"}


def test_the_example_without_its_signs_of_comments_is_a_configuration(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=\S)", "", example(), flags=re.MULTILINE)
    text = text.replace("/run/secrets", str(tmp_path))
    for name in ("glmserve", "upstream"):
        (tmp_path / name).write_text("k")
    path = tmp_path / "all.toml"
    path.write_text(text)
    configuration = loaded(path)
    assert configuration.settings.models[0].temperature == 0.7


def test_what_the_documents_show_is_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    for document in ("configuration.md", "upstream.md"):
        (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
        path = tmp_path / "shown.toml"
        path.write_text(text.replace("/run/secrets/chat", "key"))
        assert loaded(path, {"ZHIPUAI_API_KEY": "k"}).settings.models


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS | st.sampled_from(["zhipu", "http://h", "scripted", "tiny-glm4", *ENGINES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EDGE = st.dictionaries(st.sampled_from(list(keys_of(SECTIONS["edge"]))), VALUES)
MODEL = st.dictionaries(st.sampled_from(sorted(MODEL_KEYS)), VALUES, max_size=5)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("host", "port", "grace", "image_hosts", "ready_file", "unsupported", "workers"), VALUES)
    | {"edge": EDGE | VALUES, "models": st.lists(MODEL | VALUES, max_size=3) | VALUES},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS)
def test_any_file_is_a_configuration_or_refused(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text("".join(f"{name} = {toml_of(value)}\n" for name, value in document.items()))
    try:
        configuration = loaded(path)
    except SettingsError:
        return
    again = tmp_path / "again.toml"
    again.write_text(effective(configuration))
    assert [model.name for model in loaded(again).settings.models] == list(models(configuration))


def test_every_key_says_what_it_is_for() -> None:
    keys = [*SERVER.values(), *SHARED.values(), *(key for cls in ENGINES.values() for key in keys_of(cls).values())]
    for key in keys:
        assert key.help.endswith("."), key.name
        assert key.default is not None or key.unset, key.name
