//! Every span name and attribute key, in one place. Imports nothing.
//!
//! Names are constant and of low cardinality, so that runs can be counted and compared by name path;
//! digests, references and ids are attributes. Keys follow the OpenTelemetry semantic conventions (v1.44)
//! where they have one; the rest is under `trace.`. The catalogue with parents and meanings is `docs/SPANS.md`.

/// Span names.
pub mod span {
    /// The whole run: program start to just before exit.
    pub const RUN: &str = "run";
    /// The whole of a `trace pull`.
    pub const PULL: &str = "pull";
    /// The whole of a `trace exec`.
    pub const EXEC: &str = "exec";
    /// A running container looked up, and what it takes to enter it.
    pub const CONTAINER_FIND: &str = "container.find";
    /// clone to exec of a later program.
    pub const EXEC_START: &str = "exec.start";
    /// exec of a later program to its exit.
    pub const EXEC_RUN: &str = "exec.run";
    /// Exit of a later program seen to status reaped.
    pub const EXEC_EXIT: &str = "exec.exit";
    /// Program start to the first stage: the command line is read, the store opened, leftovers taken away.
    pub const STARTUP: &str = "startup";
    /// An ordinary user becoming root of a user namespace.
    pub const USERNS_ENTER: &str = "userns.enter";
    /// `--cold`: the image and what only it needs are taken away first.
    pub const IMAGE_FORGET: &str = "image.forget";
    /// Look-up in the image store.
    pub const CACHE_CHECK: &str = "cache.check";
    /// From the cache miss to the committed image.
    pub const IMAGE_PULL: &str = "image.pull";
    /// Waiting for another process that pulls the same image.
    pub const PULL_WAIT: &str = "pull.wait";
    /// The built-in hub starts, and makes a demo image that was asked for.
    pub const HUB_START: &str = "hub.start";
    /// From the registry's challenge to a token.
    pub const REGISTRY_AUTH: &str = "registry.auth";
    /// The manifest, and the index before it.
    pub const MANIFEST_FETCH: &str = "manifest.fetch";
    /// The image configuration.
    pub const CONFIG_FETCH: &str = "config.fetch";
    /// HTTP requests are named by their method.
    pub const HTTP_GET: &str = "GET";
    /// See [`HTTP_GET`].
    pub const HTTP_HEAD: &str = "HEAD";
    /// See [`HTTP_GET`].
    pub const HTTP_POST: &str = "POST";
    /// Name resolution, only on a new connection.
    pub const DNS_LOOKUP: &str = "dns.lookup";
    /// TCP connect, only on a new connection.
    pub const TCP_CONNECT: &str = "tcp.connect";
    /// TLS handshake, only on a new connection.
    pub const TLS_HANDSHAKE: &str = "tls.handshake";
    /// Request sent to first byte of the response head.
    pub const HTTP_WAIT: &str = "http.wait";
    /// Response head to last byte of the body.
    pub const HTTP_RECEIVE: &str = "http.receive";
    /// One layer: scheduled to committed.
    pub const LAYER_PULL: &str = "layer.pull";
    /// Bytes of the blob arriving.
    pub const LAYER_DOWNLOAD: &str = "layer.download";
    /// SHA-256 of the blob, which is kept meanwhile.
    pub const LAYER_VERIFY: &str = "layer.verify";
    /// gzip or zstd.
    pub const LAYER_DECOMPRESS: &str = "layer.decompress";
    /// SHA-256 of the unpacked tar, which is applied to a directory.
    pub const LAYER_EXTRACT: &str = "layer.extract";
    /// The verified directory and blob renamed into place.
    pub const LAYER_COMMIT: &str = "layer.commit";
    /// What was pulled put on storage.
    pub const LAYER_SYNC: &str = "layer.sync";
    /// What may not have reached storage before a power cut looked at.
    pub const STORE_VERIFY: &str = "store.verify";
    /// Manifest, config and index written.
    pub const IMAGE_COMMIT: &str = "image.commit";
    /// Everything prepared before there is a process.
    pub const CONTAINER_CREATE: &str = "container.create";
    /// The overlay mount.
    pub const ROOTFS_MOUNT: &str = "rootfs.mount";
    /// One bind, volume or tmpfs made ready, a new volume filled from the image.
    pub const VOLUME_MOUNT: &str = "volume.mount";
    /// The container's cgroup.
    pub const CGROUP_CREATE: &str = "cgroup.create";
    /// The container's network.
    pub const NETWORK_SETUP: &str = "network.setup";
    /// clone to exec.
    pub const CONTAINER_START: &str = "container.start";
    /// clone3 until the new process runs.
    pub const PROCESS_CLONE: &str = "process.clone";
    /// Namespaces, host name, loopback.
    pub const INIT_NAMESPACES: &str = "init.namespaces";
    /// /proc, /sys, /dev and the files bound into the root.
    pub const INIT_MOUNTS: &str = "init.mounts";
    /// A terminal made in the container's /dev/pts, bound to its /dev/console.
    pub const PTY_OPEN: &str = "pty.open";
    /// pivot_root and detaching the old root.
    pub const INIT_PIVOT_ROOT: &str = "init.pivot_root";
    /// Masked paths, capabilities, user, no-new-privileges, seccomp.
    pub const INIT_HARDENING: &str = "init.hardening";
    /// execve until it succeeded.
    pub const PROCESS_EXEC: &str = "process.exec";
    /// exec to the process's exit.
    pub const CONTAINER_RUN: &str = "container.run";
    /// Exit seen to status reaped.
    pub const CONTAINER_EXIT: &str = "container.exit";
    /// Taking everything away again.
    pub const CONTAINER_CLEANUP: &str = "container.cleanup";
    /// The network taken down.
    pub const NETWORK_TEARDOWN: &str = "network.teardown";
    /// The overlay unmounted.
    pub const ROOTFS_UNMOUNT: &str = "rootfs.unmount";
    /// The cgroup removed.
    pub const CGROUP_REMOVE: &str = "cgroup.remove";
    /// The container's directory removed.
    pub const CONTAINER_REMOVE: &str = "container.remove";
}

