"""A typed gRPC server for GLM chat models."""
