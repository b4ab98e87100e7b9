"""The two ways to a server, behind one protocol."""
