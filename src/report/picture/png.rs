//! A [`Scene`] as PNG, on light ground: for places that show no SVG.
//!
//! plotters draws the shapes; its own text leaves out the side bearings of letters, so text comes from
//! [`font::raster`].

use plotters::prelude::{BitMapBackend, DrawingBackend};
use plotters::style::{RGBAColor, ShapeStyle};

use super::palette::{Hatch, Rgb};
use super::{Ink, Rect, Scene, Shape, WIDTH, font};

/// Pixels of the file for each pixel of the scene; fewer for very long pictures.
fn scale(scene: &Scene) -> f64 {
    if scene.height <= 2500.0 { 2.0 } else { 1.0 }
}

/// The file.
pub fn png(scene: &Scene) -> Vec<u8> {
    let scale = scale(scene);
    let (width, height) = ((WIDTH * scale) as u32, (scene.height.ceil() * scale).max(1.0) as u32);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let mut canvas = Canvas { backend: BitMapBackend::with_buffer(&mut pixels, (width, height)), scale };
        canvas.fill(&Rect { x: 0.0, y: 0.0, w: WIDTH, h: scene.height.ceil() }, Ink::Back);
        canvas.shapes(&scene.shapes);
        canvas.backend.present().expect("a picture in memory is always there");
    }
    encode(&pixels, width, height, &scene.title)
}

fn encode(pixels: &[u8], width: u32, height: u32, title: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    // PNG, 11.3.3.4: international text.
    encoder.add_itxt_chunk("Title".to_owned(), title.to_owned()).expect("the key is short");
    let mut writer = encoder.write_header().expect("memory takes everything");
    writer.write_image_data(pixels).expect("the buffer has the size that was said");
    writer.finish().expect("memory takes everything");
    out
}

struct Canvas<'p> {
    backend: BitMapBackend<'p>,
    scale: f64,
}

impl Canvas<'_> {
    fn px(&self, length: f64) -> i32 {
        (length * self.scale).round() as i32
    }

    fn shapes(&mut self, all: &[Shape]) {
        for shape in all {
            match shape {
                Shape::Fill(rect, ink) => self.fill(rect, *ink),
                Shape::Outline(rect, ink, width) => self.outline(rect, *ink, *width),
                Shape::Line(points, ink, width) => self.line(points, *ink, *width),
                Shape::Area(points, ink) => {
                    let points: Vec<_> = points.iter().map(|(x, y)| (self.px(*x), self.px(*y))).collect();
                    self.backend.fill_polygon(points, &style(*ink)).expect("memory takes every shape");
                }
                Shape::Text(text) => {
                    let (left, _) = text.span();
                    let rgb = ink_rgb(text.ink);
                    let (size, x, y) = (text.size * self.scale, left * self.scale, text.y * self.scale);
                    font::raster(&text.text, size, x, y, |x, y, coverage| self.dot(x, y, rgb, coverage));
                }
                Shape::Group(_, inner) => self.shapes(inner),
            }
        }
    }

    /// Edges in whole pixels; at least one.
    fn fill(&mut self, r: &Rect, ink: Ink) {
        let (left, top) = (self.px(r.x), self.px(r.y));
        let (right, bottom) = (self.px(r.x + r.w).max(left + 1), self.px(r.y + r.h).max(top + 1));
        // plotters' bitmap leaves the lower right corner out.
        self.backend.draw_rect((left, top), (right, bottom), &style(ink), true).expect("memory takes every shape");
        let Ink::Work(work) = ink else { return };
        if work.hatch() == Hatch::Plain || r.w < 6.0 {
            return;
        }
        let back = ink_rgb(Ink::Back);
        for y in top..bottom {
            for x in left..right {
                if is_hatched(work.hatch(), f64::from(x) / self.scale, f64::from(y) / self.scale) {
                    self.dot(x, y, back, 0.55);
                }
            }
        }
    }

    fn outline(&mut self, r: &Rect, ink: Ink, width: f64) {
        let inner = Rect { x: r.x, y: r.y, w: r.w.max(width), h: r.h.max(width) };
        for side in [
            Rect { h: width, ..inner },
            Rect { y: inner.y + inner.h - width, h: width, ..inner },
            Rect { w: width, ..inner },
            Rect { x: inner.x + inner.w - width, w: width, ..inner },
        ] {
            self.fill(&side, ink);
        }
    }

    fn line(&mut self, points: &[(f64, f64)], ink: Ink, width: f64) {
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let half = width / 2.0;
            if (x0 - x1).abs() < 1e-6 || (y0 - y1).abs() < 1e-6 {
                // Straight lines, which nearly all are, without blurred edges.
                let (x, y) = (x0.min(x1) - half, y0.min(y1) - half);
                self.fill(&Rect { x, y, w: (x0 - x1).abs() + width, h: (y0 - y1).abs() + width }, ink);
            } else {
                let style = ShapeStyle { stroke_width: self.px(width).max(1) as u32, ..style(ink) };
                let ends = [(self.px(x0), self.px(y0)), (self.px(x1), self.px(y1))];
                self.backend.draw_path(ends, &style).expect("memory takes every shape");
            }
        }
    }

    fn dot(&mut self, x: i32, y: i32, (r, g, b): (u8, u8, u8), alpha: f64) {
        let (width, height) = self.backend.get_size();
        if x >= 0 && y >= 0 && x < width as i32 && y < height as i32 && alpha > 0.0 {
            let color = plotters::style::Color::to_backend_color(&RGBAColor(r, g, b, alpha.min(1.0)));
            self.backend.draw_pixel((x, y), color).expect("the point is inside");
        }
    }
}

/// The same tiles as the patterns of the SVG.
fn is_hatched(hatch: Hatch, x: f64, y: f64) -> bool {
    let on = |value: f64, every: f64, from: f64, to: f64| (from..to).contains(&value.rem_euclid(every));
    match hatch {
        Hatch::Plain => false,
        Hatch::Rising => on(x + y, 6.0, 0.0, 1.4),
        Hatch::Falling => on(x - y, 6.0, 0.0, 1.4),
        Hatch::Level => on(y, 4.0, 1.0, 2.0),
        Hatch::Upright => on(x, 4.0, 1.0, 2.0),
        Hatch::Dots => (on(y, 4.0, 1.0, 2.0) && on(x, 4.0, 1.0, 2.4)) || (on(y, 4.0, 3.0, 4.0) && on(x, 4.0, 3.0, 4.0)),
    }
}

fn ink_rgb(ink: Ink) -> (u8, u8, u8) {
    let rgb: Rgb = ink.shades().light;
    ((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

fn style(ink: Ink) -> ShapeStyle {
    let (r, g, b) = ink_rgb(ink);
    ShapeStyle { color: RGBAColor(r, g, b, 1.0), filled: true, stroke_width: 1 }
}
