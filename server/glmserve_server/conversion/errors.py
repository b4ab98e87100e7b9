"""What can go wrong in a conversion."""


class ConversionError(Exception):
    """Why there is no model file: a sentence for whoever asked for it."""
