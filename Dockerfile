# docker build -t propromo-chat . && docker run -p 1993:1993 propromo-chat serve --demo
#
# Without a command it starts without demo accounts. Settings (docs/SETTINGS.md) come from -e, --env-file or secrets, and
# the volume /var/lib/propromo-chat keeps the data. It also runs with --read-only.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# The crates first, with nothing of the server: this layer is made anew only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY tests/support/Cargo.toml tests/support/
RUN mkdir -p src benches/steps benches/service tests/support/src \
    && touch src/lib.rs tests/support/src/lib.rs benches/steps/main.rs benches/service/main.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked --bin propromo-chat
COPY . .
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin propromo-chat \
    && scripts/rootfs target/release/propromo-chat /rootfs \
    && mkdir /data

# No shell, no package manager: only what scripts/rootfs has gathered.
FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=10001:10001 /data /var/lib/propromo-chat
LABEL org.opencontainers.image.title="propromo-chat" \
    org.opencontainers.image.description="A chat server for teams that follow software projects together" \
    org.opencontainers.image.source="https://github.com/propromo-software/propromo.chat" \
    org.opencontainers.image.licenses="MIT"
USER 10001:10001
WORKDIR /var/lib/propromo-chat
# LISTEN_ALL: port 1993, or that of a platform's PORT, is reached from outside the container.
# TMPDIR: where the only file goes that is not data, so that everything else may be read-only.
ENV LISTEN_ALL=true DATA_DIR=/var/lib/propromo-chat TMPDIR=/var/lib/propromo-chat
VOLUME /var/lib/propromo-chat
EXPOSE 1993
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/propromo-chat", "health"]
ENTRYPOINT ["/usr/local/bin/propromo-chat"]
CMD ["serve"]
