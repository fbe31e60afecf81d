# The service as an image: `docker build -t rcf-stream .`
#
# It runs as a user without rights and needs to write nowhere but in /data:
#   docker run --read-only --cap-drop ALL -v rcf:/data -p 127.0.0.1:8080:8080 rcf-stream
#
# BASE may be any Debian with Python 3.11 to 3.13 and its venv module.
ARG BASE=python:3.13.9-slim-trixie

FROM ${BASE} AS build
# What strips the compiler's library; nothing of it is in the image, so its version may float.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# pip stays outside of the environment that it fills.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/rcf
WORKDIR /source
COPY .lock/build.txt .lock/runtime.txt .lock/
RUN /tools/bin/pip install --require-hashes -r .lock/build.txt \
    && /tools/bin/pip --python /opt/rcf/bin/python install --no-compile --require-hashes -r .lock/runtime.txt
COPY . .
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /tools/bin/pip --python /opt/rcf/bin/python install --no-compile --no-deps --no-index /wheels/*.whl
# Tests, what compilers of C and checkers of types read, numba's part for graphics cards, what colours
# other languages than Python, and symbols for linkers are a sixth of the size; time zones that the
# system has are not kept twice. Whole seconds as times of the sources: caches compare them, and not
# every builder keeps the fractions.
RUN find /opt/rcf \( -type d \( -name tests -o -name f2py -o -path '*/numba/cuda' \) -o -name '*.a' \
        -o -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.pyx' \
        -o -path '*/pygments/lexers/*.py' ! -name __init__.py ! -name _mapping.py ! -name python.py \
        \) -prune -exec rm -r {} + \
    && if [ -e /usr/share/zoneinfo/UTC ]; then rm -r /opt/rcf/lib/python3.*/site-packages/tzdata/zoneinfo; fi \
    && find /opt/rcf -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && find /opt/rcf -name '*.py' -exec touch --date=@1577836800 {} +
# One compilation for every x86-64 processor since 2013 (AVX2): as fast as one for the very
# processor, and the same bits on all workers. A processor that has less compiles when it starts,
# into /data. Elsewhere: --build-arg CPU=generic.
ARG CPU=x86-64-v3
ENV NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES="" RCF_CACHE_DIR=/opt/rcf/kernels
# The service runs once for real, until it has a result. That leaves the bytecode of all that a start
# imports, Python's own library included (official images have none of that), and of nothing else.
# `kill` ends that run; it is no command for a container's own work, which is what the rule minds.
ENV PATH=/opt/rcf/bin:$PATH PYTHONPYCACHEPREFIX=/opt/rcf/bytecode
# hadolint ignore=DL3001
RUN export RCF_DATA_DIR=/tmp/data RCF_PORT=48080 \
    && rcf warm \
    && python -c "import service.adapters.kafka, service.adapters.objects" \
    && { rcf dev & } \
    && timeout 120 sh -c 'until rcf tail demo --limit 1; do sleep 1; done' \
    && kill $! \
    && wait $!

FROM ${BASE}
LABEL org.opencontainers.image.title="rcf-stream" \
      org.opencontainers.image.description="Streaming anomaly detection with Random Cut Forests" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN mkdir /data && chown 10001:10001 /data
COPY --from=build /opt/rcf /opt/rcf
ARG CPU=x86-64-v3
# The home is where compiled code goes that the image does not hold.
ENV PATH=/opt/rcf/bin:$PATH \
    PYTHONPYCACHEPREFIX=/opt/rcf/bytecode PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES="" \
    RCF_CACHE_DIR=/opt/rcf/kernels \
    HOME=/data \
    RCF_DATA_DIR=/data \
    RCF_HOST=0.0.0.0 \
    RCF_PORT=8080 \
    RCF_LOG_FORMAT=json
WORKDIR /data
VOLUME ["/data"]
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['RCF_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["rcf"]
CMD ["serve"]
