//! A dataset as it is served: open, with its engine, its default style and its groups.

use super::{ServiceError, lock, of_whole_files};
use crate::crossfilter::Crossfilter;
use crate::dataset::{ColumnId, Dataset, DatasetError, write_rows};
use crate::engine::{Cancel, Engine, GroupKind, Groups};
use crate::points::{PointFinder, PointsQuestion};
use crate::shade::{Category, CategoryKind, Rgb, Style, StyleError};
use crate::world::{TileId, Zoom};
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The deepest zoom that is served: a pixel is 3.7 cm there, and a tile of finer pixels (@2x) is made of the next zoom's.
pub const ZOOM_MAX_SERVED: u8 = 22;

/// Values of a dictionary that are ordered by frequency without a thread of their own: some milliseconds.
const PLANES_VALUES_MAX: usize = 1 << 16;

/// Tiles with points of a zoom that are few: all of zoom 5. To spread the points of each takes about a millisecond, so a second or two by as many
/// threads; the next zoom may have four times as many.
const FEW_TILES_MAX: usize = 1 << 10;

pub struct Source {
    /// Unlike any other's of this process.
    id: u64,
    name: String,
    dataset: Arc<Dataset>,
    engine: Arc<dyn Engine>,
    /// What a style is when a request says nothing.
    style: Style,
    groups: Mutex<HashMap<Option<ColumnId>, MadeGroups>>,
    crossfilter: OnceLock<Crossfilter>,
    points: OnceLock<PointFinder>,
    /// The tiles that have points, zoom by zoom, as far as they are few.
    few_tiles: OnceLock<Vec<Vec<TileId>>>,
    /// When it was last asked for; `None` before the first time.
    used: Mutex<Option<Instant>>,
    /// Set once its files have been found to be changed.
    is_damaged: AtomicBool,
}

type MadeGroups = Arc<OnceLock<Result<Arc<Groups>, ServiceError>>>;

impl Source {
    /// # Errors
    /// The manifest's default style is none.
    pub fn new(dataset: Arc<Dataset>, engine: Arc<dyn Engine>) -> Result<Source, StyleError> {
        let defaults = dataset.manifest.style.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let style = Style::parse(defaults)?;
        static OPENED: AtomicU64 = AtomicU64::new(0);
        Ok(Source {
            id: OPENED.fetch_add(1, Ordering::Relaxed),
            name: dataset.manifest.name.clone(),
            dataset,
            engine,
            style,
            groups: Mutex::default(),
            crossfilter: OnceLock::new(),
            points: OnceLock::new(),
            few_tiles: OnceLock::new(),
            used: Mutex::default(),
            is_damaged: AtomicBool::new(false),
        })
    }

    /// The same under another name than its own.
    pub fn named(mut self, name: impl Into<String>) -> Source {
        self.name = name.into();
        self
    }

    /// Tells two openings of one dataset apart: what an engine has selected means nothing to another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name in URLs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes note that somebody asks for it.
    pub fn touch(&self) {
        *lock(&self.used) = Some(Instant::now());
    }

    /// How long nobody has asked for it; `None` where nobody ever has.
    pub fn idle_for(&self) -> Option<Duration> {
        lock(&self.used).map(|used| used.elapsed())
    }

    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    pub fn style(&self) -> &Style {
        &self.style
    }

    pub fn data_version(&self) -> &str {
        &self.dataset.manifest.data_version
    }

    /// Whether the files are what was opened, as far as is known. Costs next to nothing.
    ///
    /// # Errors
    /// [`ServiceError::Damaged`]: nothing more is made of them, until somebody opens them anew.
    pub fn intact(&self) -> Result<(), ServiceError> {
        let is_damaged = self.is_damaged.load(Ordering::Acquire) || self.dataset.is_cut();
        if is_damaged { Err(ServiceError::Damaged) } else { Ok(()) }
    }

    /// Looks at the files, and tells of damage the first time.
    pub fn new_damage(&self) -> Option<DatasetError> {
        let damage = self.dataset.check_files().err()?;
        (!self.is_damaged.swap(true, Ordering::AcqRel)).then_some(damage)
    }

    /// The groups of a column, made when they are first asked for: of a column without a dictionary that takes a scan.
    ///
    /// # Errors
    /// A column with too many distinct values to colour a map by.
    pub fn groups(&self, by: Option<ColumnId>) -> Result<Arc<Groups>, ServiceError> {
        let made = lock(&self.groups).entry(by).or_default().clone();
        // Values without a dictionary are counted. Held before, for an error of a store is not to be kept.
        let scanned = by.filter(|&column| made.get().is_none() && self.dataset.dictionary(column).is_none());
        let _held = scanned.map(|column| self.dataset.hold_columns(&[column])).transpose()?;
        let groups = made.get_or_init(|| match by {
            None => Ok(Arc::new(Groups::none(&self.dataset))),
            Some(column) => {
                // Values with a preset's colour have a group of their own, however rare.
                let wanted: Vec<String> = self.dataset.column(column).styles.keys().cloned().collect();
                Ok(Arc::new(Groups::by_column(&self.dataset, column, &wanted)?))
            }
        });
        groups.clone()
    }

