#!/usr/bin/env bash
# Builds llama.cpp's own server, for `python -m benchmarks.llama_server`, into build/llama-server of this repository.
# Once, 10 to 20 minutes on one CPU; needs a C++ compiler and CMake. The sources are those in llama-cpp-python's sdist.
#
# Without GGML_NATIVE the CPU code is that of xllamacpp's wheels: SSE4.2, AVX, AVX2, FMA, F16C, BMI2, and repacking.
# A native build uses AMX where the CPU has it, and there it ends with a segmentation fault at the first token.
set -euo pipefail
cd "$(dirname "$0")/.."

sdist=llama-cpp-python==0.3.36
folder=build/llama-server
python=${PYTHON:-.venv/bin/python}

mkdir -p "$folder/sources"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python --dest "$folder" "$sdist"
tar -xzf "$folder"/llama_cpp_python-*.tar.gz -C "$folder/sources" --strip-components=1
cmake -S "$folder/sources/vendor/llama.cpp" -B "$folder/cmake" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DGGML_NATIVE=OFF -DGGML_CCACHE=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
cmake --build "$folder/cmake" --target llama-server -j "${JOBS:-1}"
cp "$folder/cmake/bin/llama-server" "$folder/llama-server"
rm -rf "$folder/sources" "$folder/cmake" "$folder"/llama_cpp_python-*.tar.gz
"$folder/llama-server" --version
