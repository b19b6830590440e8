//! A small RGBA canvas for legends: rounded boxes and text, antialiased.

use super::color::Rgb;
use ab_glyph::{Font, FontRef, Glyph, GlyphId, Point, PxScale, ScaleFont, point};

/// Inter Medium, SIL Open Font License 1.1 (fonts/OFL.txt beside it), cut down to Latin, Greek and Cyrillic; other letters show as
/// question marks.
const FONT: &[u8] = include_bytes!("fonts/inter-medium-subset.otf");

/// Straight-alpha RGBA, transparent at first. Lengths are in logical pixels, `ratio` of which make one of the image's.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pub rgba: Vec<u8>,
    ratio: f32,
    font: FontRef<'static>,
}

/// A box in logical pixels.
#[derive(Clone, Copy)]
pub(super) struct Box {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Canvas {
    pub fn new(width: f32, height: f32, ratio: usize) -> Canvas {
        let (width, height) = ((width * ratio as f32).ceil() as usize, (height * ratio as f32).ceil() as usize);
        Canvas { width, height, rgba: vec![0; width * height * 4], ratio: ratio as f32, font: font() }
    }

    /// A filled box with corners of this radius. `paint` gives colour and opacity (0 to 1) by the share of the way from left to
    /// right.
    pub fn fill(&mut self, area: Box, radius: f32, paint: impl Fn(f32) -> (Rgb, f32)) {
        let r = self.ratio;
        let (left, top) = (area.left * r, area.top * r);
        let (half_width, half_height, radius) = (area.width * r / 2.0, area.height * r / 2.0, radius * r);
        for y in (top.floor() as usize)..((top + 2.0 * half_height).ceil() as usize).min(self.height) {
            for x in (left.floor() as usize)..((left + 2.0 * half_width).ceil() as usize).min(self.width) {
                // Distance from the edge of a rounded box, negative inside; half a pixel either side is the antialiased edge.
                let dx = ((x as f32 + 0.5 - left - half_width).abs() - half_width + radius).max(0.0);
                let dy = ((y as f32 + 0.5 - top - half_height).abs() - half_height + radius).max(0.0);
                let coverage = (0.5 - (dx.hypot(dy) - radius)).clamp(0.0, 1.0);
                let (color, opacity) = paint(((x as f32 + 0.5 - left) / (2.0 * half_width)).clamp(0.0, 1.0));
                self.blend(x, y, color, coverage * opacity);
            }
        }
    }

    /// One line of text with its baseline at `at`, to the right of it.
    pub fn text(&mut self, text: &str, px: f32, at: (f32, f32), color: Rgb) {
        let origin = point(at.0 * self.ratio, at.1 * self.ratio);
        for glyph in glyphs(&self.font, text, px * self.ratio, origin).0 {
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|x, y, coverage| {
                let (x, y) = (bounds.min.x + x as f32, bounds.min.y + y as f32);
                if x >= 0.0 && y >= 0.0 && (x as usize) < self.width && (y as usize) < self.height {
                    self.blend(x as usize, y as usize, color, coverage.clamp(0.0, 1.0));
                }
            });
        }
    }

    /// Lays a colour over a pixel (Porter and Duff's "over", straight alpha).
    fn blend(&mut self, x: usize, y: usize, Rgb(color): Rgb, opacity: f32) {
        let pixel = &mut self.rgba[(y * self.width + x) * 4..][..4];
        let below = f32::from(pixel[3]) / 255.0 * (1.0 - opacity);
        let alpha = opacity + below;
        if alpha <= 0.0 {
            return;
        }
        for (channel, over) in pixel.iter_mut().zip(color) {
            *channel = ((f32::from(over) * opacity + f32::from(*channel) * below) / alpha).round() as u8;
        }
        pixel[3] = (alpha * 255.0).round() as u8;
    }
}

fn font() -> FontRef<'static> {
    FontRef::try_from_slice(FONT).expect("the font is part of the program, and a test draws with it")
}

/// The width of a line in logical pixels.
pub(super) fn text_width(text: &str, px: f32) -> f32 {
    glyphs(&font(), text, px, point(0.0, 0.0)).1
}

/// The text, cut off with an ellipsis where it is wider than `width`.
pub(super) fn text_fitted(text: &str, px: f32, width: f32) -> String {
    if text_width(text, px) <= width {
        return text.to_owned();
    }
    let mut characters: Vec<char> = text.chars().collect();
    while characters.pop().is_some() {
        let cut = characters.iter().collect::<String>().trim_end().to_owned() + "…";
        if text_width(&cut, px) <= width {
            return cut;
        }
    }
    String::new()
}

/// Glyphs along the baseline from `origin`, `px` pixels to the em, and the width of the line.
fn glyphs(font: &FontRef<'_>, text: &str, px: f32, origin: Point) -> (Vec<Glyph>, f32) {
    // ab_glyph scales by the height of a line, not by the em.
    let height_per_em = font.height_unscaled() / font.units_per_em().unwrap_or(font.height_unscaled());
    let scale = PxScale::from(px * height_per_em);
    let scaled = font.as_scaled(scale);
    let mut x = 0.0;
    let mut glyphs: Vec<Glyph> = Vec::new();
    for character in text.chars() {
        let id = match font.glyph_id(character) {
            GlyphId(0) => font.glyph_id('?'),
            known => known,
        };
        if let Some(last) = glyphs.last() {
            x += scaled.kern(last.id, id);
        }
        glyphs.push(id.with_scale_and_position(scale, point(origin.x + x, origin.y)));
        x += scaled.h_advance(id);
    }
    (glyphs, x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_where_it_is_measured() {
        for text in ["LTE", "Ærø ångström", "Ωmega", "Жук"] {
            let mut canvas = Canvas::new(120.0, 30.0, 2);
            canvas.text(text, 12.0, (4.0, 20.0), Rgb([0; 3]));
            let inked = |x: usize| (0..canvas.height).any(|y| canvas.rgba[(y * canvas.width + x) * 4 + 3] > 64);
            let last = (0..canvas.width).filter(|&x| inked(x)).max().expect("something is drawn") as f32 / 2.0;
            let end = 4.0 + text_width(text, 12.0);
            assert!((end - 3.0..end + 1.0).contains(&last), "{text}: ink ends at {last}, text at {end}");
        }
    }

    #[test]
    fn long_text_is_cut_off() {
        let fitted = text_fitted("a rather long label", 12.0, 60.0);
        assert!(fitted.ends_with('…') && text_width(&fitted, 12.0) <= 60.0, "{fitted}");
        assert_eq!(text_fitted("LTE", 12.0, 60.0), "LTE");
    }
}
