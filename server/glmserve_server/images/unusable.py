"""Why an image of a request cannot be shown to a model."""


class Unusable(Exception):
    """The caller's image is at fault. The text goes on after the name of the field: `is damaged: …`."""
