"""What the model learns, one module per skill; each has ``make(source) -> Conversation``."""
