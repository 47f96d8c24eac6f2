# The whole of SoundNet: pipeline, trainer, evaluation and the soundnet command, with the versions of
# requirements-cpu.lock or requirements-gpu.lock; and what Beam's workers run. See docs/image.md.
#
#   docker build -t soundnet .
#   docker build --build-arg VARIANT=gpu -t soundnet:gpu .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/out:/data" soundnet reproduce
ARG DEBIAN=debian:bookworm-slim
# Beam's own image of the version in setup.py, for the program that starts a worker.
ARG BEAM=apache/beam_python3.11_sdk:2.72.0
FROM ${BEAM} AS beam

FROM ${DEBIAN} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates tini \
    && apt-get clean && rm -rf /var/lib/apt/lists/*

FROM python AS packages
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv binutils
ARG VARIANT=cpu
COPY requirements-${VARIANT}.lock /tmp/requirements.lock
RUN python3 -m venv /opt/soundnet \
    && /opt/soundnet/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes \
        -r /tmp/requirements.lock
COPY image/slim /tmp/
RUN /tmp/slim /opt/soundnet

# Our own code in a layer of its own: a new version of it moves no more than that.
FROM packages AS project
COPY . /src
RUN /opt/soundnet/bin/pip install --no-cache-dir --no-deps --no-build-isolation --prefix /project /src

FROM python
ARG REVISION
LABEL org.opencontainers.image.title="SoundNet" \
      org.opencontainers.image.description="From a list of videos to a trained ear" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}"
# Any user may run it, one that the image doesn't know too (--user): so a home that all can write to,
# and a name. What is worth keeping goes to /data/.cache, and stays when the container is gone.
RUN useradd --create-home soundnet && mkdir /data && chmod 1777 /data /home/soundnet
COPY --from=packages /opt/soundnet /opt/soundnet
COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/boot
COPY --from=project /project /opt/soundnet
COPY image/entrypoint /usr/local/bin/
ENV PATH=/opt/soundnet/bin:$PATH \
    HOME=/home/soundnet \
    USER=soundnet \
    XDG_CACHE_HOME=/data/.cache \
    KERAS_HOME=/data/.cache/keras \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER soundnet
WORKDIR /data
# tini passes signals on, to ffmpeg and the workers too, and reaps what they leave.
ENTRYPOINT ["tini", "-g", "-s", "--", "entrypoint"]
CMD ["soundnet", "--help"]
