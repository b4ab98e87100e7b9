"""OpenAI's HTTP surface on glmserve.v1, and the Envoy that carries it."""
