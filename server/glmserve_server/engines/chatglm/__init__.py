"""The engine that runs chatglm-cpp in worker processes."""