/// Attribute keys.
pub mod attr {
    /// Begin of the keys under which entries of the caller's baggage are recorded, where the user asks for it.
    pub const BAGGAGE: &str = "trace.baggage";
    /// Resource: who recorded.
    pub const SERVICE_NAME: &str = "service.name";
    /// Resource: version of the recorder.
    pub const SERVICE_VERSION: &str = "service.version";
    /// Resource: host name.
    pub const HOST_NAME: &str = "host.name";
    /// Resource: `amd64`, `arm64`.
    pub const HOST_ARCH: &str = "host.arch";
    /// Resource: `linux`.
    pub const OS_TYPE: &str = "os.type";
    /// Resource: kernel release.
    pub const OS_VERSION: &str = "os.version";
    /// Resource and `container.run`: process id.
    pub const PROCESS_PID: &str = "process.pid";

    /// File name of the program in the container.
    pub const PROCESS_EXECUTABLE_NAME: &str = "process.executable.name";
    /// Exit status as the shell sees it (128+n for signal n).
    pub const PROCESS_EXIT_CODE: &str = "process.exit.code";
    /// Pid inside the container's pid namespace.
    pub const PROCESS_VPID: &str = "process.vpid";
    /// The command line; only with `--record-args`.
    pub const PROCESS_COMMAND_ARGS: &str = "process.command_args";
    /// 64 hex digits.
    pub const CONTAINER_ID: &str = "container.id";
    /// Given or invented name.
    pub const CONTAINER_NAME: &str = "container.name";
    /// Repository without tag, e.g. `docker.io/library/hello-world`.
    pub const CONTAINER_IMAGE_NAME: &str = "container.image.name";
    /// Tags, array.
    pub const CONTAINER_IMAGE_TAGS: &str = "container.image.tags";
    /// Digest of the manifest that was used.
    pub const OCI_MANIFEST_DIGEST: &str = "oci.manifest.digest";
    /// `cold`, `warm` or `partial`.
    pub const RUN_KIND: &str = "trace.run.kind";
    /// `docker.io`, `builtin` or the registry's host.
    pub const HUB: &str = "trace.hub";
    /// `builtin`, later others.
    pub const RUNTIME: &str = "trace.runtime";
    /// How the way to the registry was shaped, `RATE,RTT`; absent where it was not.
    pub const LINK: &str = "trace.link";
    /// Who timed a run of another engine; absent on our own.
    pub const OBSERVED_BY: &str = "trace.observed_by";
    /// What the program that recorded a span called it, where an import gave it a name of ours.
    pub const ORIGINAL_NAME: &str = "trace.name.original";
    /// On a root that an import put in place of a span which is not in the trace: its times are those of what lies
    /// below it.
    pub const INFERRED: &str = "trace.inferred";
    /// Resource: the `trace bench` that a run belongs to.
    pub const BENCH_ID: &str = "trace.bench.id";
    /// Resource: how cold a cold run of a `trace bench` was, `store` or `page-cache`.
    pub const BENCH_COLD: &str = "trace.bench.cold";
    /// `namespaces` or `none`.
    pub const ISOLATION: &str = "trace.isolation";
    /// `hit`, `miss`, `stale` or `partial`.
    pub const CACHE: &str = "trace.cache";
    /// How often the kernel killed a process of the container because its memory was used up; absent if never.
    pub const OOM_KILLS: &str = "trace.memory.oom_kills";
    /// `bind`, `volume` or `tmpfs`.
    pub const MOUNT_TYPE: &str = "trace.mount.type";
    /// Whether a mount cannot be written to.
    pub const MOUNT_READ_ONLY: &str = "trace.mount.read_only";
    /// Whether the volume was made for this run.
    pub const VOLUME_CREATED: &str = "trace.volume.created";
    /// Whether the volume was empty and received what the image has there.
    pub const VOLUME_FILLED: &str = "trace.volume.filled";
    /// Number of layers of the image.
    pub const LAYERS: &str = "trace.layers";
    /// How many of them were there already.
    pub const LAYERS_CACHED: &str = "trace.layers.cached";
    /// How many of them were damaged and could be made again from their blobs.
    pub const LAYERS_REPAIRED: &str = "trace.layers.repaired";
    /// How many of them were damaged and have to be pulled again.
    pub const LAYERS_LOST: &str = "trace.layers.lost";
    /// How the content of files was looked at: `holes` or `content`.
    pub const VERIFY_LOOK: &str = "trace.verify.look";
    /// Bytes that came over the wire for layers.
    pub const BYTES_WIRE: &str = "trace.bytes.wire";
    /// Bytes of unpacked tar.
    pub const BYTES_UNPACKED: &str = "trace.bytes.unpacked";
    /// `bearer` or `basic`; never the token.
    pub const AUTH_SCHEME: &str = "trace.auth.scheme";
    /// Media type of a manifest.
    pub const MEDIA_TYPE: &str = "trace.media_type";
    /// Platform chosen from an index, `linux/arm64/v8`.
    pub const PLATFORM: &str = "trace.platform";
    /// Digest of the image configuration.
    pub const CONFIG_DIGEST: &str = "trace.config.digest";
    /// Size of the image configuration in bytes.
    pub const CONFIG_SIZE: &str = "trace.config.size";

