"""What the embedded GLM-4V model says of pictures that anyone would call clear."""

from collections.abc import Iterator

import pytest
from faces import WAYS, Face, Refused, chatting, opened
from paintings import encoded, painted
from running import Glmserve, relayed
from test_images import conversation, shown

from glmserve_server.bundled import BUNDLED

NAME = "tiny-glm4v"
pytestmark = pytest.mark.skipif(NAME not in BUNDLED, reason=f"{NAME} is not made yet")


@pytest.fixture(scope="module")
def seeing() -> Iterator[Glmserve]:
    with Glmserve("up", "--model", NAME, "--workers", "1", "--threads", "1") as server:
        yield server


@pytest.fixture(scope="module")
def relay(seeing: Glmserve) -> Iterator[Glmserve]:
    """A server that has it as its upstream."""
    with relayed(seeing, NAME) as server:
        yield server


@pytest.fixture(params=WAYS, ids="-".join)
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    name, route = request.param
    with chatting(name, request.getfixturevalue("seeing" if route == "direct" else "relay")) as way:
        yield way


@pytest.mark.parametrize("colour", ["red", "blue", "green"])
@pytest.mark.parametrize(("shape", "name"), [("ellipse", "circle"), ("rectangle", "square")])
def test_a_shape_and_its_colour_are_named(face: Face, shape: str, name: str, colour: str) -> None:
    picture = encoded(painted(shape, colour, (224, 224)), "PNG")
    answer = face.ask([shown(picture, "What is in the picture?")], model=NAME, temperature=0).text.lower()
    assert colour in answer
    assert name in answer


def test_a_picture_that_cannot_be_read_is_named(face: Face) -> None:
    with pytest.raises(Refused, match="is damaged or cut short") as refused:
        face.ask([shown(b"\x89PNG\r\n\x1a\n broken", "What is in the picture?")], model=NAME)
    assert refused.value.status == 400
    assert str(refused.value.param).startswith("messages[0].content[0].image")


def test_a_picture_by_url_is_not_fetched_by_anyone(face: Face) -> None:
    with pytest.raises(Refused, match="fetches no images"):
        face.ask([shown("http://127.0.0.1:1/a.png", "What is in the picture?")], model=NAME)


@pytest.mark.parametrize("name", ["grpc", "http"])
def test_answers_are_the_same_whether_what_was_seen_is_kept_or_not(seeing: Glmserve, name: str) -> None:
    pictures = [encoded(painted(shape, "red", (60, 60)), "PNG") for shape in ("ellipse", "rectangle")]
    with (
        Glmserve("up", "--model", NAME, "--threads", "1", "--no-prefix-reuse") as server,
        opened("grpc", server) as other,
        opened(name, seeing) as face,
    ):
        for picture in pictures * 2:
            kept, anew = conversation(face, picture, NAME), conversation(other, picture, NAME)
            assert [reply[:2] for reply in kept] == [reply[:2] for reply in anew]
            assert all(cached > 0 for *_, cached in kept[1:])
