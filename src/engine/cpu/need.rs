//! What each kind of work reads of a dataset: of one in a store that is fetched first, and held while the work goes on. A tile reads little
//! stretches, everything else whole columns.

use crate::dataset::stored::Wants;
use crate::dataset::{ColumnId, Part};
use crate::engine::{Groups, LinkedQuestion, Selection, SelectionBody};
use crate::filter::{Predicate, Region};
use crate::world::{TILE_PIXELS_LOG2, TileId, Zoom};

/// The coarsest level from which on a search looks at both halves of keys.
const LEVEL_OF_LOWER_HALVES: u32 = 17;

/// Counting tiles of a selection.
pub(super) fn tiles(parts: &[Part], tiles: &[TileId], selection: &Selection) -> Wants {
    let mut wants = Wants::default();
    for (part, tile) in pairs(parts, tiles) {
        let ((first, last), level) = (tile.keys(), tile.zoom().pixel_level());
        part.want_tile(first, last, level, &mut wants);
        if let (SelectionBody::Everything, Some(column)) = (&selection.body, selection.groups.column())
            && !part.want_ranks(first, last, level, &mut wants)
        {
            part.want_column(column, part.around(first, last, level), &mut wants);
        }
    }
    wants
}

/// A column's values in tiles.
pub(super) fn values(parts: &[Part], tiles: &[TileId], column: ColumnId) -> Wants {
    let mut wants = Wants::default();
    for (part, tile) in pairs(parts, tiles) {
        let ((first, last), level) = (tile.keys(), tile.zoom().pixel_level());
        part.want_tile(first, last, level, &mut wants);
        part.want_column(column, part.around(first, last, level), &mut wants);
    }
    wants
}

fn pairs<'a>(parts: &'a [Part], tiles: &'a [TileId]) -> impl Iterator<Item = (&'a Part, TileId)> {
    parts.iter().flat_map(|part| tiles.iter().map(move |&tile| (part, tile)))
}

/// All pixels of a zoom, and a column's values there.
pub(super) fn zoom(parts: &[Part], zoom: Zoom, column: Option<ColumnId>) -> Wants {
    let mut wants = Wants::default();
    for part in parts {
        part.want_level(zoom.pixel_level(), &mut wants);
        if zoom.pixel_level() >= LEVEL_OF_LOWER_HALVES {
            part.want_keys(&mut wants);
        }
        if let Some(column) = column {
            part.want_column(column, 0..part.rows(), &mut wants);
        }
    }
    wants
}

/// Bitmaps of groups, and their ranks at coarse levels.
pub(super) fn ranks_of(parts: &[Part], groups: &Groups) -> Wants {
    let mut wants = Wants::default();
    let Some(column) = groups.column() else { return wants };
    for part in parts {
        part.want_column(column, 0..part.rows(), &mut wants);
        for level in TILE_PIXELS_LOG2..=part.level_max().unwrap_or(0) {
            part.want_level(level, &mut wants);
        }
    }
    wants
}

/// A pass over points: whether they pass predicates, their keys in columns, and whether they lie in an area.
pub(super) fn points<'a>(
    parts: &[Part],
    predicates: impl IntoIterator<Item = &'a Predicate>,
    columns: impl IntoIterator<Item = ColumnId>,
    area: Option<&Region>,
) -> Wants {
    let mut columns: Vec<ColumnId> = columns.into_iter().collect();
    let mut is_placed = area.is_some();
    predicates.into_iter().for_each(|predicate| read_by(predicate, &mut columns, &mut is_placed));
    columns.sort_unstable();
    columns.dedup();
    let mut wants = Wants::default();
    for part in parts {
        for &column in &columns {
            part.want_column(column, 0..part.rows(), &mut wants);
            part.want_extremes(column, &mut wants);
        }
        if is_placed {
            part.want_keys(&mut wants);
        }
    }
    wants
}

pub(super) fn linked(parts: &[Part], question: &LinkedQuestion) -> Wants {
    let columns = question.brushes.iter().map(|brush| brush.column);
    let columns = columns.chain(question.histograms.iter().map(|request| request.column)).chain(question.groups.column());
    points(parts, [&question.base], columns.chain(question.active.iter().map(|active| active.column)), question.area.as_ref())
}

/// Adds the columns that a predicate compares; says whether it asks for places too.
fn read_by(predicate: &Predicate, columns: &mut Vec<ColumnId>, is_placed: &mut bool) {
    match predicate {
        Predicate::All | Predicate::Nothing => {}
        Predicate::And(terms) | Predicate::Or(terms) => terms.iter().for_each(|term| read_by(term, columns, is_placed)),
        Predicate::Keys { column, .. } => columns.push(*column),
        Predicate::Inside(_) | Predicate::Outside(_) => *is_placed = true,
    }
}
