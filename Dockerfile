# docker build -t app . && docker run -it -p 1993:1993 app
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --system --user-group --no-create-home chat \
    && install -d -o chat -g chat -m 0700 /var/lib/propromo-chat
COPY --from=build /src/target/release/propromo-chat /usr/local/bin/propromo-chat
USER chat
ENV LISTEN=0.0.0.0:1993 DATA_DIR=/var/lib/propromo-chat
VOLUME /var/lib/propromo-chat
EXPOSE 1993
ENTRYPOINT ["propromo-chat"]
CMD ["serve", "--demo"]
