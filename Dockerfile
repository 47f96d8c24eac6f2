# The whole of SoundNet on a CPU: pipeline, trainer, evaluation and the soundnet command, with the
# versions of requirements.lock.
#
#   docker build -t soundnet .
#   docker run --rm -v "$PWD:/data" soundnet soundnet predict street.wav
#   docker run --rm -v "$PWD:/data" soundnet python -m pipeline --input videos/ --output set
FROM python:3.11-slim-bookworm AS build
COPY requirements.lock /tmp/
RUN python -m venv /opt/soundnet \
    && /opt/soundnet/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.lock
COPY . /src
RUN /opt/soundnet/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src

FROM python:3.11-slim-bookworm AS base
COPY --from=build /opt/soundnet /opt/soundnet
ENV PATH=/opt/soundnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2
RUN useradd --create-home soundnet
USER soundnet
WORKDIR /data

# What a cluster's workers run, see docs/clusters.md: docker build --target worker -t IMAGE .
FROM apache/beam_python3.11_sdk:2.72.0 AS beam
FROM base AS worker
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# boot writes into folders that the service mounts.
USER root
ENTRYPOINT ["/opt/apache/beam/boot"]

FROM base
CMD ["soundnet", "--help"]
