//! `library/hello-world`: one layer with one file, `/hello`.

use super::elf::{self, Arch};
use super::image::{Codec, Image, Layer, Platform};
use super::layer;
use std::sync::OnceLock;

/// What `/hello` prints. Plain ASCII, at most 80 columns.
const MESSAGE: &str = "
Hello from trace!
This message shows that your container works. Every step on the way to it was
timed, under the names below.

 1. cache.check looked into the local image store. If nothing was there, an
    image.pull followed:
 2. manifest.fetch asked the registry what the image consists of, and chose the
    variant for this machine.
 3. layer.download, layer.verify, layer.decompress and layer.extract ran side by
    side: bytes came in, were checked against their digest, and became files.
 4. container.create mounted these files as a root directory (rootfs.mount).
 5. container.start cloned a process, moved it into that root directory
    (init.pivot_root), took its privileges away (init.hardening) and made it
    the program /hello (process.exec).
 6. container.run is the time this program takes to print what you read.
    container.exit and container.cleanup are still to come.

Try next:
 trace run hello-world                 again: is it warm now, and what is gone?
 trace show                            this run as a waterfall
 trace ls                              all recorded runs
 trace run --hub builtin demo/layers:6x16MiB       an image with more to pull

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
        Image::assemble(&platforms, Codec::Gzip)
    })
}

fn pack(program: &[u8]) -> Layer {
    let mut blob = Vec::new();
    let written = layer::write(Codec::Gzip, &mut blob, |tar| tar.file("hello", 0o755, program.len() as u64, program));
    // Writing to memory cannot fail, and the one path is short and relative.
    let sums = written.unwrap_or_else(|error| unreachable!("a tar in memory: {error}"));
    Layer::in_memory(sums, blob, "trace hub: the program /hello")
}
