"""How each model family writes conversations and reads answers; one module per family."""
