"""Measures running servers, and makes models of any size to measure them with."""
