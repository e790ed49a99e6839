//! `demo/layers`: images of any shape, the same on every machine, made when somebody asks for them.
//!
//! Reading order: [`shape`] (the tags), [`tree`] (which files), [`content`] (what is in them), [`build`] (the layers
//! of an image, side by side, into files).

pub(super) mod build;
mod content;
pub(super) mod shape;
mod tree;
