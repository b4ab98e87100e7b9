"""chatglm.cpp's own API server, as it ships, on a given number of threads.

`python -m benchmarks.their_app PORT`; GLMSERVE_THREADS, and MODEL and MAX_LENGTH, which are its own settings.
"""

import ctypes
import sys

import uvicorn

from benchmarks.bare import THREADS_LIBRARY

if __name__ == "__main__":
    ctypes.CDLL(str(THREADS_LIBRARY), mode=ctypes.RTLD_GLOBAL)
    uvicorn.run("chatglm_cpp.openai_api:app", port=int(sys.argv[1]), log_level="warning")
