"""What the commands of the client have in common: the server, the question, the screen."""
