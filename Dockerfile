# The one image of a fleet: worker, exporter, tool.   docker build -t haul:0.1.0 .
ARG RUST=1.95.0
ARG DEBIAN=trixie
ARG DEBIAN_POINT=13.8

FROM rust:${RUST}-${DEBIAN} AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package haul \
    && mkdir -p /out/empty \
    && strip -o /out/haul target/release/haul

# Not distroless: `shell.run` needs a shell, and so does whoever looks for what is wrong.
FROM debian:${DEBIAN_POINT}-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/haul /usr/local/bin/
# Where the file is when it runs embedded: `docker run -v haul:/var/lib/haul …`
COPY --from=build --chown=65532:65532 /out/empty /var/lib/haul
WORKDIR /var/lib/haul
USER 65532:65532
ENTRYPOINT ["haul"]
CMD ["worker"]
