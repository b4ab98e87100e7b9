"""How each model family writes conversations and reads answers: a module per family, for every engine with tokens."""
