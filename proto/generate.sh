#!/usr/bin/env bash
# Generates proto/gen (messages, stubs, types) and the descriptor that Envoy transcodes by.
# Usage: proto/generate.sh [OUT]   with the .venv's python on the PATH; OUT is the repository unless given.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-$(cd .. && pwd)}
descriptor=gateway/glmserve_gateway/envoy/glmserve.binpb
mkdir -p "$out/proto/gen" "$out/$(dirname $descriptor)"
wellknown=$(python -c 'import grpc_tools, pathlib; print(pathlib.Path(grpc_tools.__file__).parent / "_proto")')
protoc() { python -m grpc_tools.protoc -I . -I third_party -I "$wellknown" "$@"; }

mapfile -t all < <(ls glmserve/v1/*.proto)
mapfile -t services < <(grep -l '^service ' "${all[@]}")
protoc --python_out="$out/proto/gen" --mypy_out="quiet:$out/proto/gen" \
  --include_imports --descriptor_set_out="$out/$descriptor" "${all[@]}"
protoc --grpc_python_out="$out/proto/gen" --mypy_grpc_out="quiet:$out/proto/gen" "${services[@]}"
