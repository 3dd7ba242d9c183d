FROM python:3.12-slim AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# A tool environment builds the wheel; the one that ships holds the run-time lock and the wheel.
RUN python -m venv /tools && python -m venv /opt/kraftlet
COPY requirements.lock requirements-build.lock ./
RUN /tools/bin/pip install --require-hashes -r requirements-build.lock \
    && /opt/kraftlet/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY kraftlet_trio kraftlet_trio
COPY examples examples
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/kraftlet/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/kraftlet/bin/pip uninstall --yes pip

FROM python:3.12-slim
LABEL org.opencontainers.image.title="kraftlet-trio" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/kraftlet /opt/kraftlet
ENV PATH=/opt/kraftlet/bin:$PATH PYTHONUNBUFFERED=1
# The number of the chart's security context: a name could not be checked by runAsNonRoot.
USER 65532:65532
EXPOSE 10250
ENTRYPOINT ["kraftlet-trio"]
CMD ["run"]
