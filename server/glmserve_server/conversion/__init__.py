"""From a Hugging Face checkpoint to a chatglm.cpp model file, with chatglm.cpp's own converter."""
