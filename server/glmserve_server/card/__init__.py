"""The card of a model file: what it holds, what it needs, and how it would be served on this machine."""
