"""Makes small model files of the GLM families beside GLM-4: GLM-4V, ChatGLM3, ChatGLM2 and ChatGLM-6B."""