    /// `GET`, `HEAD`, `POST`.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// HTTP status.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// Ordinal of the retry, absent on the first try.
    pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
    /// The part of a blob that is asked for, where a download goes on.
    pub const HTTP_REQUEST_RANGE: &str = "http.request.header.range";
    /// Body bytes received.
    pub const HTTP_RESPONSE_BODY_SIZE: &str = "http.response.body.size";
    /// Host asked.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Port asked.
    pub const SERVER_PORT: &str = "server.port";
    /// URL, values of its query masked.
    pub const URL_FULL: &str = "url.full";
    /// `1.1` or `2`.
    pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
    /// IP address of the peer.
    pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
    /// Whether the connection had been used before.
    pub const CONNECTION_REUSED: &str = "trace.connection.reused";
    /// Rate limit, as docker.io sends it.
    pub const HTTP_RATELIMIT_LIMIT: &str = "http.response.header.ratelimit-limit";
    /// Rate limit left.
    pub const HTTP_RATELIMIT_REMAINING: &str = "http.response.header.ratelimit-remaining";
    /// Whom the limit is counted for.
    pub const HTTP_RATELIMIT_SOURCE: &str = "http.response.header.docker-ratelimit-source";
    /// Name looked up.
    pub const DNS_QUESTION_NAME: &str = "dns.question.name";
    /// `1.2`, `1.3`.
    pub const TLS_PROTOCOL_VERSION: &str = "tls.protocol.version";
    /// Whether the session was resumed.
    pub const TLS_RESUMED: &str = "tls.resumed";

    /// Position in the manifest, 0 is the base.
    pub const LAYER_INDEX: &str = "trace.layer.index";
    /// Digest of the blob.
    pub const LAYER_DIGEST: &str = "trace.layer.digest";
    /// Digest of the unpacked tar.
    pub const LAYER_DIFF_ID: &str = "trace.layer.diff_id";
    /// Media type of the blob.
    pub const LAYER_MEDIA_TYPE: &str = "trace.layer.media_type";
    /// Bytes of the blob.
    pub const LAYER_SIZE: &str = "trace.layer.size";
    /// Bytes of the unpacked tar.
    pub const LAYER_SIZE_UNPACKED: &str = "trace.layer.size.unpacked";
    /// Nanoseconds this stage worked.
    pub const BUSY_NS: &str = "trace.busy_ns";
    /// Of `layer.extract`'s busy nanoseconds, those that went into the SHA-256 of the tar.
    pub const DIFF_ID_BUSY_NS: &str = "trace.diff_id.busy_ns";
    /// Nanoseconds this stage waited for the one before it.
    pub const WAIT_INPUT_NS: &str = "trace.wait.input_ns";
    /// Nanoseconds this stage waited for the one after it.
    pub const WAIT_OUTPUT_NS: &str = "trace.wait.output_ns";
    /// Bytes that went into this stage.
    pub const BYTES: &str = "trace.bytes";
    /// Bytes of a layer's blob that an earlier pull had fetched before it was broken off.
    pub const BYTES_KEPT: &str = "trace.bytes.kept";
    /// Files, directories and links made.
    pub const FILES: &str = "trace.files";

