//! The files of one demo layer, in the manner of a layer that a package manager made: many small files and a few large
//! ones in nested directories, links between them, and changes to what the layer below brought.
//!
//! The contents of the regular files of a layer add up to exactly the size in the tag (hard links counted once).
//! Tar headers, directories and links come on top, and in layer 0 the two executables and `/etc`.
//!
//! ```text
//! /bin/demo-amd64, /bin/demo-arm64     what the image runs; one layer 0 for both platforms
//! /etc/passwd, /etc/group, /tmp        layer 0
//! /usr/bin/demo-setuid                 layer 0, mode 4755, not executable as a program
//! /usr/share/demo/007/d0/d1/f00042.log the files of layer 7
//! /var/cache/demo/007/                 made by layer 7, deleted by layer 8
//! /var/lib/demo/state/                 each layer adds a file; every fifth starts over with an opaque directory
//! ```
//!
//! Layer n+1 also writes the first file of layer n again and deletes its second one.

use super::content::{Content, Kind, Random};
use super::shape::Shape;
use crate::hub::elf::{self, Arch};
use crate::hub::layer::{MTIME, Tar};
use std::io::{self, Write};

const FILES_PER_DIR: u64 = 24;

/// Adds the entries of layer `index` to `tar`.
pub(super) fn fill<W: Write>(shape: Shape, index: u64, tar: &mut Tar<W>) -> io::Result<()> {
    let mut small = Random::new(shape.seed(index) ^ 1);
    tar.mtime = MTIME + 3600 * index;
    for dir in ["usr", "usr/share", "usr/share/demo", "var", "var/cache", "var/cache/demo", "var/lib", "var/lib/demo"] {
        tar.dir(dir, 0o755)?;
    }
    if index == 0 {
        base(shape, tar)?;
    }

    let mut left = shape.size;
    let mut text = |tar: &mut Tar<W>, path: &str, mode: u32, most: u64| {
        let size = most.min(shape.size / 8);
        left -= size;
        tar.file(path, mode, size, Content::new(Kind::Text, small.next()))
    };

    tar.dir("var/lib/demo/state", 0o755)?;
    if index % 5 == 4 {
        tar.file("var/lib/demo/state/.wh..wh..opq", 0o644, 0, io::empty())?;
    }
    text(tar, &format!("var/lib/demo/state/{index:03}"), 0o600, 300)?;

    if let Some(below) = index.checked_sub(1) {
        tar.file(&format!("var/cache/demo/.wh.{below:03}"), 0o644, 0, io::empty())?;
    } else {
        text(tar, "usr/bin/demo-setuid", 0o4755, 100)?;
    }
    tar.dir(&format!("var/cache/demo/{index:03}"), 0o755)?;
    text(tar, &format!("var/cache/demo/{index:03}/list"), 0o644, 4000)?;

    if let Some(below) = index.checked_sub(1) {
        let mut files = Plan::new(shape, below, shape.size);
        tar.dir(&layer_dir(below), 0o755)?;
        tar.dir(&format!("{}/d0", layer_dir(below)), dir_mode(0))?;
        if let Some(first) = files.next() {
            text(tar, &first.path(below), first.mode, 2000)?;
        }
        if let Some(second) = files.next() {
            let path = second.path(below).replacen("/d0/", "/d0/.wh.", 1);
            tar.file(&path, 0o644, 0, io::empty())?;
        }
    }
    files(shape, index, left, tar)
}

/// What a container needs to run, once per image.
fn base<W: Write>(shape: Shape, tar: &mut Tar<W>) -> io::Result<()> {
    for dir in ["bin", "etc", "usr/bin"] {
        tar.dir(dir, 0o755)?;
    }
    tar.dir("tmp", 0o1777)?;
    for (path, text) in [("etc/passwd", "root:x:0:0:root:/:/bin/false\n"), ("etc/group", "root:x:0:\n")] {
        tar.file(path, 0o644, text.len() as u64, text.as_bytes())?;
    }
    for arch in Arch::ALL {
        let program = elf::print_and_exit(arch, shape.sentence().as_bytes());
        tar.file(program_path(arch).trim_start_matches('/'), 0o755, program.len() as u64, &program[..])?;
    }
    Ok(())
}

