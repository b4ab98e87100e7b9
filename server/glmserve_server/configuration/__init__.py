"""The configuration: from a file, the environment and flags to settings that are checked and frozen."""
