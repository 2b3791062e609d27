# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The library and the program only: the test bed's control planes are not built here.
RUN cargo build --locked --release --package evenkeel --bin evenkeel

FROM debian:bookworm-slim
# git and ssh fetch the repository; certificates are for its https remotes and for exec plugins.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 65532 --user-group --home-dir /var/lib/evenkeel --shell /usr/sbin/nologin evenkeel \
 && install -d -o 65532 -g 65532 -m 0750 /var/lib/evenkeel
COPY --from=build /build/target/release/evenkeel /usr/bin/evenkeel
USER 65532:65532
# What is freed goes back to the system at once: a third less memory (docs/PERFORMANCE.md).
ENV EVENKEEL_STATE_DIR=/var/lib/evenkeel MIMALLOC_PURGE_DELAY=0
VOLUME /var/lib/evenkeel
ENTRYPOINT ["/usr/bin/evenkeel"]
CMD ["run"]
