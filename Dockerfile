# syntax=docker/dockerfile:1

# docker build -t pgherd .
# The file must be readable for UID 65532: chown root:65532 pgherd.toml && chmod 640 pgherd.toml
# docker run -v ./pgherd.toml:/etc/pgherd/pgherd.toml:ro -p 5000-5002:5000-5002 -p 8008:8008 pgherd

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay with the builder; only the binary leaves this stage.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package pgherd --bin pgherd \
    && install -D --strip target/release/pgherd /out/usr/bin/pgherd \
    && install -d -o 65532 -g 65532 -m 0700 /out/var/lib/pgherd

# No shell, no package manager: the C library and the certificate roots, run as UID 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr/bin/pgherd /usr/bin/pgherd
COPY --from=build --chown=65532:65532 /out/var/lib/pgherd /var/lib/pgherd
COPY LICENSE /usr/share/doc/pgherd/LICENSE

USER 65532:65532
VOLUME /var/lib/pgherd
# Primary, replicas, any; then health, metrics and cluster over HTTP.
EXPOSE 5000 5001 5002 8008
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["pgherd", "health"]
ENTRYPOINT ["pgherd"]
CMD ["run", "-c", "/etc/pgherd/pgherd.toml"]