    /// Number of overlay lower directories.
    pub const OVERLAY_LAYERS: &str = "trace.overlay.layers";
    /// 1 or 2.
    pub const CGROUP_VERSION: &str = "trace.cgroup.version";
    /// `none` or `host`.
    pub const NETWORK_MODE: &str = "trace.network.mode";
    /// Namespaces made, array.
    pub const NAMESPACES: &str = "trace.namespaces";
    /// Capabilities kept, array without `CAP_`.
    pub const CAPABILITIES: &str = "trace.capabilities";
    /// `filter` or `none`.
    pub const SECCOMP: &str = "trace.seccomp";
    /// `default`, `file` or `unconfined`.
    pub const SECCOMP_PROFILE: &str = "trace.seccomp.profile";
    /// BPF instructions of the filter.
    pub const SECCOMP_INSTRUCTIONS: &str = "trace.seccomp.instructions";
    /// Whether no_new_privs is set.
    pub const NO_NEW_PRIVILEGES: &str = "trace.no_new_privileges";
    /// Signal that ended the process, e.g. `SIGKILL`.
    pub const EXIT_SIGNAL: &str = "trace.exit.signal";
    /// User CPU, nanoseconds.
    pub const CPU_USER_NS: &str = "trace.cpu.user_ns";
    /// System CPU, nanoseconds.
    pub const CPU_SYSTEM_NS: &str = "trace.cpu.system_ns";
    /// Largest memory use of the container, bytes; only where it is known.
    pub const MEMORY_PEAK: &str = "trace.memory.peak";
    /// Page faults without I/O.
    pub const FAULTS_MINOR: &str = "trace.faults.minor";
    /// Page faults with I/O.
    pub const FAULTS_MAJOR: &str = "trace.faults.major";
    /// Blocks read, 512 bytes each.
    pub const BLOCK_IN: &str = "trace.block.in";
    /// Blocks written, 512 bytes each.
    pub const BLOCK_OUT: &str = "trace.block.out";

    /// Kind of failure, low cardinality.
    pub const ERROR_TYPE: &str = "error.type";
    /// Metrics: `succeeded`, `exited` (with another code than 0) or `failed` (there was no container, or it broke).
    pub const RUN_OUTCOME: &str = "trace.run.outcome";
    /// Metrics: which stage, the name of its span.
    pub const STAGE: &str = "trace.stage";
    /// On a link: the span waited for the linked one.
    pub const WAIT_FOR: &str = "trace.wait_for";
}

/// Event names.
pub mod event {
    /// First byte of output that passed through.
    pub const OUTPUT_FIRST: &str = "output.first";
    /// Last byte of output that passed through.
    pub const OUTPUT_LAST: &str = "output.last";
}

/// Metrics: name and description.
pub mod metric {
    /// Counter, `{run}`.
    pub const RUNS: (&str, &str) = ("trace.runs", "Recorded runs.");
    /// Histogram, seconds.
    pub const RUN_DURATION: (&str, &str) =
        ("trace.run.duration", "From the start of the program to the end of the run.");
    /// Histogram, seconds.
    pub const STAGE_DURATION: (&str, &str) = ("trace.stage.duration", "Length of one stage of a run.");
}

/// Whether a span of this name only watches or carries what others do: it lasts as long as they do, and nobody waits
/// for it to do anything. `docs/MAPPING.md` lists them.
pub fn only_watches(name: &str) -> bool {
    let name = name.trim_start_matches('/');
    // gRPC: `package.Service/Method`.
    if let Some((service, method)) = name.rsplit_once('/')
        && !service.contains(' ')
    {
        let service = service.rsplit('.').next().unwrap_or(service);
        return matches!(
            (service, method),
            ("Control", "Status" | "Session" | "ListenBuildHistory")
                | ("Health", "Watch")
                | ("Events", "Subscribe" | "Forward")
                | ("RuntimeService", "GetContainerEvents")
                | (_, "Wait" | "WaitSandbox")
        );
    }
    // The Docker Engine's API: `METHOD /vN/route`.
    let Some((_, path)) = name.split_once(" /") else { return false };
    let mut parts: Vec<&str> = path.split(['?', '/']).collect();
    if parts.first().is_some_and(|p| p.starts_with('v') && p[1..].starts_with(|c: char| c.is_ascii_digit() || c == '{'))
    {
        parts.remove(0);
    }
    matches!(parts[..], ["session" | "events", ..] | ["containers", _, "wait" | "attach" | "logs" | "stats", ..])
}

