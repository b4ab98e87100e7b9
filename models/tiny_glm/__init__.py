"""Makes the embedded demonstration model: corpus, tokenizer, network, training, export, evaluation."""
