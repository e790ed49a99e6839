//! `library/hello-world`: one layer with one file, `/hello`.

use super::elf::{self, Arch};
use super::image::{Image, Layer, Platform};
use super::layer;
use std::sync::OnceLock;

/// What `/hello` prints. Plain ASCII, at most 80 columns.
const MESSAGE: &str = "
Hello from trace!
This message shows that your container works. Every step on the way to it was
timed, under these names:

 1. cache.check looked into the local image store. If the image was not there,
 2. image.pull began: manifest.fetch asked the registry what it consists of;
 3. layer.download, layer.verify, layer.decompress and layer.extract turned
    bytes into files, all four at the same time.
 4. container.create mounted the files as a root directory (rootfs.mount).
 5. container.start cloned a process, moved it there (init.pivot_root), took its
    privileges away (init.hardening) and made it /hello (process.exec).
 6. container.run is the time this program takes to print what you read;
    container.exit and container.cleanup are still to come.

Try next:
 trace run hello-world       again: is it warm now, and which steps are gone?
 trace show                  this run as a waterfall
 trace ls                    all recorded runs
 trace run --hub builtin demo/layers:6x16MiB     an image with more to pull

";

/// The image; made once in the life of the process, in well under a millisecond.
pub(super) fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let platforms = Arch::ALL.map(|arch| Platform {
            arch,
            cmd: "/hello".to_owned(),
            layers: vec![pack(&elf::print_and_exit(arch, MESSAGE.as_bytes()))],
        });
        Image::assemble(&platforms, layer::Codec::Gzip)
    })
}

fn pack(program: &[u8]) -> Layer {
    let mut blob = Vec::new();
    let written =
        layer::write(layer::Codec::Gzip, &mut blob, |tar| tar.file("hello", 0o755, program.len() as u64, program));
    // Writing to memory cannot fail, and the one path is short and relative.
    let sums = written.unwrap_or_else(|error| unreachable!("a tar in memory: {error}"));
    Layer::in_memory(sums, blob, "trace hub: the program /hello")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::span;

    #[test]
    fn the_message_fits_a_terminal() {
        let lines: Vec<&str> = MESSAGE.lines().collect();
        assert!(lines.len() <= 22 && lines.iter().all(|line| line.len() <= 80), "{}", lines.len());
        assert!(MESSAGE.is_ascii());
    }

    #[test]
    fn the_message_speaks_of_spans_that_exist() {
        for name in [
            span::CACHE_CHECK,
            span::IMAGE_PULL,
            span::MANIFEST_FETCH,
            span::LAYER_DOWNLOAD,
            span::LAYER_VERIFY,
            span::LAYER_DECOMPRESS,
            span::LAYER_EXTRACT,
            span::CONTAINER_CREATE,
            span::ROOTFS_MOUNT,
            span::CONTAINER_START,
            span::INIT_PIVOT_ROOT,
            span::INIT_HARDENING,
            span::PROCESS_EXEC,
            span::CONTAINER_RUN,
            span::CONTAINER_EXIT,
            span::CONTAINER_CLEANUP,
        ] {
            assert!(MESSAGE.contains(name), "{name}");
        }
    }
}
