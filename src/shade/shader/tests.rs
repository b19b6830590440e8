//! Tests of shading: integers as the referee, tiles against one canvas, no pixel with points transparent.

use super::*;
use crate::shade::{CategoryKind, How, Spread, halo, spread};
use proptest::prelude::*;

fn categories(n: usize) -> Vec<Category> {
    (0..n)
        .map(|i| Category {
            value: Some(format!("v{i}")),
            label: format!("v{i}"),
            color: None,
            kind: CategoryKind::Value,
            count: 1,
        })
        .collect()
}

fn distribution(grid: &CountGrid) -> Distribution {
    Distribution::of_totals(grid.totals())
}

fn canvases(categories: usize, size: usize) -> impl Strategy<Value = CountGrid> {
    let count = prop_oneof![12 => Just(0u32), 6 => 1..4u32, 2 => 4..500u32, 1 => 0..200_000u32];
    proptest::collection::vec(count, categories * size * size).prop_map(move |counts| CountGrid {
        categories,
        size,
        counts,
    })
}

fn styles() -> impl Strategy<Value = Style> {
    (0..4usize, 1..=255u8, 0..3usize, any::<bool>(), any::<bool>()).prop_map(|(how, min_alpha, spread, ramp, hide)| {
        Style {
            how: How::ALL[how],
            min_alpha,
            spread: Spread::Pixels(spread),
            cmap: ramp.then_some(Cmap::Fire),
            hide: if hide { ["v1".to_owned()].into() } else { [].into() },
            ..Style::default()
        }
    })
}

/// The `size` pixels square at (row, column).
fn cut(canvas: &CountGrid, row: usize, column: usize, size: usize) -> CountGrid {
    let mut tile = CountGrid::zeros(canvas.categories, size);
    for category in 0..canvas.categories {
        for y in 0..size {
            let from = &canvas.plane(category)[(row + y) * canvas.size + column..][..size];
            tile.counts[(category * size + y) * size..][..size].copy_from_slice(from);
        }
    }
    tile
}

proptest! {
    /// Goal: the f32 sums give the exact mix. Method: whole numbers, pixel by pixel.
    #[test]
    fn colours_are_the_exact_mean(grid in canvases(3, 6), style in styles()) {
        let categories = categories(3);
        let shader = Shader::new(&style, &categories, &distribution(&grid)).unwrap();
        let rgba = shader.shade(&grid);
        let visible: Vec<usize> = (0..3).filter(|i| !style.hide.contains(&format!("v{i}"))).collect();
        let colors = colors_of(&categories);
        for (index, pixel) in rgba.chunks(4).enumerate() {
            let counts: Vec<u64> = visible.iter().map(|&i| u64::from(grid.plane(i)[index])).collect();
            let total: u64 = counts.iter().sum();
            prop_assert_eq!(total > 0, pixel[3] > 0, "a pixel with points is never transparent");
            if total > 0 && style.cmap.is_none() {
                let mean = [0, 1, 2].map(|c| {
                    let sum: u64 = counts.iter().zip(&visible).map(|(n, &i)| n * u64::from(colors[i].0[c])).sum();
                    (sum / total) as u8
                });
                prop_assert_eq!(&pixel[..3], &mean[..]);
                prop_assert!(pixel[3] >= style.min_alpha);
            }
        }
    }

    /// Goal: no seams. Method: a canvas cut into tiles, each spread with its halo and shaded with the canvas's distribution, is
    /// the shaded canvas; so the same counts have the same colour wherever they lie.
    #[test]
    fn tiles_are_the_canvas(canvas in canvases(2, 12), style in styles()) {
        let Spread::Pixels(radius) = style.spread else { unreachable!("the strategy gives pixels") };
        let shader = Shader::new(&style, &categories(2), &distribution(&canvas)).unwrap();
        let whole = shader.shade(&spread(&halo([[None; 3], [None, Some(&canvas), None], [None; 3]], radius).unwrap(), radius));
        let tiles: Vec<Vec<CountGrid>> =
            (0..3).map(|row| (0..3).map(|column| cut(&canvas, row * 4, column * 4, 4)).collect()).collect();
        for (row, column) in (0..3).flat_map(|row| (0..3).map(move |column| (row, column))) {
            let neighbour = |dy: usize, dx: usize| tiles.get((row + dy).wrapping_sub(1))?.get((column + dx).wrapping_sub(1));
            let around = [0, 1, 2].map(|dy| [0, 1, 2].map(|dx| neighbour(dy, dx)));
            let tile = shader.shade(&spread(&halo(around, radius).unwrap(), radius));
            for y in 0..4 {
                let in_whole = &whole[((row * 4 + y) * 12 + column * 4) * 4..][..16];
                prop_assert_eq!(&tile[y * 16..][..16], in_whole);
            }
        }
    }

    /// Goal: per-image normalisation of one tile that is the world differs from the zoom's only by eq_hist's bins.
    #[test]
    fn one_tile_alone_is_the_zoom_where_scales_agree(grid in canvases(3, 6), style in styles()) {
        prop_assume!(style.how != How::EqHist && style.hide.is_empty());
        let of_zoom = Shader::new(&style, &categories(3), &distribution(&grid)).unwrap().shade(&grid);
        let tile = Style { normalize: Normalize::Tile, ..style };
        let alone = Shader::new(&tile, &categories(3), &Distribution::default()).unwrap().shade(&grid);
        prop_assert_eq!(of_zoom, alone);
    }

    #[test]
    fn background_makes_every_pixel_opaque(grid in canvases(2, 4), style in styles()) {
        let style = Style { background: Some(Rgb([250, 0, 9])), ..style };
        let rgba = Shader::new(&style, &categories(2), &distribution(&grid)).unwrap().shade(&grid);
        prop_assert!(rgba.chunks(4).all(|pixel| pixel[3] == 255));
        let empty = Shader::new(&style, &categories(2), &Distribution::default()).unwrap().shade(&CountGrid::zeros(2, 4));
        prop_assert!(empty.chunks(4).all(|pixel| pixel == [250, 0, 9, 255]));
    }
}

#[test]
fn huge_counts_are_mixed_exactly() {
    let grid = CountGrid { categories: 2, size: 1, counts: vec![3_000_000_000, 1_000_000_000] };
    let style = Style::parse([("colors", "v0:ff0000,v1:0000ff")]).unwrap();
    let rgba = Shader::new(&style, &categories(2), &distribution(&grid)).unwrap().shade(&grid);
    assert_eq!(rgba, [191, 0, 63, 255]);
}

#[test]
fn without_categories_the_ramp_says_how_many() {
    let grid = CountGrid { categories: 1, size: 2, counts: vec![0, 1, 2, 9] };
    let style = Style::parse([("how", "linear"), ("cmap", "gray")]).unwrap();
    let rgba = Shader::new(&style, &[], &distribution(&grid)).unwrap().shade(&grid);
    assert_eq!(rgba, [0, 0, 0, 0, 0, 0, 0, 255, 31, 31, 31, 255, 255, 255, 255, 255]);
}

#[test]
fn unknown_categories_are_refused_by_name() {
    let unknown =
        |pair| Shader::new(&Style::parse([pair]).unwrap(), &categories(2), &Distribution::default()).unwrap_err();
    assert_eq!(unknown(("hide", "v0,x")).to_string(), "hide names the category x, which is not one of: v0, v1");
    assert_eq!(
        unknown(("colors", "null:fff")).to_string(),
        "colors names the category null, which is not one of: v0, v1"
    );
}