#[cfg(test)]
mod tests {
    use opentelemetry_semantic_conventions::attribute as semconv;

    use super::{attr, only_watches};

    #[test]
    fn keys_are_those_of_the_semantic_conventions() {
        for (ours, theirs) in [
            (attr::SERVICE_NAME, semconv::SERVICE_NAME),
            (attr::SERVICE_VERSION, semconv::SERVICE_VERSION),
            (attr::HOST_NAME, semconv::HOST_NAME),
            (attr::HOST_ARCH, semconv::HOST_ARCH),
            (attr::OS_TYPE, semconv::OS_TYPE),
            (attr::OS_VERSION, semconv::OS_VERSION),
            (attr::PROCESS_PID, semconv::PROCESS_PID),
            (attr::PROCESS_EXECUTABLE_NAME, semconv::PROCESS_EXECUTABLE_NAME),
            (attr::PROCESS_EXIT_CODE, semconv::PROCESS_EXIT_CODE),
            (attr::PROCESS_VPID, semconv::PROCESS_VPID),
            (attr::PROCESS_COMMAND_ARGS, semconv::PROCESS_COMMAND_ARGS),
            (attr::CONTAINER_ID, semconv::CONTAINER_ID),
            (attr::CONTAINER_NAME, semconv::CONTAINER_NAME),
            (attr::CONTAINER_IMAGE_NAME, semconv::CONTAINER_IMAGE_NAME),
            (attr::CONTAINER_IMAGE_TAGS, semconv::CONTAINER_IMAGE_TAGS),
            (attr::OCI_MANIFEST_DIGEST, semconv::OCI_MANIFEST_DIGEST),
            (attr::HTTP_REQUEST_METHOD, semconv::HTTP_REQUEST_METHOD),
            (attr::HTTP_RESPONSE_STATUS_CODE, semconv::HTTP_RESPONSE_STATUS_CODE),
            (attr::HTTP_REQUEST_RESEND_COUNT, semconv::HTTP_REQUEST_RESEND_COUNT),
            (attr::HTTP_RESPONSE_BODY_SIZE, semconv::HTTP_RESPONSE_BODY_SIZE),
            (attr::SERVER_ADDRESS, semconv::SERVER_ADDRESS),
            (attr::SERVER_PORT, semconv::SERVER_PORT),
            (attr::URL_FULL, semconv::URL_FULL),
            (attr::NETWORK_PROTOCOL_VERSION, semconv::NETWORK_PROTOCOL_VERSION),
            (attr::NETWORK_PEER_ADDRESS, semconv::NETWORK_PEER_ADDRESS),
            (attr::DNS_QUESTION_NAME, semconv::DNS_QUESTION_NAME),
            (attr::TLS_PROTOCOL_VERSION, semconv::TLS_PROTOCOL_VERSION),
            (attr::TLS_RESUMED, semconv::TLS_RESUMED),
            (attr::ERROR_TYPE, semconv::ERROR_TYPE),
        ] {
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn watchers_are_told_by_their_names() {
        for name in [
            "moby.buildkit.v1.Control/Status",
            "/moby.buildkit.v1.Control/Session",
            "moby.buildkit.v1.Control/ListenBuildHistory",
            "containerd.services.tasks.v1.Tasks/Wait",
            "containerd.task.v3.Task/Wait",
            "containerd.services.events.v1.Events/Subscribe",
            "grpc.health.v1.Health/Watch",
            "POST /v1.47/containers/{name}/wait",
            "POST /containers/abc/wait?condition=next-exit",
            "GET /events",
            "POST /session",
        ] {
            assert!(only_watches(name), "{name}");
        }
        for name in [
            "moby.buildkit.v1.Control/Solve",
            "runtime.v1.RuntimeService/Status",
            "[stage 2/2] RUN wait/Wait",
            "wait",
            "pull.wait",
            "POST /v1.47/containers/create",
            "POST /containers/x/start",
            "",
        ] {
            assert!(!only_watches(name), "{name}");
        }
    }
}