    /// What the planes of a column's grids stand for, as a text: the same in two versions of the data where the planes are. Where that
    /// would take a scan it is the version of the data, which is as good but changes with it.
    pub fn planes(&self, by: Option<ColumnId>) -> String {
        let Some(column) = by else { return String::new() };
        let ordered = self.dataset.dictionary(column).filter(|dictionary| dictionary.len() <= PLANES_VALUES_MAX);
        let Some(groups) = ordered.and_then(|_| self.groups(by).ok()) else { return self.data_version().to_owned() };
        let styles = &self.dataset.column(column).styles;
        let named = groups.iter().map(|group| match &group.kind {
            GroupKind::Value { value, .. } => {
                let value = value.to_string();
                let color = styles.get(&value).and_then(|style| style.color.clone());
                format!("value {}:{value} {color:?}", value.len())
            }
            GroupKind::Other { .. } => "other".to_owned(),
            GroupKind::Null => "null".to_owned(),
            GroupKind::Everything => "everything".to_owned(),
        });
        named.collect::<Vec<_>>().join("\n")
    }

    /// The categories of groups, in the order of the planes of a grid, with `counts` points each. Empty where points are not
    /// kept apart.
    pub fn categories(&self, groups: &Groups, counts: &[u64]) -> Vec<Category> {
        let Some(column) = groups.column() else { return Vec::new() };
        let styles = &self.dataset.column(column).styles;
        let category = |(group, &count): (&crate::engine::Group, &u64)| {
            let of_kind = |kind, label: &str| Category { value: None, label: label.into(), color: None, kind, count };
            match &group.kind {
                GroupKind::Value { value, .. } => {
                    let value = value.to_string();
                    let style = styles.get(&value);
                    let label = style.and_then(|style| style.label.clone()).unwrap_or_else(|| value.clone());
                    let color = style.and_then(|style| style.color.as_deref()).and_then(Rgb::parse).map(|Rgb(color)| color);
                    Category { value: Some(value), label, color, kind: CategoryKind::Value, count }
                }
                GroupKind::Other { values } => of_kind(CategoryKind::Other, &format!("{values} others")),
                GroupKind::Null | GroupKind::Everything => of_kind(CategoryKind::Null, "no value"),
            }
        };
        groups.iter().zip(counts).map(category).collect()
    }

    /// Linked histograms of the dataset.
    pub fn crossfilter(&self) -> &Crossfilter {
        self.crossfilter.get_or_init(|| Crossfilter::new(self.dataset.clone(), self.engine.clone()))
    }

    /// Rows, as a file in memory: for few.
    ///
    /// # Errors
    /// An unknown column, a pixel outside of its tile, or a file that cannot be read.
    pub fn rows(&self, question: &PointsQuestion, cancel: &Cancel) -> Result<Vec<u8>, ServiceError> {
        let mut bytes = Vec::new();
        self.write_rows(question, cancel, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes rows in the question's format.
    ///
    /// # Errors
    /// As [`Source::rows`]; or the sink takes no more.
    pub fn write_rows(&self, question: &PointsQuestion, cancel: &Cancel, sink: impl Write + Send) -> Result<(), ServiceError> {
        let finder = self.points.get_or_init(|| PointFinder::new(self.dataset.clone()));
        let found = of_whole_files(|| Ok(finder.find(question, cancel)?))?;
        self.intact()?;
        Ok(write_rows(question.format, found.rows, found.total, sink)?)
    }

    /// The tiles of a zoom that have points, and of a dataset in a store perhaps others, where these are few; `None` where they are many.
    pub fn few_tiles(&self, zoom: Zoom) -> Option<&[TileId]> {
        let by_zoom = self.few_tiles.get_or_init(|| {
            let mut by_zoom = Vec::new();
            let mut tiles = vec![TileId::from_cell(Zoom::new(0).expect("there is a zoom 0"), 0)];
            while !tiles.is_empty() && tiles.len() <= FEW_TILES_MAX {
                let children = tiles.iter().filter_map(|tile| tile.children()).flatten();
                let next = children.filter(|&tile| self.has_points(tile)).collect();
                by_zoom.push(std::mem::replace(&mut tiles, next));
            }
            if tiles.is_empty() {
                // Below the deepest zoom, or there is no point at all.
                by_zoom.resize_with(usize::from(u8::MAX), Vec::new);
            }
            by_zoom
        });
        by_zoom.get(usize::from(zoom.get())).map(Vec::as_slice)
    }

    /// Whether any point lies in the tile; of a dataset in a store, whether one may. A few binary searches: cheaper than to ask a cache.
    pub fn has_points(&self, tile: TileId) -> bool {
        let (first, last) = tile.keys();
        self.dataset.parts.iter().any(|part| part.may_have(first, last))
    }
}
