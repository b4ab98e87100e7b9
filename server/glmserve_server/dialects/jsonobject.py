"""Finds the end of a JSON object in text that comes in pieces, without parsing it."""


class JsonObject:
    """Begins before the opening brace. What is inside may be anything: braces are counted outside of strings."""

    def __init__(self) -> None:
        self.closed = False
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, text: str) -> int:
        """How many of the characters belong to the object."""
        for index, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            elif character in "{}":
                self._depth += 1 if character == "{" else -1
                if self._depth == 0:
                    self.closed = True
                    return index + 1
        return len(text)
