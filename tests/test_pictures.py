"""What the embedded GLM-4V model says of pictures that anyone would call clear."""

from collections.abc import Iterator

import pytest
from faces import Face, opened
from paintings import encoded, painted
from running import Glmserve
from test_images import conversation, shown

from glmserve_server.bundled import BUNDLED

NAME = "tiny-glm4v"
pytestmark = pytest.mark.skipif(NAME not in BUNDLED, reason=f"{NAME} is not made yet")


@pytest.fixture(params=["grpc", "http"], scope="module")
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    with (
        Glmserve("up", "--model", NAME, "--workers", "1", "--threads", "1") as server,
        opened(request.param, server) as way,
    ):
        yield way


@pytest.mark.parametrize("colour", ["red", "blue", "green"])
@pytest.mark.parametrize(("shape", "name"), [("ellipse", "circle"), ("rectangle", "square")])
def test_a_shape_and_its_colour_are_named(face: Face, shape: str, name: str, colour: str) -> None:
    picture = encoded(painted(shape, colour, (224, 224)), "PNG")
    answer = face.ask([shown(picture, "What is in the picture?")], model=NAME, temperature=0).text.lower()
    assert colour in answer
    assert name in answer


def test_answers_are_the_same_whether_what_was_seen_is_kept_or_not(face: Face) -> None:
    pictures = [encoded(painted(shape, "red", (60, 60)), "PNG") for shape in ("ellipse", "rectangle")]
    with (
        Glmserve("up", "--model", NAME, "--threads", "1", "--no-prefix-reuse") as server,
        opened("grpc", server) as other,
    ):
        for picture in pictures * 2:
            kept, anew = conversation(face, picture, NAME), conversation(other, picture, NAME)
            assert [reply[:2] for reply in kept] == [reply[:2] for reply in anew]
            assert all(cached > 0 for *_, cached in kept[1:])
