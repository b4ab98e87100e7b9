"""The engines: what turns a chat request into deltas."""
