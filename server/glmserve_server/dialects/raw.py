"""Raw prompts: a text, or tokens, that a model goes on with as they stand, and answers that are read as they stand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from glmserve.v1 import chat_pb2
from glmserve_server.dialects.deltas import Delta, Text
from glmserve_server.dialects.piece_reader import PieceReader
from glmserve_server.dialects.pieces import PieceBytes, Pieces
from glmserve_server.dialects.reader import Reader
from glmserve_server.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A family's vocabulary without the family's conversations."""

    encode: Callable[[str], list[int]]
    """The ids of ordinary text."""
    before: Sequence[int] = ()
    after: Sequence[int] = ()
    """The special tokens around a text that the model is to go on with."""
    size: int
    """Ids below this are tokens."""
    pictures: frozenset[int] = frozenset()
    """Tokens that stand for a picture, which no raw prompt has."""
    spell: Callable[[Sequence[int]], list[bytes]]
    """What each of some ids stands for where they follow each other; a special token's name."""
    reader: Callable[[], Reader | PieceReader]
    """Makes a reader for one answer."""

    def ids(self, prompt: chat_pb2.Prompt) -> list[int]:
        """The ids of a prompt. Raises `InvalidArgument` for those that are not the model's."""
        if not prompt.HasField("token_ids"):
            ids = self.encode(prompt.text)
            bare = prompt.HasField("add_special_tokens") and not prompt.add_special_tokens
            return ids if bare else [*self.before, *ids, *self.after]
        ids = list(prompt.token_ids.ids)
        self.check(ids, "prompt.token_ids.ids")
        if not self.pictures.isdisjoint(ids):
            place = next(place for place, number in enumerate(ids) if number in self.pictures)
            path = f"prompt.token_ids.ids[{place}]"
            raise InvalidArgument(f"{path} must not be {ids[place]}, which stands for a picture", field=path)
        return ids

    def check(self, ids: Sequence[int], path: str) -> None:
        """Raises `InvalidArgument` for the first id that is no token. `path` is that of the ids."""
        if max(ids, default=0) < self.size:
            return
        place = next(place for place, number in enumerate(ids) if number >= self.size)
        path = f"{path}[{place}]"
        raise InvalidArgument(f"{path} must be a token, from 0 to {self.size - 1}, not {ids[place]}", field=path)


class VerbatimParser:
    """See `Parser`. All is text, as the tokens have it."""

    thinking = False

    def feed(self, text: str) -> Sequence[Delta]:
        """See `Parser.feed`."""
        return (Text(text),)

    def turn(self) -> Sequence[Delta]:
        """See `Parser.turn`. It means nothing here."""
        return ()

    def end(self, *, whole: bool, called: bool) -> Sequence[Delta]:  # noqa: ARG002 (nothing depends on them)
        """See `Parser.end`."""
        return ()


def raw_pieces(
    pieces: Pieces,
    special: Mapping[str, int],
    *,
    encode: Callable[[str], list[int]] | None = None,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> Raw:
    """A sentencepiece vocabulary and the special tokens that follow it, by name.

    An answer goes on with the prompt's text: the space before its first word is its own, and not the encoder's.
    """
    names = pieces.control_names | {number: name.encode() for name, number in special.items()}

    def spell(ids: Sequence[int]) -> list[bytes]:
        data = PieceBytes(pieces)
        return [names[number] if number in names else data.feed(number) for number in ids]

    return Raw(
        encode=encode or pieces.encode,
        before=before,
        after=after,
        size=pieces.size + len(special),
        spell=spell,
        reader=lambda: PieceReader(pieces, VerbatimParser(), begins=False),
    )
