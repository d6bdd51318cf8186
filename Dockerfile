# Two stages: the locked dependencies and the service are installed into one folder, which is all that goes on.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS build
RUN pip install --no-cache-dir "uv>=0.8,<1"
ENV UV_PROJECT_ENVIRONMENT=/opt/observer UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /source
# Dependencies first: they change more rarely than the code, and make a layer of their own.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project --extra service --extra kubernetes --extra postgresql --extra learned
COPY detectors detectors
COPY observer observer
RUN uv sync --frozen --no-dev --no-editable --extra service --extra kubernetes --extra postgresql --extra learned

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 10001 observer \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/observer --shell /usr/sbin/nologin observer \
 && mkdir -p /var/lib/observer /etc/observer \
 && chown observer:observer /var/lib/observer
COPY --from=build /opt/observer /opt/observer
# The root file system may be read-only; what is written lies in /var/lib/observer and /tmp.
ENV PATH=/opt/observer/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/observer
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["observer"]
CMD ["run", "--config", "/etc/observer/observer.yaml"]
