//! Makes the layers of a demo image, on up to two threads, each into a file of its own that has no name.

use super::shape::Shape;
use super::tree;
use crate::hub::elf::Arch;
use crate::hub::image::{Image, Layer, Platform};
use crate::hub::layer;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const THREADS: u64 = 2;

/// Makes the image in nameless files in `dir`. Blocks for as long as that takes; gives up soon after `cancel` is set.
pub(in crate::hub) fn build(shape: Shape, dir: &Path, cancel: &AtomicBool) -> io::Result<Image> {
    let next = AtomicU64::new(0);
    let work = || -> io::Result<Vec<(u64, Layer)>> {
        let file = Arc::new(nameless(dir)?);
        let (mut made, mut offset) = (Vec::new(), 0);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= shape.layers {
                return Ok(made);
            }
            let out = BufWriter::with_capacity(128 << 10, Cancellable { file: &file, cancel });
            let sums = layer::write(shape.codec, out, |tar| tree::fill(shape, index, tar)).inspect_err(|_| {
                // The other thread has no use for its layers either.
                next.store(shape.layers, Ordering::Relaxed);
            })?;
            let created_by = format!("trace hub: demo/layers:{shape}, layer {index}");
            made.push((index, Layer::in_spool(sums, Arc::clone(&file), offset, created_by)));
            offset += sums.size;
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(shape.layers))
            .map(|_| thread::Builder::new().name("hub-demo".to_owned()).spawn_scoped(scope, work))
            .collect();
        let panicked = |_| Err(io::Error::other("a thread that made layers panicked"));
        threads.into_iter().map(|thread| thread.and_then(|thread| thread.join().unwrap_or_else(panicked))).collect()
    });
    let mut layers = Vec::new();
    for made in results {
        layers.extend(made?);
    }
    layers.sort_by_key(|(index, _)| *index);
    let layers: Vec<Layer> = layers.into_iter().map(|(_, layer)| layer).collect();
    let platforms = Arch::ALL.map(|arch| Platform { arch, cmd: tree::program_path(arch), layers: layers.clone() });
    Ok(Image::assemble(&platforms, shape.codec))
}

/// A file without a name: gone with its last descriptor, also after `kill -9`.
fn nameless(dir: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let access = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, access | OFlags::TMPFILE, mode) {
        Ok(file) => return Ok(file.into()),
        // File systems without O_TMPFILE (NFS, FUSE, old overlayfs) say one of these.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let dir = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!(".hub-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let file = rustix::fs::openat(&dir, &name, access | OFlags::CREATE | OFlags::EXCL, mode)?;
    rustix::fs::unlinkat(&dir, &name, AtFlags::empty())?;
    Ok(file.into())
}

/// Writes to the file until the hub stops.
struct Cancellable<'a> {
    file: &'a File,
    cancel: &'a AtomicBool,
}

impl Write for Cancellable<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("the hub was stopped"));
        }
        self.file.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