/// The program for `arch`, from the root of the container.
pub(super) fn program_path(arch: Arch) -> String {
    format!("/bin/demo-{}", arch.goarch())
}

/// The layer's own files with `total` bytes of content, their directories and the links to them.
fn files<W: Write>(shape: Shape, index: u64, total: u64, tar: &mut Tar<W>) -> io::Result<()> {
    tar.dir(&layer_dir(index), 0o755)?;
    for file in Plan::new(shape, index, total) {
        let (dir, path) = (dir_path(index, file.dir()), file.path(index));
        if file.number.is_multiple_of(FILES_PER_DIR) {
            tar.dir(&dir, dir_mode(file.dir()))?;
        }
        tar.file(&path, file.mode, file.size, Content::new(file.kind, file.seed))?;
        // From the third file on: the layer above changes the first and deletes the second.
        let (number, name) = (file.number, file.name());
        match number % 16 {
            2 => tar.symlink(&format!("{dir}/to-{number:05}"), &name)?,
            3 => tar.symlink(&format!("{dir}/to-{number:05}"), &format!("/{path}"))?,
            9 => tar.symlink(&format!("{dir}/to-{number:05}"), &format!("../nothing/{name}"))?,
            _ => {}
        }
        if number % 24 == 2 {
            tar.hardlink(&format!("{dir}/same-{number:05}"), &path)?;
        }
    }
    Ok(())
}

/// One regular file, before its content is made.
struct File {
    number: u64,
    size: u64,
    mode: u32,
    kind: Kind,
    seed: u64,
}

impl File {
    fn dir(&self) -> u64 {
        self.number / FILES_PER_DIR
    }

    fn name(&self) -> String {
        let ending = if self.kind == Kind::Text { "log" } else { "bin" };
        format!("f{:05}.{ending}", self.number)
    }

    fn path(&self, layer: u64) -> String {
        format!("{}/{}", dir_path(layer, self.dir()), self.name())
    }
}

fn layer_dir(layer: u64) -> String {
    format!("usr/share/demo/{layer:03}")
}

/// The octal digits of `number` are the path, so that the parent of a directory always has a smaller number.
fn dir_path(layer: u64, number: u64) -> String {
    let below = format!("{number:o}").chars().fold(String::new(), |path, digit| format!("{path}/d{digit}"));
    layer_dir(layer) + &below
}

fn dir_mode(number: u64) -> u32 {
    if number % 8 == 5 { 0o750 } else { 0o755 }
}

/// The files of a layer in order. Drawing them costs nothing beside making their content, and the first two do not
/// depend on the total beyond their size, so that the layer above can name them.
struct Plan {
    random: Random,
    left: u64,
    /// No file gets more than this.
    most: u64,
    number: u64,
    text: u64,
    noise: u64,
}

impl Plan {
    fn new(shape: Shape, layer: u64, total: u64) -> Self {
        let most = (shape.size / 8).clamp(1, 32 << 20);
        Plan { random: Random::new(shape.seed(layer)), left: total, most, number: 0, text: 0, noise: 0 }
    }

    fn size(&mut self) -> u64 {
        let (low, high) = match self.random.below(100) {
            0..70 => (64, 8 << 10),
            70..95 => (8 << 10, 128 << 10),
            _ => (128 << 10, 32 << 20),
        };
        // The first two are small, so that there is a third even in the smallest layer.
        let (low, high) = if self.number < 2 { (64, 128) } else { (low, high) };
        self.random.spread(low, high).min(self.most).min(self.left)
    }
}

impl Iterator for Plan {
    type Item = File;

    fn next(&mut self) -> Option<File> {
        if self.left == 0 {
            return None;
        }
        let size = self.size();
        // A little more text than noise: with text at a seventh, gzip then halves the whole.
        let kind = if self.text * 5 <= self.noise * 6 { Kind::Text } else { Kind::Noise };
        match kind {
            Kind::Text => self.text += size,
            Kind::Noise => self.noise += size,
        }
        let mode = match (kind, self.random.below(10)) {
            (_, 0) => 0o600,
            (Kind::Noise, 1..5) => 0o755,
            _ => 0o644,
        };
        let file = File { number: self.number, size, mode, kind, seed: self.random.next() };
        self.left -= size;
        self.number += 1;
        Some(file)
    }
}
