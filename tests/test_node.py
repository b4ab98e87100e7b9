"""OpenAI's package for Node against the edge; tests/node/openai.test.mjs holds the tests."""

import base64
from pathlib import Path

from programs import EXAMPLES, node, with_node
from running import Glmserve

TESTS = Path(__file__).parent / "node" / "openai.test.mjs"


@with_node
def test_openais_package_for_node(demo: Glmserve) -> None:
    picture = "data:image/png;base64," + base64.b64encode((EXAMPLES / "red-circle.png").read_bytes()).decode()
    said = node("--test", "--test-reporter=tap", TESTS, GLMSERVE_URL=demo.openai_url, GLMSERVE_PICTURE=picture)
    assert {"# fail 0", "# skipped 0"} <= set(said)
