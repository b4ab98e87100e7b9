"""One job on its way through a seat."""

import threading
from dataclasses import dataclass, field

from glmserve_server.engines.chatglm.handover import Handover
from glmserve_server.engines.chatglm.job import Job, Piece


@dataclass(slots=True, eq=False)
class Run:
    """A job, where its pieces go, and whether anyone still wants them."""

    job: Job
    pieces: Handover[Piece]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Nobody wants the pieces any more."""
        self.cancelled.set()
        self.pieces.close()
