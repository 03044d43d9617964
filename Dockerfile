# Kilnet on a CPU, from the wheel. Build the wheel first:
#   python -m build --wheel
#   docker build --tag kilnet .
#   docker run --rm --volume "$PWD/searches:/work/searches" kilnet
FROM python:3.12-slim

# torch's own index has builds for CPUs, without the gigabytes of CUDA: --build-arg TORCH_INDEX=ADDRESS takes one.
ARG TORCH_INDEX=
RUN --mount=type=bind,source=dist,target=/dist \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir --constraint /constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch && \
    pip install --no-cache-dir --constraint /constraints.txt /dist/kilnet-*.whl

# Whoever runs it owns what it writes; give another user with --user.
RUN useradd --create-home --uid 1000 kilnet && install --directory --owner kilnet /work
USER 1000
WORKDIR /work

# The search of `make demo`; any other verb can be given instead.
ENTRYPOINT ["kilnet"]
CMD ["tune", "digits", "--recipe", "digits", "--space", "small", "--epochs", "15", "--finalists", "2", "--seeds", "2", "--finetune", "--out", "searches/demo"]
