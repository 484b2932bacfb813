# The command line with FEniCSx, in a container:
#   docker build -t gnvpro .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" gnvpro build cdr --error 0.1% --out cdr
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" -p 127.0.0.1:4242:4242 gnvpro serve cdr --host 0.0.0.0
# torch comes with CUDA (3 GB). Without: --build-arg PIP_EXTRA_INDEX_URL=<the address of PyTorch's CPU wheels>

FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL=""
# gcc, because FEniCSx compiles its forms. Debian's mirrors keep no old versions, so none can be named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt \
    "gnvpro[pde,invert,learn,serve,fields] @ file://$(echo /tmp/wheel/gnvpro-*.whl)" \
    && rm -r /tmp/wheel /tmp/constraints.txt
# Compiled forms and loops are kept in the home folder, also of a user who is given by --user and has none.
RUN useradd --uid 1000 --create-home gnvpro && chmod 1777 /home/gnvpro && install --directory --owner gnvpro /work
ENV HOME=/home/gnvpro
USER 1000
WORKDIR /work
EXPOSE 4242
ENTRYPOINT ["gnvpro"]
CMD ["--help"]
