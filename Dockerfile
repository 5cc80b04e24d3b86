# docker build -t app . && docker run -it -p 1993:1993 app
#
# That starts the demo. For more than that: -e, --env-file and secrets give settings (docs/SETTINGS.md), `app serve` starts
# without demo accounts, and the volume /var/lib/propromo-chat keeps the data. It also runs with --read-only.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked \
    && scripts/rootfs target/release/propromo-chat /rootfs \
    && mkdir /data

# No shell, no package manager: only what scripts/rootfs has gathered.
FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=10001:10001 /data /var/lib/propromo-chat
USER 10001:10001
WORKDIR /var/lib/propromo-chat
# TMPDIR: where the only file goes that is not data, so that everything else may be read-only.
ENV LISTEN=0.0.0.0:1993 DATA_DIR=/var/lib/propromo-chat TMPDIR=/var/lib/propromo-chat
VOLUME /var/lib/propromo-chat
EXPOSE 1993
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/propromo-chat", "health"]
ENTRYPOINT ["/usr/local/bin/propromo-chat"]
CMD ["serve", "--demo"]
