"""The engine that runs GGUF files with llama.cpp, many conversations at a time."""
